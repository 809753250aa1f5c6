"""A launcher pod seen from its node: QEMU's command line and files, libvirt's own words, the memory it takes."""

import re
import shlex
from dataclasses import dataclass

from functests.libs.kube import Object, Space
from functests.libs.nodes import Node, Nodes, Process

# Below /proc/PID/root: /var/run is an absolute link there and would lead into the node's own /run.
EPHEMERAL = "/run/kubevirt-ephemeral-disks"
PRIVATE = "/run/kubevirt-private"
VIRSH = "virsh -c 'qemu+unix:///session?socket=/var/run/libvirt/virtqemud-sock'"
# The container's root and user: virsh is there, and libvirt serves its own user only.
INSIDE = "HOME=/tmp nsenter -t {} -m -S 107 -G 107 -- sh -c "
O_DIRECT = 0o40000


@dataclass(frozen=True)
class Launcher:
    node: Node
    pod_uid: str

    @property
    def qemu(self) -> Process:
        return self.node.qemu(self.pod_uid)

    def inside(self, script: str) -> str:
        """Output of a script run where QEMU runs, as its user."""
        return self.node.run(INSIDE.format(self.qemu.pid) + shlex.quote(script))

    def virsh(self, command: str) -> str:
        """``command`` with the domain as its argument."""
        return self.inside(f'{VIRSH} {command} --domain "$({VIRSH} list --all --name | head -n1)"')

    def once_by_halves(self, then: str, *, within_s: float) -> None:
        """Run ``then`` on the node at the moment when the guest runs elsewhere and its memory is still here."""
        asked = INSIDE.format(self.qemu.pid) + shlex.quote(
            f'{VIRSH} domstate --reason --domain "$({VIRSH} list --all --name | head -n1)"')
        waiting = f"until {asked} | grep -q post-copy; do echo; done"       # who says nothing for long is given up
        self.node.run(f"timeout {within_s:.0f} sh -c {shlex.quote(waiting)} && {then}")

    def memory_statistics(self) -> dict[str, int]:
        """What the guest's balloon last said; ``last_update`` in seconds since 1970."""
        pairs = (line.split() for line in self.virsh("dommemstat").splitlines() if line.strip())
        return {name: int(value) for name, value in pairs}

    def proportional_kib(self) -> dict[str, int]:
        """Memory of each process of the pod (PSS: shared pages count in parts), by pid and command."""
        found = {}
        for process in self.node.processes(self.pod_uid):
            code, text = self.node.try_run(f"cat /proc/{process.pid}/smaps_rollup")
            total = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
            if code == 0 and total:
                name = " ".join(process.argv)[:80] or "?"
                found[f"{process.pid} {name}"] = int(total[1])
        return found

    def guest_ram_kib(self, size_kib: int) -> int:
        """How much of the guest's memory QEMU has in use: that of its one mapping of just that size."""
        text = self.node.run(f"cat /proc/{self.qemu.pid}/smaps")
        wanted = rf"^Size: +{size_kib} kB\n(?:(?!Size:).*\n)*?Pss: +(\d+) kB"
        found = re.findall(wanted, text, re.MULTILINE)
        assert len(found) == 1, f"{len(found)} mappings of {size_kib} KiB in QEMU, one was expected"
        return int(found[0])

    def mapped_kib(self, path: str) -> int:
        """How much of a file QEMU has in memory through its mappings; ``path`` as its container names it."""
        text = self.node.run(f"cat /proc/{self.qemu.pid}/smaps")
        wanted = rf"^[0-9a-f]+-[0-9a-f]+ .*{re.escape(path)}\n(?:(?![0-9a-f]+-).*\n)*?Rss: +(\d+) kB"
        found = re.findall(wanted, text, re.MULTILINE)
        assert found, f"QEMU has not mapped {path}"
        return sum(map(int, found))

    def direct_files(self) -> dict[str, bool]:
        """The files that QEMU has open, by path, and whether past the page cache."""
        script = (
            f"cd /proc/{self.qemu.pid}/fd; for f in *; do "
            "echo \"$(grep '^flags:' ../fdinfo/$f | cut -f2) $(readlink $f)\"; done"
        )
        found: dict[str, bool] = {}
        for line in self.node.run(script).splitlines():
            flags, _, path = line.partition(" ")
            if path.startswith("/") and flags:
                found[path] = found.get(path, False) or bool(int(flags, 8) & O_DIRECT)
        return found

    def path(self, inside: str) -> str:
        """A path of QEMU's file system as the node sees it."""
        return f"/proc/{self.qemu.pid}/root{inside}"


def of(space: Space, vmi: Object, nodes: Nodes) -> Launcher:
    """The launcher of a VMI that has a node."""
    return Launcher(nodes[vmi["status"]["nodeName"]], space.pod(vmi)["metadata"]["uid"])
