"""Whether /dev/kvm of this machine really runs guests. Decided by running one, never by the device node.

A node that exists and opens may belong to a nested hypervisor on which every kernel hangs. The answer is cached until
the machine is booted again.
"""

import os
import shutil
from pathlib import Path

from cluster_up import exec as host
from cluster_up import paths
from cluster_up.images.recipe import RECIPES, digest, made

_DEADLINE_S = 5.0
_SOURCE = RECIPES / "kvm" / "probe.S"
_LINK = "-Wl,-Ttext=0x7c00,--oformat=binary,--build-id=none"
_EXIT = 0x10 << 1 | 1


def _probe() -> Path:
    """The guest: one boot sector, assembled once."""

    def assemble(place: Path) -> None:
        host.run(["gcc", "-nostdlib", "-static", "-m64", _LINK, "-o", place / "disk", _SOURCE], deadline_s=30)

    return made("kvm-probe", digest(_LINK, _SOURCE.read_bytes()), assemble) / "disk"


def runs_guests(accelerator: str) -> bool:
    """Whether the probe comes to its end within 5 s under QEMU's ``accelerator`` ("kvm", "tcg")."""
    program = shutil.which("qemu-system-x86_64")
    if program is None or shutil.which("gcc") is None:
        return False
    argv: list[str | Path] = [
        program, "-accel", accelerator, "-machine", "pc", "-m", "16", "-display", "none", "-nodefaults", "-no-reboot",
        "-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-drive", f"file={_probe()},format=raw,if=ide,snapshot=on",
    ]  # fmt: skip
    try:
        return host.run(argv, deadline_s=_DEADLINE_S, check=False).code == _EXIT
    except host.RunError:
        return False


def is_usable() -> bool:
    """The cached answer for this boot of the machine, measured now where there is none."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    answers = paths.cache_root() / "kvm-answer"
    try:
        known, _, answer = answers.read_text().partition(" ")
    except FileNotFoundError:
        known = answer = ""
    if known == boot:
        return answer == "usable"
    usable = runs_guests("kvm")
    answers.parent.mkdir(parents=True, exist_ok=True)
    answers.write_text(f"{boot} {'usable' if usable else 'not usable'}")
    return usable
