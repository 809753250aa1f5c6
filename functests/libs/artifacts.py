"""Evidence of a failed test, collected while its objects still exist.

One folder per test under ``artifacts/``: console transcripts, screenshot, events, objects, domain XML, command line and
logs of QEMU and libvirt, logs of components, nodes and kernel of the test's time, and an index page. All is read side
by side, each item on its own (artifacts_folder).
"""

import json
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from functests.libs import artifacts_page
from functests.libs.artifacts_folder import Folder
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, is_running
from functests.libs.launcher import INSIDE, VIRSH
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import VM, VMI, Rest, core_path, kubevirt_path
from functests.libs.vnc import Vnc

DEADLINE_S = 30.0
ROOT = Path(__file__).parents[2] / "artifacts"
NAMESPACE = "kubevirt"
_DOMAIN_XML = (
    f"{VIRSH} dumpxml --domain \"$({VIRSH} list --all --name | head -n1)\""
    " || cat /var/run/libvirt/qemu/run/*.xml /var/run/kubevirt-private/libvirt/qemu/*.xml"
)
# Its own files and settings; what it says on standard error is in the log of the launcher's container.
_LIBVIRT_LOG = (
    "for f in $(find /var/run/kubevirt-private/libvirt /var/log/libvirt -type f"
    " '(' -name '*.log' -o -name 'libvirtd.conf' -o -name 'qemu.conf' ')' -not -path '*/qemu/*' 2>/dev/null);"
    " do echo \"== $f\"; cat \"$f\"; done"
)
# Where XDG_CACHE_HOME is. /var/run is a link in the launcher's image, and find does not follow one that it is given.
_QEMU_LOG = (
    "f=$(find /var/run/kubevirt-private/libvirt/qemu /var/log/libvirt -name '*.log' 2>/dev/null);"
    " [ -n \"$f\" ] && cat $f"
)
# What else decides how a test runs.
_SETTINGS = ("FUNCTEST_BOOT_S", "FUNCTEST_BOOTS", "FUNCTEST_LEDGER", "FUNCTEST_WARM", "PYTHONHASHSEED")
_OF_THE_CLUSTER = {
    "nodes.json": "/api/v1/nodes",
    "kubevirt.json": "/apis/kubevirt.io/v1/kubevirts",
    "volumes.json": "/api/v1/persistentvolumes",
    "stack-pods.json": f"/api/v1/namespaces/{NAMESPACE}/pods",          # how often, and of what, each was restarted
    "stack-events.json": f"/api/v1/namespaces/{NAMESPACE}/events",
}
_OF_THE_SPACE = ("pods", "events", "services", "persistentvolumeclaims")


def collect(
    test_id: str, failure: str, started: datetime, *, cluster: Cluster, rest: Rest, space: Space | None = None,
    options: Sequence[str] = (),
) -> Path:
    """Write everything known about a failed test; returns its folder. ``space``: the test's namespace, if any;
    ``options``: pytest's, as this run had them."""
    folder = Folder(ROOT, test_id, DEADLINE_S)
    again = rerun(cluster, test_id, options)
    folder.item("failure.txt", lambda: failure)
    folder.item("rerun.txt", lambda: again)
    images = {"guests": cluster.images, "stack": cluster.component_images}
    folder.item("images.json", lambda: json.dumps(images, indent=1))
    for name, path in _OF_THE_CLUSTER.items():
        folder.item(name, lambda p=path: json.dumps(rest.get(p).ok(), indent=1))  # type: ignore[misc]
    folder.job("component logs", lambda: _components(folder, rest, started))
    with folder.noted("nodes"):
        nodes = Nodes(cluster)
        if space is not None:
            _space(folder, space, nodes)
        for node in nodes:
            for name, script in _of_a_node(_age_s(started)).items():
                folder.item(f"{name}-{node.name}.txt", lambda n=node, s=script: n.try_run(s)[1])  # type: ignore[misc]
    folder.finish()
    with suppress(OSError):
        if folder.problems:
            (folder.path / "not-collected.txt").write_text("\n".join(folder.problems) + "\n")
        page = artifacts_page.document(
            folder.path, test_id, failure, rerun=again, problems=folder.problems, seconds=folder.seconds
        )
        (folder.path / "index.html").write_text(page)
    return folder.path


def rerun(cluster: Cluster, test_id: str, options: Sequence[str] = ()) -> str:
    """One line that runs exactly that test, with the cluster, the settings and the measured boot of this run."""
    words = [f"VIRT_CLUSTER_NAME={shlex.quote(cluster.name)}"]
    words += [f"{name}={shlex.quote(os.environ[name])}" for name in _SETTINGS if name in os.environ]
    return f"{' '.join(words)} .venv/bin/python -m pytest {shlex.join([test_id, *options])}\n"


def _of_a_node(age_s: int) -> dict[str, str]:
    """Scripts by item: what a node's own logs say of the last ``age_s`` seconds, and how its network is."""
    return {
        "journal": f"journalctl -q --no-pager --since '{age_s} seconds ago' | tail -n 3000",
        # The kernel counts from its start; the node shares it with the machine.
        "dmesg": f"now=$(cut -d. -f1 /proc/uptime); dmesg | awk -F'[][]' -v from=$((now - {age_s})) '$2 + 0 >= from'",
        "network": "ip -d addr; ip route; ip neigh; nft list ruleset",
    }


def _age_s(started: datetime) -> int:
    return int((datetime.now(UTC) - started).total_seconds()) + 5


def _components(folder: Folder, rest: Rest, started: datetime) -> None:
    """Logs of every container of the stack, of the test's time; of one that restarted also what it said before."""
    for pod in rest.get(core_path("pods", NAMESPACE)).ok()["items"]:
        name = pod["metadata"]["name"]
        path = core_path("pods", NAMESPACE, name) + "/log"
        recent = f"{path}?sinceSeconds={_age_s(started)}&limitBytes=4000000"
        folder.item(f"log-{name}.txt", lambda p=recent: rest.get(p).text)  # type: ignore[misc]
        if any(status["restartCount"] for status in pod["status"].get("containerStatuses", [])):
            before = f"{path}?previous=true&tailLines=500"
            folder.item(f"log-{name}-before.txt", lambda p=before: rest.get(p).text)  # type: ignore[misc]


def _space(folder: Folder, space: Space, nodes: Nodes) -> None:
    for number, console in enumerate(space.opened):
        folder.item(f"console-{number}-{console.name}.txt", lambda c=console: c.transcript)  # type: ignore[misc]
    folder.item("events.txt", lambda: _event_story(space))
    for plural in (VM, VMI, "virtualmachineinstancemigrations"):
        folder.item(f"{plural}.json", lambda p=plural: _pretty(space, kubevirt_path(p, space.name)))  # type: ignore[misc]
    for plural in _OF_THE_SPACE:
        folder.item(f"{plural}.json", lambda p=plural: _pretty(space, core_path(p, space.name)))  # type: ignore[misc]
    folder.job("launcher pods", lambda: _pods(folder, space, nodes))
    folder.job("screenshots", lambda: _screens(folder, space))


def _pods(folder: Folder, space: Space, nodes: Nodes) -> None:
    for pod in space.rest.get(core_path("pods", space.name)).ok()["items"]:
        _pod_logs(folder, space, pod)
        if pod["metadata"].get("labels", {}).get("kubevirt.io") == "virt-launcher" and "nodeName" in pod["spec"]:
            node = nodes[pod["spec"]["nodeName"]]
            name = f"processes of {pod['metadata']['name']}"
            folder.job(name, lambda n=node, p=pod: _inside(folder, n, p))  # type: ignore[misc]


def _screens(folder: Folder, space: Space) -> None:
    for vmi in space.rest.get(kubevirt_path(VMI, space.name)).ok()["items"]:
        if is_running(vmi):
            name = vmi["metadata"]["name"]
            folder.item(f"screen-{name}.png", lambda n=name: _screenshot(space, n))  # type: ignore[misc]


def _pod_logs(folder: Folder, space: Space, pod: Object) -> None:
    name = pod["metadata"]["name"]
    for container in [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]:
        path = core_path("pods", space.name, name) + f"/log?container={container['name']}"
        folder.item(f"log-{name}-{container['name']}.txt", lambda p=path: space.rest.get(p).text)  # type: ignore[misc]


def _inside(folder: Folder, node: Node, pod: Object) -> None:
    """What the node sees of a launcher pod, and what its own programs and files say."""
    name = pod["metadata"]["name"]
    processes = node.processes(pod["metadata"]["uid"])
    folder.item(f"processes-{name}.txt", lambda: "\n".join(f"{p.pid}\t{' '.join(p.argv)}" for p in processes))
    for qemu in (process for process in processes if process.is_qemu):
        folder.item(f"qemu-command-{name}.txt", lambda q=qemu: "\n".join(q.argv) + "\n")  # type: ignore[misc]
    own = [p.pid for p in processes if "launcher" in " ".join(p.argv) or p.is_qemu]
    if not own:
        raise LookupError("neither launcher nor QEMU is left; the console is in the log of guest-console-log")
    inside = INSIDE.format(own[0])
    for item, script in {
        f"domain-{name}.xml": _DOMAIN_XML,
        f"serial-{name}.txt": "cat /var/run/kubevirt-private/*/virt-serial0-log",
        f"qemu-log-{name}.txt": _QEMU_LOG,
        f"libvirt-log-{name}.txt": _LIBVIRT_LOG,
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
