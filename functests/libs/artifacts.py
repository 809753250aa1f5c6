"""Evidence of a failed test, collected while its objects still exist.

One folder per test under ``artifacts/``: console transcripts, screenshot, events, objects, domain XML, command line and
log of QEMU, component logs of the test's time. Each item stands alone: what cannot be read is written down as such, and
the next item is tried. Collecting ends at its own deadline and never raises, so it cannot hide the failure it is about.
"""

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, is_running
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import VM, VMI, Rest, core_path, kubevirt_path
from functests.libs.vnc import Vnc

DEADLINE_S = 30.0
ROOT = Path(__file__).parents[2] / "artifacts"
NAMESPACE = "kubevirt"
_VIRSH = "virsh -c 'qemu+unix:///session?socket=/var/run/libvirt/virtqemud-sock'"
_DOMAIN_XML = (
    f"{_VIRSH} dumpxml --domain \"$({_VIRSH} list --all --name | head -n1)\""
    " || cat /var/run/libvirt/qemu/run/*.xml /var/run/kubevirt-private/libvirt/qemu/*.xml"
)


class _Folder:
    """Where the items of one failure go. ``problems`` says what could not be had."""

    def __init__(self, test_id: str) -> None:
        self.path = ROOT / re.sub(r"[^A-Za-z0-9_.-]+", "-", test_id).strip("-")[-150:]
        self.path.mkdir(parents=True, exist_ok=True)
        self.problems: list[str] = []
        self._end = time.monotonic() + DEADLINE_S

    def item(self, name: str, read: Callable[[], str | bytes]) -> None:
        if time.monotonic() > self._end:
            self.problems.append(f"{name}: no time left")
            return
        with self.noted(name):
            data = read()
            (self.path / name).write_bytes(data if isinstance(data, bytes) else data.encode())

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Whatever goes wrong inside is written down and goes no further."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - one unreadable item must not cost the others
            self.problems.append(f"{name}: {type(error).__name__}: {error}")


def collect(
    test_id: str, failure: str, started: datetime, *, cluster: Cluster, rest: Rest, space: Space | None = None
) -> Path:
    """Write everything known about a failed test; returns its folder. ``space``: the test's namespace, if any."""
    folder = _Folder(test_id)
    folder.item("failure.txt", lambda: failure)
    folder.item("rerun.txt", lambda: f"VIRT_CLUSTER_NAME={cluster.name} .venv/bin/python -m pytest '{test_id}'\n")
    with folder.noted("nodes"):
        nodes = Nodes(cluster)
        if space is not None:
            _space(folder, space, nodes)
        since_s = _age_s(started)
        journal = f"journalctl -q --no-pager --since '{since_s} seconds ago' | tail -n 2000"
        for node in nodes:
            folder.item(f"journal-{node.name}.txt", lambda n=node: n.try_run(journal)[1])  # type: ignore[misc]
    _components(folder, rest, started)
    if folder.problems:
        with suppress(OSError):
            (folder.path / "not-collected.txt").write_text("\n".join(folder.problems) + "\n")
    return folder.path


def _age_s(started: datetime) -> int:
    return int((datetime.now(UTC) - started).total_seconds()) + 5


def _components(folder: _Folder, rest: Rest, started: datetime) -> None:
    """Logs of every container of the stack, of the test's time; of one that restarted also what it said before."""
    with folder.noted("component logs"):
        for pod in rest.get(core_path("pods", NAMESPACE)).ok()["items"]:
            name = pod["metadata"]["name"]
            path = core_path("pods", NAMESPACE, name) + "/log"
            recent = f"{path}?sinceSeconds={_age_s(started)}&limitBytes=4000000"
            folder.item(f"log-{name}.txt", lambda p=recent: rest.get(p).text)  # type: ignore[misc]
            if any(status["restartCount"] for status in pod["status"].get("containerStatuses", [])):
                before = f"{path}?previous=true&tailLines=500"
                folder.item(f"log-{name}-before.txt", lambda p=before: rest.get(p).text)  # type: ignore[misc]


def _space(folder: _Folder, space: Space, nodes: Nodes) -> None:
    for number, console in enumerate(space.opened):
        folder.item(f"console-{number}-{console.name}.txt", lambda c=console: c.transcript)  # type: ignore[misc]
    folder.item("events.txt", lambda: _event_story(space))
    for plural in (VM, VMI):
        folder.item(f"{plural}.json", lambda p=plural: _pretty(space, kubevirt_path(p, space.name)))  # type: ignore[misc]
    for plural in ("pods", "events", "persistentvolumeclaims"):
        folder.item(f"{plural}.json", lambda p=plural: _pretty(space, core_path(p, space.name)))  # type: ignore[misc]
    with folder.noted("launcher pods"):
        for pod in space.rest.get(core_path("pods", space.name)).ok()["items"]:
            _pod_logs(folder, space, pod)
            if pod["metadata"].get("labels", {}).get("kubevirt.io") == "virt-launcher" and "nodeName" in pod["spec"]:
                _inside(folder, nodes[pod["spec"]["nodeName"]], pod)
    with folder.noted("screenshots"):
        for vmi in space.rest.get(kubevirt_path(VMI, space.name)).ok()["items"]:
            if is_running(vmi):
                name = vmi["metadata"]["name"]
                folder.item(f"screen-{name}.png", lambda n=name: _screenshot(space, n))  # type: ignore[misc]


def _pod_logs(folder: _Folder, space: Space, pod: Object) -> None:
    name = pod["metadata"]["name"]
    for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
        path = core_path("pods", space.name, name) + f"/log?container={container['name']}"
        folder.item(f"log-{name}-{container['name']}.txt", lambda p=path: space.rest.get(p).text)  # type: ignore[misc]


def _inside(folder: _Folder, node: Node, pod: Object) -> None:
    """What the node sees of a launcher pod, and what its own programs and files say."""
    name = pod["metadata"]["name"]
    with folder.noted(f"processes of {name}"):
        processes = node.processes(pod["metadata"]["uid"])
        folder.item(f"processes-{name}.txt", lambda: "\n".join(f"{p.pid}\t{' '.join(p.argv)}" for p in processes))
        own = [p.pid for p in processes if "launcher" in " ".join(p.argv) or p.is_qemu]
        if not own:
            return
        # The container's root and user: virsh and the log files are there, and libvirt serves its own user only.
        inside = f"HOME=/tmp nsenter -t {own[0]} -m -S 107 -G 107 -- sh -c "
        for item, script in {
            f"domain-{name}.xml": _DOMAIN_XML,
            f"serial-{name}.txt": "cat /var/run/kubevirt-private/*/virt-serial0-log",
            f"qemu-{name}.txt": "cat $(find /var/run /var/log -path '*qemu*' -name '*.log' 2>/dev/null)",
        }.items():
            folder.item(item, lambda s=script: node.run(inside + shlex.quote(s)))  # type: ignore[misc]
        folder.item(f"network-{name}.txt", lambda: node.run_in(own[0], "ip addr; ip route; nft list ruleset"))


def _screenshot(space: Space, name: str) -> bytes:
    with Vnc(space.rest, space.name, name, within_s=5) as vnc:
        return vnc.screen(within_s=5).png()


def _pretty(space: Space, path: str) -> str:
    return json.dumps(space.rest.get(path).body, indent=1)


def _event_story(space: Space) -> str:
    events = space.rest.get(core_path("events", space.name)).ok()["items"]
    lines = sorted(
        f"{event.get('lastTimestamp') or event['metadata']['creationTimestamp']} {event['type']:7} "
        f"{event['involvedObject'].get('kind')}/{event['involvedObject'].get('name')} "
        f"{event['reason']}: {event.get('message')}"
        for event in events
    )
    return "\n".join(lines) + "\n"
