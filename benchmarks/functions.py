"""The worker with SR-IOV cards and its guests: bars of decision 0091, on the cluster that runs (lane sriov).

    python -m benchmarks.functions --name CLUSTER [--only up ping traffic cycles]

``up``: `up --machines 1` on a cluster without a machine, images cached, until it ends: the worker is Ready and all
functions are allocatable. The machine that was there is taken away first. ``ping``: a VMI with one function, created ->
the first ping through it answered, and the phases of that. ``traffic``: two guests, 60 s of pings through their
functions from when both links are up. ``cycles``: a function is given to a pod and taken back a hundred times by the
node agent's own code (benchmarks/function_cycles.py), while the agent has none to look after. Prints one JSON object
for each; seconds.
"""

import argparse
import base64
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import vmis
from cluster_up import exec as host
from functests.libs import cluster as clusters
from functests.libs import functions, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.functions import GUEST, ON_EACH, OTHER_GUEST, PEER, RESOURCES
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import JSON_PATCH, Rest
from functests.libs.stack import Stack

_MACS = ("de:ad:00:00:00:61", "de:ad:00:00:00:62")
_CYCLES, _TRAFFIC_S, _EVERY_S = 100, 60, 0.2
_CONFIG = "/api/v1/namespaces/kubevirt/configmaps/sriovdp-config"
_KEY = "config.json"
_SCRIPT = Path(__file__).with_name("function_cycles.py")
_BARS = {"up": {"up_s": 180}, "ping": {"answered_s": 150}, "traffic": {"lost": 0}, "cycles": {"p50_s": 0.3, "leaks": 0}}


def up(cluster: Cluster) -> dict[str, object]:
    def cluster_up(machines: int) -> float:
        started = time.monotonic()
        argv = [sys.executable, "-m", "cluster_up", "up", "--name", cluster.name, "--machines", str(machines)]
        host.run(argv, deadline_s=1800)
        return time.monotonic() - started

    away_s, up_s = cluster_up(0), cluster_up(1)
    seen = clusters.load(cluster.name)
    offered = functions.offered(Rest(seen.api), seen.machines[0])
    if set(offered.values()) != {ON_EACH}:
        raise SystemExit(f"`up` ended, and functions that are offered are {offered}")
    return {"up_s": round(up_s, 1), "away_s": round(away_s, 1)}


def ping(cluster: Cluster) -> dict[str, object]:
    node = Nodes(cluster)[cluster.machines[0]]
    with vmis.space(cluster, "bench-functions") as space, functions.peer(node, "pf2"):
        functions.define(space, "fast", "pf1")
        started = time.monotonic()
        space.create(functions.guest(cluster, "vm", {"name": "fast", "macAddress": _MACS[0]}))
        space.wait_running("vm", within_s=functions.patient())
        running = time.monotonic()
        shell = space.console("vm").login(within_s=functions.patient())
        login = time.monotonic()
        _connect(shell, _MACS[0], GUEST)
        link = time.monotonic()
        first = "until ping -c 1 -W 1 {} > /dev/null; do :; done"
        shell.succeed(first.format(PEER), within_s=functions.patient())
        at = {"running_s": running, "login_s": login, "link_s": link, "answered_s": time.monotonic()}
    return {name: round(when - started, 1) for name, when in at.items()}


def _connect(shell: Console, mac: str, own: str) -> None:
    functions.address(shell, functions.links(shell)[mac], own)


def traffic(cluster: Cluster) -> dict[str, object]:
    with vmis.space(cluster, "bench-functions") as space:
        functions.define(space, "fast", "pf1")
        shells = [_guest(space, cluster, name, mac, own)
                  for name, mac, own in zip(("left", "right"), _MACS, (GUEST, OTHER_GUEST), strict=True)]
        # The first one waits for the other's MAC address.
        shells[0].succeed(f"ping -c 1 -W 30 {OTHER_GUEST}", within_s=functions.patient())
        count = int(_TRAFFIC_S / _EVERY_S)
        said = shells[0].run(
            f"ping -q -i {_EVERY_S} -c {count} -W 30 {OTHER_GUEST}", within_s=_TRAFFIC_S + functions.patient()).out
    sent, received = (int(line.split()[0]) for line in said.partition("---\n")[2].split(",")[:2])
    return {"sent": sent, "received": received, "lost": sent - received, "said": said.splitlines()[-1]}


def _guest(space: Space, cluster: Cluster, name: str, mac: str, own: str) -> Console:
    _, shell = functions.boot(space, functions.guest(cluster, name, {"name": "fast", "macAddress": mac}))
    _connect(shell, mac, own)
    return shell


@contextmanager
def no_functions(admin: Rest) -> Iterator[str]:
    """The node agents have none to look after inside the block; the configuration that they have outside of it."""
    before = str(admin.get(_CONFIG).ok()["data"][_KEY])
    admin.patch(_CONFIG, [{"op": "remove", "path": f"/data/{_KEY}"}], JSON_PATCH).ok()
    try:
        yield before
    finally:
        admin.patch(_CONFIG, {"data": {_KEY: before}}).ok()


def cycles(cluster: Cluster) -> dict[str, object]:
    admin, nodes, name = Rest(cluster.api), Nodes(cluster), cluster.machines[0]
    stack = Stack(admin, nodes, cluster)
    node, agent = stack.process(stack.handler(name))

    def wait_offered(count: int) -> None:
        patience.eventually(
            f"{count} functions of each card are offered", lambda: functions.offered(admin, name),
            lambda seen: seen == dict.fromkeys(RESOURCES.values(), count), within_s=functions.patient(), every_s=1.0)

    script = base64.b64encode(_SCRIPT.read_bytes()).decode()
    with no_functions(admin) as configuration:
        wait_offered(0)
        words = base64.b64encode(configuration.encode()).decode()
        said = node.run(
            f"path=$(tr '\\0' '\\n' < /proc/{agent.pid}/environ | grep ^PYTHONPATH=); nsenter -t {agent.pid} -m -- "
            f"env $path python3 -c \"$(echo {script} | base64 -d)\" {_CYCLES} pf1 \"$(echo {words} | base64 -d)\"")
    wait_offered(ON_EACH)
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    wrong = [text for each in found for text in each["wrong"]]
    both = sorted(each["give_s"] + each["take_s"] for each in found)
    return {
        "cycles": len(found), "p50_s": round(statistics.median(both), 3), "most_s": round(both[-1], 3),
        "give_p50_s": round(statistics.median(each["give_s"] for each in found), 3),
        "take_p50_s": round(statistics.median(each["take_s"] for each in found), 3),
        "leaks": len(wrong), "wrong": wrong[:5],
    }


_PARTS: dict[str, Callable[[Cluster], dict[str, object]]] = {
    "up": up, "ping": ping, "traffic": traffic, "cycles": cycles}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--name", help="cluster")
    arguments.add_argument("--only", nargs="+", choices=[*_PARTS], default=[*_PARTS])
    chosen = arguments.parse_args()
    for part in chosen.only:
        result = _PARTS[part](clusters.load(chosen.name))
        print(json.dumps({"benchmark": f"functions-{part}", **result, "bar": _BARS[part]}), flush=True)


if __name__ == "__main__":
    main()
