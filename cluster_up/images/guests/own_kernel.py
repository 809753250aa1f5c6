"""tiny's own kernel, compiled from Debian's source: no modules, and nothing that tiny does not use.

Minutes of compiling: nothing that a first login needs waits for it. Compiler and source are packages in a root of their
own, which is gone afterwards; the machine needs neither.
"""

from pathlib import Path

from cluster_up import exec as host
from cluster_up.exec import Log
from cluster_up.images import debian, scratch
from cluster_up.images.guests import elf
from cluster_up.images.recipe import RECIPES, content, digest, is_made, made

_SUITE = "bookworm"
_PACKAGES = (
    "bc", "bison", "flex", "gcc", "libc6-dev", "libelf-dev", "linux-source-6.1", "lz4", "make", "xz-utils",
)  # fmt: skip
_THING = "guest-kernel"
_VERSION = "1"            # raise it when this module makes something else from the same recipe
_RECIPE = RECIPES / "guests" / "kernel"
_DEADLINE_S = 7200.0      # it gets what others leave of the machine


def identity() -> str:
    """Changes with the recipe, not with newer packages in the archive."""
    return digest(_VERSION, debian.identity(_SUITE, _PACKAGES, "minbase"), *content(_RECIPE))


def is_there() -> bool:
    """Whether it is in the cache."""
    return is_made(_THING, identity())


def files(log: Log) -> Path:
    """The folder with ``vmlinux`` (needs no unpacking), ``vmlinuz`` and ``config``, made now unless it is cached."""

    def make(place: Path) -> None:
        log("tiny: compiling its own kernel, ten minutes of two cores, at the lowest priority")
        with scratch.folder(_THING) as work, scratch.public_folder(_THING) as unpacked:
            argv = [
                "nice", "-n", "19", *debian.mmdebstrap(), "--variant=minbase", "--format=null",
                f"--include={','.join(_PACKAGES)}", *debian.LEAVE_OUT,
                f'--customize-hook=sh -eu {_RECIPE}/build.sh "$1" {_RECIPE} {work}', _SUITE,
            ]  # fmt: skip
            host.run(argv, deadline_s=_DEADLINE_S, on_line=log, env={"TMPDIR": str(unpacked)})
            for name in ("vmlinuz", "config"):
                (place / name).write_bytes((work / name).read_bytes())
            (place / "vmlinux").write_bytes(elf.loadable((work / "vmlinux").read_bytes()))

    return made(_THING, identity(), make)
