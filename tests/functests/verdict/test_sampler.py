import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from functests.verdict.records import Memory
from functests.verdict.sampler import MEMORY_SCRIPT, Sampler, restarted, restarts_of, used_mib

MIB = 2**20
V1 = f"cache {90 * MIB}\ninactive_file 0\nactive_file 5\ntotal_cache {90 * MIB}\ntotal_inactive_file {40 * MIB}\n"
MEMINFO = f"MemTotal: {4000 * 1024} kB\nMemFree: {500 * 1024} kB\nMemAvailable: {1000 * 1024} kB\nBuffers: 1 kB\n"
V2 = f"anon {50 * MIB}\nfile {60 * MIB}\ninactive_file {30 * MIB}\n"


@pytest.mark.runs_processes
@pytest.mark.parametrize(("files", "mib"), [
    ({"memory/memory.usage_in_bytes": f"{140 * MIB + 5}\n", "memory/memory.stat": V1}, 100.0),
    ({"memory.current": f"{110 * MIB}\n", "memory.stat": V2}, 80.0),
    ({"memory.stat": V2}, 3000.0),
])  # fmt: skip
def test_memory_is_that_of_the_cgroup_or_of_a_whole_machine(tmp_path: Path, files: dict[str, str], mib: float) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "meminfo").write_text(MEMINFO)
    script = MEMORY_SCRIPT
    for place, instead in (("/sys/fs/cgroup", tmp_path), ("/proc/meminfo", tmp_path / "meminfo")):
        assert place in script
        script = script.replace(place, str(instead))
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=30, check=True).stdout
    assert used_mib(said) == mib


class Node:
    def __init__(self, name: str, usage: int) -> None:
        self.name = name
        self._said = f"{usage}\n{V2}"

    def run(self, script: str) -> str:
        assert script == MEMORY_SCRIPT
        return self._said


def test_a_look_tells_guests_and_the_memory_of_each_node() -> None:
    vmi: dict[str, Any] = {
        "metadata": {"name": "vm", "namespace": "ns", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"nodeName": "n1", "currentCPUTopology": {"sockets": 3, "cores": 2}, "phaseTransitionTimestamps": [
            {"phase": "Running", "phaseTransitionTimestamp": "2026-01-01T00:00:04Z"}]},
    }  # fmt: skip
    def get(path: str) -> SimpleNamespace:
        return SimpleNamespace(ok=lambda: {"items": [vmi] if path.endswith("virtualmachineinstances") else []})

    sampler = Sampler()
    sampler.sample(SimpleNamespace(get=get), [Node("n1", 50 * MIB), Node("n2", 31 * MIB)])
    (guest,) = sampler.guests.values()
    assert (guest.name, guest.node, guest.vcpus, guest.running - guest.created) == ("vm", "n1", 6, 4.0)
    at = sampler.memory[0].at
    assert guest.last_seen == at
    assert sampler.memory == [Memory(at, "n1", 20.0), Memory(at, "n2", 1.0)]
    vmi["status"]["phase"] = "Succeeded"
    sampler.sample(SimpleNamespace(get=get), [])
    assert [*sampler.guests.values()] == [guest], "one that has ended was seen for the last time before"


def _pod(name: str, uid: str, *counts: int) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "kubevirt", "uid": uid}
    return {"metadata": metadata, "status": {"containerStatuses": [{"restartCount": count} for count in counts]}}


def test_pods_that_were_restarted_in_between_are_named_and_those_that_came_are_not() -> None:
    old, new = [_pod("old", "u3", 4)], [_pod("new", "u5", 3)]
    before = restarts_of([_pod("api", "u1", 1, 0), _pod("handler", "u2", 0), _pod("quiet", "u4", 7), *old])
    after = restarts_of([_pod("api", "u1", 1, 2), _pod("handler", "u2", 1), _pod("quiet", "u4", 7), *new])
    assert restarted(before, after) == ["kubevirt/api, 2 times", "kubevirt/handler"]
