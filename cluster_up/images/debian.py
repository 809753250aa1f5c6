"""Root file systems from Debian's packages, and images made of them. Nothing is installed on the host."""

import os
from collections.abc import Sequence
from pathlib import Path

from cluster_up import docker
from cluster_up import exec as host
from cluster_up.exec import Log
from cluster_up.images import scratch
from cluster_up.images.recipe import digest, made

_UNREAD = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")
LEAVE_OUT = tuple(f"--dpkgopt=path-exclude={pattern}" for pattern in _UNREAD)
_VERSION = "1"                        # raise it when the arguments below change what comes out


def mmdebstrap() -> list[str]:
    """The program, in front of its arguments. As root it gets mounts of its own: they end with it, however it ends.

    Otherwise a killed one leaves /proc, /sys and two more mounted in the root that it made.
    """
    return [*(["unshare", "--mount"] if os.geteuid() == 0 else []), "mmdebstrap"]


def identity(suite: str, packages: Sequence[str], variant: str) -> str:
    """The same packages give the same name; newer versions of them in the archive do not change it."""
    return digest(_VERSION, suite, variant, *sorted(packages), *_UNREAD)


def root_tar(
    thing: str, suite: str, packages: Sequence[str], *, log: Log, variant: str = "minbase"
) -> Path:
    """A tar of the packages and all they depend on, unpacked from the archive or the cache. About a minute cold."""

    def fetch(place: Path) -> None:
        log(f"Debian {suite} for {thing}: {len(packages)} packages and what they need")
        argv = [*mmdebstrap(), f"--variant={variant}", f"--include={','.join(packages)}", *LEAVE_OUT, suite]
        with scratch.public_folder("root") as unpacked:         # what a kill leaves of it is swept away
            host.run([*argv, place / "root.tar"], deadline_s=1800, on_line=log, env={"TMPDIR": str(unpacked)})

    return made(f"root-{thing}", identity(suite, packages, variant), fetch) / "root.tar"


def base_image(
    thing: str, suite: str, packages: Sequence[str], *, log: Log, variant: str = "minbase"
) -> str:
    """Reference of an engine image with the packages; it stays on the engine until somebody prunes it."""
    tag = f"virt-root-{thing}:{identity(suite, packages, variant)}"
    if not docker.has_image(tag):
        docker.import_root(root_tar(thing, suite, packages, log=log, variant=variant), tag)
    return tag
