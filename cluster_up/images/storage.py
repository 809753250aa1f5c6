"""The two images of the storage provisioner: itself, and the shell that makes and removes its folders."""

import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from cluster_up import docker, paths
from cluster_up.images import debian, programs
from cluster_up.images.recipe import digest

Log = Callable[[str], None]

_SUITE = "bookworm"
_BUSYBOX = ("busybox-static",)


def provisioner(registry: str, log: Log) -> str:
    """Build and push the provisioner to ``registry`` (host:port); returns its reference."""
    reference = f"{registry}/local-path-provisioner:{programs.LOCAL_PATH.identity()}"
    if not docker.has_image(reference):
        program = programs.folder(programs.LOCAL_PATH, log) / "local-path-provisioner"
        with tempfile.TemporaryDirectory(dir=paths.cache_root(), prefix="storage-") as scratch:
            shutil.copy(program, scratch)
            _build(Path(scratch), 'COPY local-path-provisioner /p\nENTRYPOINT ["/p"]', reference, log)
    docker.push(reference)
    return reference


def helper(registry: str, log: Log) -> str:
    """Build and push an image with busybox's shell; returns its reference."""
    recipe = 'COPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]'
    reference = f"{registry}/busybox:{digest(debian.identity(_SUITE, _BUSYBOX, 'extract'), recipe)}"
    if not docker.has_image(reference):
        tar = debian.root_tar("busybox", _SUITE, _BUSYBOX, log=log, variant="extract")
        with tempfile.TemporaryDirectory(dir=paths.cache_root(), prefix="storage-") as scratch:
            with tarfile.open(tar) as root:
                member = next(one for one in root if one.name.endswith("bin/busybox") and one.isfile())
                program = root.extractfile(member)
                assert program is not None
                (Path(scratch) / "busybox").write_bytes(program.read())
            (Path(scratch) / "busybox").chmod(0o755)
            _build(Path(scratch), recipe, reference, log)
    docker.push(reference)
    return reference


def _build(context: Path, recipe: str, reference: str, log: Log) -> None:
    (context / "Dockerfile").write_text(f"FROM scratch\n{recipe}\n")
    docker.build(context, reference, log=log)
