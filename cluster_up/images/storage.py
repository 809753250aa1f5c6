"""The two images of the storage provisioner: itself, and the shell that makes and removes its folders."""

import shutil
import tarfile
from pathlib import Path

from cluster_up import docker
from cluster_up.exec import Log
from cluster_up.images import debian, programs, scratch
from cluster_up.images.recipe import digest

_SUITE = "bookworm"
_BUSYBOX = ("busybox-static",)
_PROVISIONER_RECIPE = 'COPY local-path-provisioner /p\nENTRYPOINT ["/p"]'
_HELPER_RECIPE = 'COPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "-s", "/bin"]'


def provisioner_name() -> str:
    return f"virt-local-path:{digest(programs.LOCAL_PATH.identity(), _PROVISIONER_RECIPE)}"


def helper_name() -> str:
    return f"virt-busybox:{digest(debian.identity(_SUITE, _BUSYBOX, 'extract'), _HELPER_RECIPE)}"


def provisioner(log: Log) -> str:
    """The provisioner as an image of the engine, ``name:hash``; built now unless it is there."""
    tag = provisioner_name()
    if not docker.has_image(tag):
        program = programs.folder(programs.LOCAL_PATH, log) / "local-path-provisioner"
        with scratch.folder("storage") as context:
            shutil.copy(program, context)
            _build(context, _PROVISIONER_RECIPE, tag, log)
    return tag


def helper(log: Log) -> str:
    """An image with busybox's shell, as above."""
    tag = helper_name()
    if not docker.has_image(tag):
        tar = debian.root_tar("busybox", _SUITE, _BUSYBOX, log=log, variant="extract")
        with scratch.folder("storage") as context:
            target = context / "busybox"
            with tarfile.open(tar) as root:
                member = next(one for one in root if one.name.endswith("bin/busybox") and one.isfile())
                program = root.extractfile(member)
                assert program is not None
                target.write_bytes(program.read())
            target.chmod(0o755)
            _build(context, _HELPER_RECIPE, tag, log)
    return tag


def _build(context: Path, recipe: str, tag: str, log: Log) -> None:
    (context / "Dockerfile").write_text(f"FROM scratch\n{recipe}\n")
    docker.build(context, tag, log=log)
