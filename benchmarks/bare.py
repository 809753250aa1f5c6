"""Migrations without this project: two containers of the launcher's image on one machine, libvirt in each, and virsh.

Both have the same guest files and a common folder for sockets, so the two libvirts and QEMUs talk over unix sockets,
and nothing of ours is between them.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster_up import exec as host

NAME = "bench-bare"
_START = """
set -e
mkdir -p /tmp/c/libvirt /common/{me}
printf 'unix_sock_dir = "/common/{me}"\\nauth_unix_rw = "none"\\nhost_uuid = "{uuid}"\\n' > /tmp/c/libvirt/libvirtd.conf
printf 'stdio_handler = "file"\\nremember_owner = 0\\nnamespaces = []\\ncgroup_controllers = []\\n' \\
  > /tmp/c/libvirt/qemu.conf
printf 'shared_filesystems = ["/common"]\\n' >> /tmp/c/libvirt/qemu.conf
export XDG_RUNTIME_DIR=/tmp/r XDG_CONFIG_HOME=/tmp/c XDG_CACHE_HOME=/tmp/c HOME=/tmp/c
mkdir -p /tmp/r
exec /usr/lib/virt/launcher-init /usr/sbin/libvirtd --config /tmp/c/libvirt/libvirtd.conf
"""


@dataclass(frozen=True)
class Job:
    """Of one move: libvirt's own figures, and how long the command took. Of a disk it tells no whole amount: how much
    of it was copied is known to whoever filled it."""

    total_ms: float
    downtime_ms: float
    memory_bytes: int
    wall_s: float


def job(text: str, wall_s: float) -> Job:
    """From ``virsh domjobinfo --completed --rawstats``."""
    found = {name: int(value) for name, value in re.findall(r"^(\w+)\s*:?\s+(\d+)$", text, re.MULTILINE)}
    return Job(found["time_elapsed"], found["downtime"], found["memory_processed"], wall_s)


def domain(boot: str, *, cpu: str, disk: str) -> str:
    """A guest as a VMI's launcher defines it, without what only a pod has. ``boot``: elements of <os>; ``disk``: path
    of a raw image."""
    return f"""
<domain type='qemu'><name>vm</name><memory unit='MiB'>128</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type>{boot}</os>
  <features><acpi/><apic/><tcg><tb-cache unit='MiB'>64</tb-cache></tcg></features>
  <cpu mode='custom' match='exact'><model>{cpu}</model></cpu>
  <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file'><driver name='qemu' type='raw' cache='none'/><source file='{disk}'/>
      <target dev='vda' bus='virtio'/></disk>
    <interface type='user'><model type='virtio'/></interface><serial type='file'><source path='/tmp/serial'/></serial>
    <memballoon model='virtio'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng></devices>
</domain>"""


class Pair:
    """Containers a and b. The guest is where :attr:`here` says."""

    def __init__(self, files: Path, common: Path, image: str) -> None:
        self._files, self._common, self._image = files, common, image
        self.here, self.there = "a", "b"

    def begin(self, me: str, number: int) -> None:
        script = _START.format(me=me, uuid=f"00000000-0000-4000-8000-00000000000{number}")
        host.run(
            ["docker", "run", "--detach", "--rm", "--name", f"{NAME}-{me}", "--network", "none", "--user", "107:107",
             "-v", f"{self._files}:/guest:ro", "-v", f"{self._common}:/common", self._image, "bash", "-c", script],
            deadline_s=60)

    def inside(self, me: str, script: str, *, check: bool = True) -> str:
        return host.run(
            ["docker", "exec", f"{NAME}-{me}", "sh", "-c", f"HOME=/tmp/c {script}"], deadline_s=300, check=check).stdout

    def virsh(self, me: str, words: str, *, check: bool = True) -> str:
        return self.inside(me, f"virsh -c 'qemu+unix:///session?socket=/common/{me}/libvirt-sock' {words}", check=check)

    def start(self, xml: str) -> None:
        """In container a; its disk is there already."""
        (self._common / "vm.xml").write_text(xml)
        deadline = time.monotonic() + 60
        while "Id" not in self.virsh("a", "list", check=False) or "Id" not in self.virsh("b", "list", check=False):
            assert time.monotonic() < deadline, "libvirt does not answer"
        self.virsh("a", "create /common/vm.xml")

    def wait_serial(self, word: str, *, within_s: float = 120) -> None:
        deadline = time.monotonic() + within_s
        while word not in self.inside(self.here, "cat /tmp/serial", check=False):
            assert time.monotonic() < deadline, f"the bare guest never said {word!r}"

    def move(self, *, copies: bool) -> Job:
        """To the other container. ``copies``: its disk goes along."""
        more = f"--copy-storage-all --disks-uri unix:///common/{self.there}/disk.sock" if copies else ""
        to = f"'qemu+unix:///session?socket=/common/{self.there}/libvirt-sock'"
        began = time.monotonic()
        self.virsh(
            self.here, f"migrate --live --p2p {more} vm {to} "
            f"--migrateuri unix:///common/{self.there}/memory.sock")
        wall_s = time.monotonic() - began
        self.here, self.there = self.there, self.here
        return job(self.virsh(self.here, "domjobinfo vm --completed --rawstats"), wall_s)


@contextlib.contextmanager
def pair(files: Path, common: Path, image: str) -> Iterator[Pair]:
    """``common``: an empty folder for both, that uid 107 may write to."""
    made = Pair(files, common, image)
    common.chmod(0o777)
    for path in (files, *files.rglob("*")):
        path.chmod(0o755)               # uid 107 reads them
    try:
        for number, me in enumerate("ab"):
            made.begin(me, number)
        yield made
    finally:
        host.run(["docker", "rm", "--force", f"{NAME}-a", f"{NAME}-b"], deadline_s=60, check=False)
        # What uid 107 made there is not ours to delete.
        host.run(["docker", "run", "--rm", "--user", "0", "-v", f"{common}:/common", image, "sh", "-c",
                  "rm -rf /common/*"], deadline_s=60, check=False)
