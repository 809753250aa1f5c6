"""Whether /dev/kvm of this machine really runs guests. Decided by starting one for a second, never by the device node.

A node that exists and opens may belong to a nested hypervisor on which every guest hangs. The answer is cached until
the machine is booted again.
"""

import os
import shutil
import tempfile
from pathlib import Path

from cluster_up import exec as host
from cluster_up import paths

_DEADLINE_S = 5.0
_SECTOR = 512
# A boot sector: mov al, 'K'; out 0xe9, al; mov al, 0x10; out 0xf4, al; hlt. The second port is isa-debug-exit's, which
# ends QEMU with code (0x10 << 1) | 1.
_BOOT = bytes((0xB0, 0x4B, 0xE6, 0xE9, 0xB0, 0x10, 0xE6, 0xF4, 0xF4)).ljust(_SECTOR - 2, b"\0") + b"\x55\xaa"
_EXIT = 0x10 << 1 | 1


def _argv(program: str, disk: Path, accelerator: str) -> list[str | Path]:
    return [
        program, "-accel", accelerator, "-machine", "pc", "-m", "16", "-display", "none", "-nodefaults", "-no-reboot",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-drive", f"file={disk},format=raw,if=ide",
    ]  # fmt: skip


def boots(accelerator: str) -> bool:
    """Whether a guest of one boot sector comes to its end with QEMU's ``accelerator`` ("kvm", "tcg") in seconds."""
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / "disk"
        disk.write_bytes(_BOOT)
        try:
            return host.run(_argv(program, disk, accelerator), deadline_s=_DEADLINE_S, check=False).code == _EXIT
        except host.RunError:
            return False


def is_usable() -> bool:
    """The cached answer for this boot of the machine, measured now where there is none."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    cached = paths.cache_root() / f"kvm-{boot}"
    if cached.exists():
        return cached.read_text() == "usable"
    answer = boots("kvm")
    cached.parent.mkdir(parents=True, exist_ok=True)
    for old in cached.parent.glob("kvm-*"):
        old.unlink()
    cached.write_text("usable" if answer else "not usable")
    return answer
