"""Guests and memory of the nodes while a run goes on, sampled from outside: one list and a few numbers at a time."""

import math
import os
import threading
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from functests.verdict.records import Guest, Memory

EVERY_S = 4.0
PODS_EVERY = 5          # looks
OWN = ("kubevirt", "kube-system")
OVER = ("Succeeded", "Failed")


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp() if stamp else 0.0


def guest_of(vmi: Mapping[str, Any], now: float) -> Guest:
    status = vmi.get("status", {})
    running = [entry for entry in status.get("phaseTransitionTimestamps", []) if entry["phase"] == "Running"]
    return Guest(
        name=vmi["metadata"]["name"],
        namespace=vmi["metadata"]["namespace"],
        node=status.get("nodeName", ""),
        vcpus=math.prod(int(count) for count in (status.get("currentCPUTopology") or {}).values()),
        created=_seconds(vmi["metadata"]["creationTimestamp"]),
        running=_seconds(running[0]["phaseTransitionTimestamp"]) if running else 0.0,
        last_seen=round(now, 1),
    )


# Of the node's own container. Not the engine's "stats", which answers with its next collection, a second later. Inside
# a machine the first of its groups has no usage, so its kernel tells it.
MEMORY_SCRIPT = (
    "cd /sys/fs/cgroup; "
    "if [ -e memory/memory.usage_in_bytes ]; then cat memory/memory.usage_in_bytes memory/memory.stat; "
    "elif [ -e memory.current ]; then cat memory.current memory.stat; "
    "else set -- $(awk '/^Mem(Total|Available):/ {print $2}' /proc/meminfo); echo $((($1 - $2) * 1024)); fi"
)


def used_mib(told: str) -> float:
    """What the node says (:data:`MEMORY_SCRIPT`), without the file cache that the kernel would give back."""
    usage, *lines = told.splitlines()
    details = {name: int(value) for name, value in (line.split() for line in lines)}
    # cgroup v1 counts the groups below in the fields named total_.
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return float(round((int(usage) - cache) / 2**20))


Restarts = Mapping[tuple[str, str], int]        # by pod's uid and container: how often it was restarted


def restarts_of(pods: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """Of the stack and of Kubernetes itself."""
    return {
        (pod["metadata"]["uid"], f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"): sum(
            status["restartCount"] for status in pod["status"].get("containerStatuses", []))
        for pod in pods
    }


def restarted(before: Restarts, after: Restarts) -> list[str]:
    """In words, by pod: what was restarted in between. Pods that came or went are not among them."""
    more = {name: count - before[uid, name] for (uid, name), count in after.items() if (uid, name) in before}
    return [f"{name}, {count} times" if count > 1 else name for name, count in sorted(more.items()) if count > 0]


class Sampler:
    """A thread of the controlling process. Trouble ends it and is said in ``trouble``; the run goes on.

    ``restarted``: which of the stack's and of Kubernetes' own pods were restarted since the start; a slow machine does
    that, and tests that kill them.
    """

    def __init__(self) -> None:
        self.guests: dict[str, Guest] = {}
        self.memory: list[Memory] = []
        self.cluster = os.environ.get("VIRT_CLUSTER_NAME", "")
        self.trouble = "no functional test was run"
        self.restarted: list[str] = []
        self._before: Restarts = {}
        self._looks = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None:
            self.trouble = ""
            self._thread = threading.Thread(target=self._run, daemon=True, name="sampler")
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)

    def _run(self) -> None:
        # Clients of clusters and engines take a second to import, and every run of unit tests imports this module.
        from functests.libs import cluster as clusters
        from functests.libs.nodes import Nodes
        from functests.libs.rest import Rest

        try:
            cluster = clusters.load()
            self.cluster = cluster.name
            rest, nodes = Rest(cluster.api), Nodes(cluster)
        except Exception as error:  # noqa: BLE001 - a run without a cluster is judged too
            self.trouble = f"{type(error).__name__}: {error}"
            return
        while True:
            try:
                self.sample(rest, nodes)
                self.trouble = ""
            except Exception as error:  # noqa: BLE001 - tests restart nodes and servers; the next look may succeed
                self.trouble = f"{type(error).__name__}: {error}"
            if self._stop.wait(EVERY_S):
                return

    def sample(self, rest: Any, nodes: Iterable[Any]) -> None:
        """One look. ``nodes`` as :class:`functests.libs.nodes.Nodes`; their shells stay open between looks."""
        now = time.time()
        for vmi in rest.get("/apis/kubevirt.io/v1/virtualmachineinstances").ok()["items"]:
            uid = vmi["metadata"]["uid"]
            if vmi.get("status", {}).get("phase") not in OVER or uid not in self.guests:
                self.guests[uid] = guest_of(vmi, now)
        if self._looks % PODS_EVERY == 0:
            pods = [pod for name in OWN for pod in rest.get(f"/api/v1/namespaces/{name}/pods").ok()["items"]]
            self._before = self._before or restarts_of(pods)
            self.restarted = restarted(self._before, restarts_of(pods))
        self._looks += 1
        for node in nodes:
            self.memory.append(Memory(round(now, 1), node.name, used_mib(node.run(MEMORY_SCRIPT))))
