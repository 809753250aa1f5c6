"""What machines boot: a distribution kernel, an initrd that finds the root disk, that disk with the node image on it.

All three are one folder of the cache, named by node image and recipe. Nothing is mounted on the host: the disk is
written in a container of the node image.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from cluster_up import docker
from cluster_up import exec as host
from cluster_up.exec import Log
from cluster_up.images import debian, scratch
from cluster_up.images.guests import cpio, kernel
from cluster_up.images.recipe import RECIPES, content, digest, made

_RECIPE = RECIPES / "machine"
_VERSION = "1"            # raise it when this module makes something else from the same recipe files
_SUITE = "trixie"
_KERNEL = ("linux-image-amd64",)
_THING = "machine"
_SIZE = "14G"
_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
BUILD_PREFIX = "virt-machine-build-"
# Whatever is no part of a machine: sound, screens, radio, and buses that QEMU has not. The disk is written sooner.
_UNUSED = (
    "sound", "drivers/gpu", "drivers/media", "drivers/staging", "drivers/infiniband", "drivers/iio", "drivers/isdn",
    "drivers/net/wireless", "drivers/bluetooth", "drivers/scsi", "drivers/hwmon", "drivers/mtd", "drivers/input",
    "net/wireless", "net/mac80211", "net/bluetooth",
)  # fmt: skip


def identity(node_image: str, baked: Sequence[str]) -> str:
    return digest(
        _VERSION, node_image, *baked, debian.identity(_SUITE, _KERNEL, "extract"), _SIZE, *_MODULES, *_UNUSED,
        *content(_RECIPE / "files", _RECIPE / "init", _RECIPE / "disk.sh"),
    )  # fmt: skip


def files(node_image: str, baked: Sequence[str], log: Log) -> Path:
    """The folder with ``vmlinux``, ``initrd`` and ``disk.img``, made now unless it is cached. A few minutes.

    ``baked``: images of the engine whose layers are on the disk already. A machine may be slow, and unpacks others.
    """

    def make(place: Path) -> None:
        packages = debian.root_tar("machine-kernel", _SUITE, _KERNEL, log=log, variant="extract")
        with scratch.folder("machine") as folder:
            unpacked, work = folder / "packages", folder / "work"
            unpacked.mkdir()
            work.mkdir()
            log("machine: kernel and initrd")
            wanted = ["./boot", "./usr/lib/modules"]
            argv: list[str | Path] = [
                "tar", "--extract", "--no-same-owner", "--file", packages, "--directory", unpacked, *wanted]
            host.run(argv, deadline_s=300)
            packed = next((unpacked / "boot").glob("vmlinuz-*"))
            (place / "vmlinux").write_bytes(kernel.unpacked(packed, folder))
            busybox = _busybox(node_image, folder)
            release = packed.name.partition("-")[2]
            (place / "initrd").write_bytes(_initrd(unpacked, release, busybox))
            log("machine: root disk")
            _root(unpacked / "usr/lib/modules" / release, work / "root")
            if baked:
                docker.run("save", "--output", work / "images.tar", *baked, deadline_s=600)
            _write(node_image, work)
            (work / "disk.img").rename(place / "disk.img")

    return made(_THING, identity(node_image, baked), make)


def _busybox(node_image: str, folder: Path) -> Path:
    """The node image's, which is static."""
    name = BUILD_PREFIX + folder.name + "-b"
    docker.run("create", "--name", name, "--entrypoint", "sh", node_image)
    try:
        docker.run("cp", f"{name}:/usr/bin/busybox", folder / "busybox")
    finally:
        docker.run("rm", "--force", name)
    return folder / "busybox"


def needed(modules: dict[str, Path]) -> list[tuple[str, bytes]]:
    """Name and content of what the initrd loads, in the order of loading. ``modules``: packed file by name; what is not
    in it is part of the kernel."""
    data: dict[str, bytes] = {}
    needs: dict[str, list[str]] = {}
    rest = [name for name in _MODULES if name in modules]
    while rest:
        name = rest.pop()
        if name in needs:
            continue
        data[name] = kernel.module(modules[name].read_bytes())
        needs[name] = [other for word in kernel.depends(data[name]) if (other := word.replace("-", "_")) in modules]
        rest += needs[name]
    order: list[str] = []
    for wanted in _MODULES:
        if wanted in needs:
            order += [name for name in kernel.order(wanted, needs) if name not in order]
    return [(name, data[name]) for name in order]


def _initrd(unpacked: Path, release: str, busybox: Path) -> bytes:
    folder = unpacked / "usr/lib/modules" / release
    packed = {path.name.partition(".")[0].replace("-", "_"): path for path in folder.rglob("*.ko*")}
    modules = needed(packed)
    applets = ("sh", "mount", "umount", "insmod", "sleep", "echo", "switch_root")
    return cpio.archive(
        [
            *(cpio.folder(name) for name in ("proc", "sys", "dev", "root")),
            cpio.character_device("dev/console", 5, 1),
            cpio.file("init", (_RECIPE / "init").read_bytes(), executable=True),
            cpio.file("bin/busybox", busybox.read_bytes(), executable=True),
            *(cpio.symlink(f"bin/{name}", "busybox") for name in applets),
            cpio.file("order", "".join(f"{name}\n" for name, _ in modules).encode()),
            *(cpio.file(f"modules/{name}.ko", data) for name, data in modules),
        ]
    )


def _root(modules: Path, root: Path) -> None:
    """What the disk has beside the node image: our files, and the modules that a machine may use."""
    target = root / "usr/lib/modules" / modules.name
    shutil.copytree(_RECIPE / "files", root)
    shutil.copytree(modules, target, symlinks=True)
    unused = [target / "kernel" / name for name in _UNUSED]
    host.run(["rm", "-rf", *unused, target / "build", target / "source"], deadline_s=60)
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    for unit in sorted((_RECIPE / "files/etc/systemd/system").glob("*.service")):
        (_made(wanted) / unit.name).symlink_to(f"/etc/systemd/system/{unit.name}")
    for script in (root / "usr/local/sbin").iterdir():
        script.chmod(0o755)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(node_image: str, work: Path) -> None:
    (work / "disk.sh").write_bytes((_RECIPE / "disk.sh").read_bytes())
    name = BUILD_PREFIX + re.sub(r"[^\w.-]", "-", work.parent.name)
    try:
        docker.run(
            "run", "--name", name, "--privileged", "--network", "none", "--env", f"SIZE={_SIZE}",
            "--volume", f"{work}:/work", "--volume", "/var/lib/containerd", "--entrypoint", "sh",
            node_image, "/work/disk.sh", deadline_s=900,
        )  # fmt: skip
    finally:
        docker.run("rm", "--force", "--volumes", name)
