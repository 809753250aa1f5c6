"""Guests and memory of the nodes while a run goes on, sampled from outside: one list and a few numbers at a time."""

import os
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from functests.verdict.records import Guest, Memory

EVERY_S = 4.0


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp() if stamp else 0.0


def guest_of(vmi: Mapping[str, Any], now: float) -> Guest:
    status = vmi.get("status", {})
    running = [entry for entry in status.get("phaseTransitionTimestamps", []) if entry["phase"] == "Running"]
    return Guest(
        name=vmi["metadata"]["name"],
        namespace=vmi["metadata"]["namespace"],
        node=status.get("nodeName", ""),
        created=_seconds(vmi["metadata"]["creationTimestamp"]),
        running=_seconds(running[0]["phaseTransitionTimestamp"]) if running else 0.0,
        last_seen=round(now, 1),
    )


def used_mib(stats: Mapping[str, Any]) -> float:
    """What the engine says of a container, without the file cache that the kernel would give back."""
    memory = stats.get("memory_stats", {})
    details = memory.get("stats", {})
    cache = details.get("inactive_file", details.get("total_inactive_file", 0))
    return float(round((memory.get("usage", 0) - cache) / 2**20))


class Sampler:
    """A thread of the controlling process. Trouble ends it and is said in ``trouble``; the run goes on."""

    def __init__(self) -> None:
        self.guests: dict[str, Guest] = {}
        self.memory: list[Memory] = []
        self.cluster = os.environ.get("VIRT_CLUSTER_NAME", "")
        self.trouble = "no functional test was run"
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
        import docker

        from functests.libs import cluster as clusters
        from functests.libs.rest import Rest

        try:
            cluster = clusters.load()
            self.cluster = cluster.name
            rest = Rest(cluster.api)
            engine = docker.from_env()
            containers = {name: engine.containers.get(name) for name in cluster.nodes}
        except Exception as error:  # noqa: BLE001 - a run without a cluster is judged too
            self.trouble = f"{type(error).__name__}: {error}"
            return
        while True:
            try:
                self._sample(rest, containers)
                self.trouble = ""
            except Exception as error:  # noqa: BLE001 - tests restart nodes and servers; the next look may succeed
                self.trouble = f"{type(error).__name__}: {error}"
            if self._stop.wait(EVERY_S):
                return

    def _sample(self, rest: Any, containers: Mapping[str, Any]) -> None:
        now = time.time()
        for vmi in rest.get("/apis/kubevirt.io/v1/virtualmachineinstances").ok()["items"]:
            self.guests[vmi["metadata"]["uid"]] = guest_of(vmi, now)
        for name, container in containers.items():
            stats = container.stats(stream=False, one_shot=True)
            self.memory.append(Memory(round(now, 1), name, used_mib(stats)))
