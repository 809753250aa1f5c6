"""Memory of a launcher pod beyond its guest's RAM.

    python -m benchmarks.memory --name CLUSTER

The proportional set size (PSS) of every process in the pod's cgroups, sidecars and pause included, while the guest
holds nearly all of its memory in a file of its own; minus the PSS of the one mapping of QEMU that is the guest's RAM.
Pages that several pods share count in part, so no other guest should run on the node. Prints one JSON object; MiB.

``disk``: ``tiny`` from a container disk. ``kernel``: ``tiny`` as kernelBoot, once the handler has given kernel and
initrd back (virt.handler.launchers.bootfiles, within a minute); ``just_booted_mib`` is what it was before that.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence

from benchmarks import vmis
from functests.libs import build, launcher, patience
from functests.libs import cluster as clusters
from functests.libs.kube import Space
from functests.libs.nodes import Node, Nodes

_BAR_MIB = 110
_GUEST_MIB = 128
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)")
# All that the guest has but 12 MiB, so that nothing in it is killed for memory.
_FILL = (
    "m=$(awk '/MemAvailable/{print int($2/1024)-12}' /proc/meminfo); "
    "mkdir -p /fill && mount -t tmpfs -o size=${m}m t /fill; "
    "dd if=/dev/zero of=/fill/f bs=1M count=$m 2>/dev/null; echo filled"
)


def pss_mib(node: Node, pid: int) -> dict[str, float]:
    """By mapping: a file's path, "[heap]" ..., "" for anonymous memory, "ram" for a mapping as large as the guest."""
    total: Counter[str] = Counter()
    name = ""
    for line in node.try_run(f"cat /proc/{pid}/smaps")[1].splitlines():
        if found := _MAPPING.match(line):
            size = int(found[2], 16) - int(found[1], 16)
            name = "ram" if not found[3] and _GUEST_MIB << 20 <= size < _GUEST_MIB + 4 << 20 else found[3]
        elif line.startswith("Pss:"):
            total[name] += int(line.split()[1])
    return {name: kib / 1024 for name, kib in total.items()}


def measured(space: Space, nodes: Nodes, manifest: build.Manifest, *, files: Sequence[str] = ()) -> dict[str, object]:
    """``files``: of the guest's boot, which are waited for to go first."""
    vmi, shell = space.boot(manifest)
    assert "filled" in shell.succeed(_FILL)
    guest = vmis.on_node(space, nodes, vmi)
    now = memory(guest)
    if files:
        seen, just_booted_mib = launcher.of(space, vmi, nodes), now["beyond_guest_mib"]
        patience.eventually(
            "kernel and initrd are given back", lambda: sum(map(seen.mapped_kib, files)), lambda kib: kib == 0,
            within_s=60 + patience.boots(1))
        now = {**memory(guest), "just_booted_mib": just_booted_mib}
    space.delete_vmi(manifest["metadata"]["name"]).ok()
    space.wait_vmi_gone(manifest["metadata"]["name"], within_s=patience.boots(1))
    return now


def memory(guest: vmis.OnNode) -> dict[str, object]:
    ram, parts = 0.0, dict[str, float]()
    for process in guest.node.processes(guest.pod_uid):
        maps = pss_mib(guest.node, process.pid)
        ram += maps.get("ram", 0.0)
        part = _part(process.argv)
        parts[part] = parts.get(part, 0.0) + sum(maps.values()) - maps.get("ram", 0.0)
    return {
        "beyond_guest_mib": round(sum(parts.values()), 1), "guest_touched_mib": round(ram, 1),
        "parts_mib": {name: round(mib, 1) for name, mib in sorted(parts.items(), key=lambda part: -part[1])},
    }  # fmt: skip


def _part(argv: tuple[str, ...]) -> str:
    """A process's name; Python programs by module."""
    if len(argv) > 2 and argv[1] == "-m":
        return argv[2]
    return argv[0].rpartition("/")[2] if argv else "?"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--name", help="cluster")
    cluster = clusters.load(arguments.parse_args().name)
    nodes, image = Nodes(cluster), cluster.images["tiny-kernel"]
    with vmis.space(cluster, "bench-memory") as space:
        result = {
            "benchmark": "memory",
            "disk": measured(space, nodes, build.disk_boot_vmi(cluster, "disk", memory=f"{_GUEST_MIB}Mi")),
            "kernel": measured(
                space, nodes, build.kernel_boot_vmi(cluster, "kernel", memory=f"{_GUEST_MIB}Mi"),
                files=[str(image[name]) for name in ("kernel_path", "initrd_path")]),
            "bar": {f"{form}.beyond_guest_mib": _BAR_MIB for form in ("disk", "kernel")},
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
