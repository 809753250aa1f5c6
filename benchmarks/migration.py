"""A guest that moves between two nodes, against bare virsh in the same run.

    python -m benchmarks.migration --name CLUSTER [--count 20] [--busy | --writes | --disk MIB]
    python -m benchmarks.migration --name CLUSTER --drain 10
    python -m benchmarks.migration --name CLUSTER --endure 200

One guest of 128 MiB goes to and fro; each move of it is followed by one of a guest in bare containers
(benchmarks.bare). ``--busy``: ours rewrites 20 MiB of memory each second. ``--writes``: ours writes records to a shared
disk all the time, which are checked in the end, as are its memory, the longest time that it stood still, and that none
of the pods it left has a process. ``--disk``: with so much random data on a disk that is copied along; bare virsh
copies the same. ``--drain``: so many guests are on one node, which is drained. ``--endure``: so many moves
of one guest, and what was lost by them (benchmarks.endurance).

Prints one JSON object; p50. ``total_ms`` and ``downtime_ms`` are libvirt's of the job; ``moved_s`` is the time from the
request that creates the migration until it has succeeded, for virsh that of the command. ``tunnel_cpu_s_per_gib``: what
both handlers used in the meantime, all of it counted as the tunnels'.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import bare, endurance, progress, vmis
from benchmarks.boot import guest_files
from functests.libs import build, launcher, moves, patience, records
from functests.libs import cluster as clusters
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path
from functests.libs.stack import HANDLER, Stack
from functests.libs.witness import Witness

_BAR = {"total_ms": 1000, "downtime_ms": 100, "moved_s": 5}
_DISK_BAR = 0.6                 # of bare virsh's throughput
_DRAIN_BAR_S = 60
_EVICT_AGAIN_S = 5.0            # as kubectl drain
_TICKS = os.sysconf("SC_CLK_TCK")
# A mebibyte twenty times a second, other pages each time.
_BUSY = (
    "dd if=/dev/urandom of=/run/one bs=1M count=1 2>/dev/null; "
    "i=0; while :; do dd if=/run/one of=/run/busy bs=1M seek=$((i%20)) conv=notrunc 2>/dev/null; "
    "i=$((i+1)); usleep 50000 2>/dev/null || sleep 0.05; done"
)


def handlers_cpu_s(stack: Stack) -> float:
    """Processor time of all handlers since they began."""
    used = 0.0
    for pod in stack.pods(HANDLER):
        node, process = stack.process(pod)
        ticks = node.run(f"cat /proc/{process.pid}/stat").rpartition(")")[2].split()[11:13]
        used += sum(map(int, ticks)) / _TICKS
    return used


def one_move(space: Space, nodes: Nodes, number: int) -> tuple[bare.Job, vmis.OnNode]:
    """And where the guest is then."""
    began = time.monotonic()
    name = moves.migrate(space, "vm", f"move-{number}")
    patience.eventually(
        f"{name} has succeeded", lambda: moves.phase(moves.get(space, name)), lambda phase: phase == "Succeeded",
        stop=lambda phase: phase == "Failed", within_s=600, every_s=0.05)
    wall_s = time.monotonic() - began
    vmi = space.vmi("vm")
    pod = next(pod for pod in space.pods(vmi) if pod["metadata"]["name"] == moves.state(vmi)["targetPod"])
    there = vmis.OnNode(nodes[vmi["status"]["nodeName"]], pod["metadata"]["uid"], vmi["metadata"]["uid"])
    told = launcher.Launcher(there.node, there.pod_uid).virsh("domjobinfo --completed --rawstats")
    return bare.job(told, wall_s), there


def p50(jobs: list[bare.Job], disk_mib: int) -> dict[str, Any]:
    return {
        "total_ms": round(median(job.total_ms for job in jobs)),
        "downtime_ms": round(median(job.downtime_ms for job in jobs)),
        "moved_s": round(median(job.wall_s for job in jobs), 2),
        "memory_mib": round(median(job.memory_bytes for job in jobs) / 2**20, 1),
        "mib_s": round(median((job.memory_bytes / 2**20 + disk_mib) / job.total_ms * 1000 for job in jobs), 1),
        "spread_ms": [min(job.total_ms for job in jobs), max(job.total_ms for job in jobs)],
    }


def left_behind(homes: list[vmis.OnNode]) -> int:
    """Processes of pods that the guest has left; the last one gets time to end."""
    def left(home: vmis.OnNode) -> int:
        return len(home.node.processes(home.pod_uid))

    patience.eventually("the last pod has ended", lambda: left(homes[-1]), lambda count: not count, within_s=30)
    return sum(map(left, homes))


def guest(space: Space, cluster: Cluster, chosen: argparse.Namespace) -> Console:
    manifest = build.kernel_boot_vmi(cluster, "vm")
    if chosen.disk:
        manifest = build.with_disk(manifest, "data", {"emptyDisk": {"capacity": f"{chosen.disk + 16}Mi"}})
    else:
        claim = build.pvc("data", storage_class="shared", mode="ReadWriteMany")
        space.rest.post(f"/api/v1/namespaces/{space.name}/persistentvolumeclaims", claim).ok()
        manifest = build.with_disk(manifest, "data", {"persistentVolumeClaim": {"claimName": "data"}})
    _, shell = space.boot(manifest)
    if chosen.disk:
        shell.succeed(f"dd if=/dev/urandom of=/dev/vda bs=1M count={chosen.disk} conv=fsync 2>/dev/null", within_s=600)
    elif chosen.writes:
        records.begin(shell)
    if chosen.busy:
        shell.succeed(f"{{ setsid sh -c '{_BUSY}' > /dev/null 2>&1 < /dev/null & }}")
    return shell


def bare_guest(cluster: Cluster, pair: bare.Pair, chosen: argparse.Namespace, cpu: str) -> None:
    """The same guest in a container. A disk that is copied is a file of each, else one is common to both."""
    entry = cluster.images["tiny-kernel"]
    boot = (f"<kernel>/guest{entry['kernel_path']}</kernel><initrd>/guest{entry['initrd_path']}</initrd>"
            f"<cmdline>{entry['kernel_args']}</cmdline>")
    disk = "/tmp/data.img" if chosen.disk else "/common/data.img"
    size = chosen.disk + 16 if chosen.disk else 64
    if chosen.disk:
        pair.inside("a", f"dd if=/dev/urandom of={disk} bs=1M count={chosen.disk} 2>/dev/null")
    for me in "ab":
        pair.inside(me, f"truncate -s {size}M {disk}")
    pair.start(bare.domain(boot, cpu=cpu, disk=disk))
    pair.wait_serial("tiny: ready")


def compared(cluster: Cluster, nodes: Nodes, chosen: argparse.Namespace) -> dict[str, Any]:
    image = cluster.component_images["virt-launcher"].rpartition("/")[2]
    ours: list[bare.Job] = []
    theirs: list[bare.Job] = []
    with (
        vmis.space(cluster, "bench-migration") as space, guest_files(cluster, "tiny-kernel") as files,
        tempfile.TemporaryDirectory(prefix="bench-migration-") as scratch,
        bare.pair(files, Path(scratch), image) as pair,
    ):
        shell = guest(space, cluster, chosen)
        argv = launcher.of(space, space.vmi("vm"), nodes).qemu.argv
        cpu = argv[argv.index("-cpu") + 1].partition(",")[0]
        bare_guest(cluster, pair, chosen, cpu)
        stack = Stack(space.rest, nodes, cluster)
        witness = Witness(shell) if chosen.writes else None
        homes = [vmis.on_node(space, nodes, space.vmi("vm"))]
        cpu_s = 0.0
        for number in progress.each("moves", chosen.count):
            before = handlers_cpu_s(stack)
            job, there = one_move(space, nodes, number)
            ours.append(job)
            homes.append(there)
            cpu_s += handlers_cpu_s(stack) - before
            theirs.append(pair.move(copies=bool(chosen.disk)))
        extra: dict[str, Any] = {}
        if witness is not None:
            witness.shell = space.shell("vm")
            extra = {"records_checked": records.check(witness.shell), "stood_still_s": witness.check().step_s,
                     "left_processes": left_behind(homes[:-1])}
    us, them = p50(ours, chosen.disk), p50(theirs, chosen.disk)
    bar: dict[str, Any] | None = None
    if chosen.disk:
        extra["throughput_of_bare"] = round(us["mib_s"] / them["mib_s"], 2)
        bar = {"throughput_of_bare": _DISK_BAR}
    elif not chosen.busy and not chosen.writes:
        bar = {"beyond_bare": _BAR}
    sent = sum(job.memory_bytes + (chosen.disk << 20) for job in ours)
    return {
        "benchmark": "migration", "guest": "busy" if chosen.busy else "idle", "disk_mib": chosen.disk,
        "count": chosen.count, "vmi": us, "bare": them,
        "beyond_bare": {name: round(us[name] - them[name], 2) for name in _BAR},
        "tunnel_cpu_s_per_gib": round(cpu_s / (sent / 2**30), 2), **extra, "bar": bar,
    }


def drained(cluster: Cluster, nodes: Nodes, count: int) -> dict[str, Any]:
    """All on one worker, which is cordoned; evicted as kubectl drain does it."""
    node = cluster.workers[0]
    with vmis.space(cluster, "bench-drain") as space:
        names = [f"vm-{number}" for number in range(count)]
        for name in names:
            space.create(build.merged(build.kernel_boot_vmi(cluster, name, memory="64Mi"), _drainable(node)))
        boot_ids = {name: boot_id(space, name) for name in names}
        there = [name for name in names if space.vmi(name)["status"]["nodeName"] == node]
        for name in there:
            space.wait_condition(name, "LiveMigratable", "True")
        space.rest.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}).ok()
        try:
            took_s = emptied(space, node)
        finally:
            space.rest.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}).ok()
        alive = sum(boot_id(space, name) == boot_ids[name] for name in there)
        made = len(moves.migrations(space))
    return {
        "benchmark": "drain", "guests": len(there), "alive": alive, "migrations": made, "took_s": round(took_s, 1),
        "bar": {"took_s": _DRAIN_BAR_S},
    }


def _drainable(node: str) -> build.Manifest:
    """On ``node`` if it takes them all. Workers give away half a CPU, and a guest asks for a tenth of one by itself."""
    here = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": here}]}
    return {"spec": {"evictionStrategy": "LiveMigrate", "affinity": {"nodeAffinity": preferred},
                     "domain": {"resources": {"requests": {"cpu": "10m"}}}}}


def boot_id(space: Space, name: str) -> str:
    space.wait_running(name, within_s=600)
    shell = space.shell(name, boots=10)
    try:
        return shell.succeed("cat /proc/sys/kernel/random/boot_id", within_s=60)
    finally:
        shell.close()


def emptied(space: Space, node: str) -> float:
    """Seconds until no launcher pod runs on ``node``."""
    asked: dict[str, float] = {}

    def evict() -> list[str]:
        """Those that are still there, each of which was asked to go."""
        pods = space.rest.get(core_path("pods", space.name)).ok()["items"]
        names = [pod["metadata"]["name"] for pod in pods
                 if pod["spec"].get("nodeName") == node and pod["status"]["phase"] not in moves.FINAL]
        for name in names:
            now = time.monotonic()
            if now - asked.get(name, -_EVICT_AGAIN_S) >= _EVICT_AGAIN_S:
                asked[name] = now
                space.rest.post(f"{core_path('pods', space.name, name)}/eviction", {
                    "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})
        return names

    began = time.monotonic()
    patience.eventually(
        f"{node} is empty", evict, lambda names: not names, within_s=10 * _DRAIN_BAR_S, every_s=0.2)
    return time.monotonic() - began


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--name", help="cluster")
    arguments.add_argument("--count", type=int, default=20)
    arguments.add_argument("--busy", action="store_true", help="20 MiB of memory are rewritten each second")
    arguments.add_argument("--writes", action="store_true", help="ours writes records to its shared disk all the time")
    arguments.add_argument("--disk", type=int, default=0, metavar="MIB", help="random data on a disk that goes along")
    arguments.add_argument("--drain", type=int, default=0, metavar="GUESTS", help="drain a node with so many guests")
    arguments.add_argument("--endure", type=int, default=0, metavar="MOVES", help="what so many moves lose and leave")
    chosen = arguments.parse_args()
    cluster = clusters.load(chosen.name)
    nodes = Nodes(cluster)
    if chosen.endure:
        found = endurance.endured(cluster, nodes, chosen.endure)
    else:
        found = drained(cluster, nodes, chosen.drain) if chosen.drain else compared(cluster, nodes, chosen)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
