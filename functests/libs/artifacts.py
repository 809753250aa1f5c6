"""Evidence of a failed test, collected while its objects still exist.

One folder per test under ``artifacts/``: console transcripts, events, objects, domain XML, QEMU's command line and log,
component logs of the test's time. Each item stands alone: what cannot be read is written down as such, and the next
item is tried. Collecting ends at its own deadline.
"""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VM, VMI, core_path, kubevirt_path

DEADLINE_S = 30.0
ROOT = Path("artifacts")


def folder_of(test_id: str) -> Path:
    return ROOT / re.sub(r"[^A-Za-z0-9_.-]+", "-", test_id).strip("-")[-150:]


def collect(test_id: str, failure: str, space: Space, cluster: Cluster, started: datetime) -> Path:
    """Write everything known about a failed test; returns its folder."""
    folder = folder_of(test_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failure.txt").write_text(failure)
    (folder / "rerun.txt").write_text(f"make functest FILTER='{test_id}'\n")
    end = time.monotonic() + DEADLINE_S
    problems: list[str] = []

    def item(name: str, read: Callable[[], str]) -> None:
        if time.monotonic() > end:
            problems.append(f"{name}: no time left")
            return
        try:
            (folder / name).write_text(read())
        except Exception as error:  # noqa: BLE001 - one unreadable item must not cost the others
            problems.append(f"{name}: {type(error).__name__}: {error}")

    for number, console in enumerate(space.opened):
        item(f"console-{number}-{console.name}.txt", lambda c=console: c.transcript)  # type: ignore[misc]
    for plural in (VM, VMI):
        item(f"{plural}.json", lambda p=plural: _pretty(space, kubevirt_path(p, space.name)))  # type: ignore[misc]
    for plural in ("pods", "events", "persistentvolumeclaims"):
        item(f"{plural}.json", lambda p=plural: _pretty(space, core_path(p, space.name)))  # type: ignore[misc]
    item("events.txt", lambda: _event_story(space))
    nodes = Nodes(cluster)
    for pod in _launcher_pods(space):
        _collect_pod(item, space, nodes, pod)
    since_s = int((datetime.now(UTC) - started).total_seconds()) + 5
    for pod in _pods(space, "kubevirt"):
        name = pod["metadata"]["name"]
        path = core_path("pods", "kubevirt", name) + f"/log?sinceSeconds={since_s}&limitBytes=4000000"
        item(f"log-{name}.txt", lambda p=path: space.rest.get(p).text)  # type: ignore[misc]
    journal = f"journalctl -q --no-pager --since '{since_s} seconds ago' | tail -n 2000"
    for node in nodes:
        item(f"journal-{node.name}.txt", lambda n=node: n.try_run(journal)[1])  # type: ignore[misc]
    if problems:
        (folder / "not-collected.txt").write_text("\n".join(problems) + "\n")
    return folder


def _collect_pod(item: Callable[[str, Callable[[], str]], None], space: Space, nodes: Nodes, pod: Object) -> None:
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    for container in pod["spec"]["containers"]:
        path = core_path("pods", space.name, name) + f"/log?container={container['name']}"
        item(f"log-{name}-{container['name']}.txt", lambda p=path: space.rest.get(p).text)  # type: ignore[misc]
    if "nodeName" not in pod["spec"]:
        return
    node = nodes[pod["spec"]["nodeName"]]
    processes = node.processes(uid)
    item(f"processes-{name}.txt", lambda: "\n".join(f"{p.pid}\t{' '.join(p.argv)}" for p in processes))
    main = next((p.pid for p in processes if "virt.cli.launcher" in " ".join(p.argv)), None)
    if main is None:
        return
    # The container's own root and programs: virsh and the log files are there, not on the node.
    inside = f"nsenter -t {main} -m -- sh -c "
    virsh = "virsh -c 'qemu+unix:///session?socket=/var/run/libvirt/virtqemud-sock' "
    dump = f"{virsh} dumpxml --domain $({virsh} list --all --name | head -n1)"
    item(f"domain-{name}.xml", lambda: node.run(f'{inside}"{dump}"'))
    item(f"serial-{name}.txt", lambda: node.run(inside + "'cat /var/run/kubevirt-private/*/virt-serial0-log'"))
    item(f"qemu-{name}.txt", lambda: node.run(inside + "'cat /var/run/kubevirt-private/libvirt/qemu/log/*.log'"))
    item(f"network-{name}.txt", lambda: node.run_in(main, "ip addr; ip route; nft list ruleset"))


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


def _pods(space: Space, namespace: str) -> list[Object]:
    return list(space.rest.get(core_path("pods", namespace)).body.get("items", []))


def _launcher_pods(space: Space) -> list[Object]:
    pods = _pods(space, space.name)
    return [pod for pod in pods if pod["metadata"].get("labels", {}).get("kubevirt.io") == "virt-launcher"]
