"""Evidence of a failure: what a reader needs is there, in time, while the guest still runs."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import artifacts
from functests.libs.cluster import Cluster

# File name, or how it begins and ends -> what must be in it.
WANTED: dict[tuple[str, str], bytes] = {
    ("console-", ".txt"): b"planted-42",
    ("serial-", ".txt"): b"tiny: ready",
    ("screen-", ".png"): b"\x89PNG",
    ("events", ".txt"): b"VirtualMachineInstance/vm",
    ("events", ".json"): b"involvedObject",
    ("virtualmachineinstances", ".json"): b'"phase": "Running"',
    ("virtualmachines", ".json"): b'"items"',
    ("pods", ".json"): b"virt-launcher",
    ("nodes", ".json"): b"allocatable",
    ("kubevirt", ".json"): b'"phase": "Deployed"',
    ("stack-pods", ".json"): b"virt-handler",
    ("stack-events", ".json"): b'"items"',
    ("domain-", ".xml"): b"<domain ",
    ("qemu-command-", ".txt"): b"qemu-system",
    ("qemu-log-", ".txt"): b"qemu-system",
    ("libvirt-log-", ".txt"): b"log_outputs",
    ("log-virt-launcher", "-compute.txt"): b"libvirt is up",
    ("log-virt-api", ".txt"): b"",
    ("log-virt-controller", ".txt"): b"",
    ("log-virt-handler", ".txt"): b"",
    ("log-virt-operator", ".txt"): b"",
    ("processes-", ".txt"): b"qemu-system",
    ("journal-", ".txt"): b"",
    ("dmesg-", ".txt"): b"",
    ("network-virt-launcher", ".txt"): b"tap0",
    ("network-", ".txt"): b"eth0",
    ("failure", ".txt"): b"planted failure",
    ("images", ".json"): b"tiny",
    ("index", ".html"): b"planted failure",
}


@pytest.mark.case("HAR-002")
def test_evidence_of_a_failure_is_complete_in_time(
    warm_vm: WarmVm, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Preconditions: a running guest that has said something on its console.
    Steps: collect evidence as for a failure of this test.
    Expected: all is there within 30 s, nothing is listed as missing; each file says what it should; the line that runs
        it again names cluster, test and options.
    """
    monkeypatch.setattr(artifacts, "ROOT", tmp_path)
    warm_vm.shell.succeed("echo planted-$((6*7))")
    started = datetime.now(UTC)
    folder = artifacts.collect(
        "a.py::test_planted[run2]", "E   AssertionError: planted failure", started, cluster=cluster,
        rest=warm_vm.space.rest, space=warm_vm.space, options=("--repeat", "3"),
    )  # fmt: skip
    took_s = (datetime.now(UTC) - started).total_seconds()
    assert took_s <= artifacts.DEADLINE_S + 1, f"it took {took_s:.1f} s"
    missing = folder / "not-collected.txt"
    assert not missing.exists(), missing.read_text()
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    wrong = []
    for (start, end), text in WANTED.items():
        found = {name: data for name, data in files.items() if name.startswith(start) and name.endswith(end)}
        if not any(text in data for data in found.values()):
            wrong.append(f"{start}*{end}: {text!r} is in none of {sorted(found)}")
    assert not wrong, "\n".join(wrong)
    nodes = {name.removeprefix("journal-").removesuffix(".txt") for name in files if name.startswith("journal-")}
    assert nodes == set(cluster.nodes)
    again = files["rerun.txt"].decode()
    assert f"VIRT_CLUSTER_NAME={cluster.name}" in again, again
    assert "'a.py::test_planted[run2]' --repeat 3" in again, again
    assert json.loads(files["images.json"])["guests"]["tiny-kernel"] == cluster.images["tiny-kernel"]
