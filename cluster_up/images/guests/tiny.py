"""The guest of nearly every test: Debian's cloud kernel and one initrd with busybox, SSH server and guest agent.

Boot time is what each test pays, so: the kernel is not packed, modules are loaded by what the buses show, and nothing
waits. Measured numbers are in docs/guest-images.md. The files of the guest itself are in recipes/guests/tiny/root.
"""

from collections.abc import Callable
from pathlib import Path

from cluster_up import exec as host
from cluster_up.images import debian, scratch
from cluster_up.images.guests import cpio, disk, kernel, tree
from cluster_up.images.recipe import RECIPES, content, digest, made

Log = Callable[[str], None]

SUITE = "trixie"          # bookworm's cloud kernel has no AHCI, and a disk without a bus is a SATA disk
PACKAGES = (
    "busybox-static", "dropbear-bin", "e2fsprogs", "iproute2", "linux-image-cloud-amd64", "qemu-guest-agent",
    "util-linux",
)  # fmt: skip
PROGRAMS = (
    "blkid", "dropbear", "dropbearkey", "dumpe2fs", "e2fsck", "ip", "mke2fs", "qemu-ga", "resize2fs",
)  # fmt: skip
# On a loaded machine the kernel's check of its timer fails under emulation, and it may give up booting.
ARGUMENTS = "console=ttyS0 no_timer_check quiet"
DISK_ARGUMENTS = f"console=tty0 {ARGUMENTS}"
_MAKERS = tuple(Path(__file__).with_name(f"{name}.py") for name in ("cpio", "disk", "elf", "kernel", "tiny", "tree"))
_RECIPE = RECIPES / "guests"
_LINKS = {
    "bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64",
    "usr/sbin/mkfs.ext4": "mke2fs", "usr/sbin/fsck.ext4": "e2fsck", "etc/mtab": "/proc/mounts",
    "usr/sbin/modprobe": "../bin/busybox",      # where the kernel looks for it, to mount a file system of a module
}  # fmt: skip
_TABLES = ("coldplug", "modules.alias", "modules.builtin", "modules.dep", "modules.symbols")
_FOLDERS = ("dev", "etc/dropbear", "home/user", "mnt", "proc", "root/.ssh", "run", "sys", "tmp", "var/log")


def identity() -> str:
    """Changes with the recipe, not with newer packages in the archive."""
    return digest(
        debian.identity(SUITE, PACKAGES, "extract"), *content(*_MAKERS, _RECIPE / "tiny", _RECIPE / "witness.c"),
    )  # fmt: skip


def files(log: Log) -> Path:
    """The folder with ``vmlinux``, ``vmlinuz``, ``initrd`` and ``disk.img``, made now unless it is cached."""

    def make(place: Path) -> None:
        packages = debian.root_tar("guest-tiny", SUITE, PACKAGES, log=log, variant="extract")
        with scratch.folder("guest-tiny") as folder:
            root, work = folder / "root", folder / "work"
            root.mkdir()
            work.mkdir()
            log("tiny: kernel and initrd")
            host.run(["tar", "--extract", "--no-same-owner", "--file", packages, "--directory", root], deadline_s=120)
            packed = next((root / "boot").glob("vmlinuz-*"))
            (place / "vmlinuz").write_bytes(packed.read_bytes())
            (place / "vmlinux").write_bytes(kernel.unpacked(packed, work))
            (place / "initrd").write_bytes(_initrd(root, work, packed.name.partition("-")[2]))
        log("tiny: disk")
        disk.make_bios(place / "disk.img", place / "vmlinuz", place / "initrd", DISK_ARGUMENTS)

    return made("guest-tiny", identity(), make)


def _initrd(root: Path, work: Path, release: str) -> bytes:
    busybox = tree.program(root, "busybox")
    applets = host.run([busybox, "--list"], deadline_s=10).stdout.split()
    own = _own_files(_RECIPE / "tiny" / "root")
    programs = tree.entries(root, PROGRAMS)
    links = [cpio.symlink(name, target) for name, target in _LINKS.items()]
    taken = {Path(entry.name).name for entry in (*own, *programs, *links) if entry.name.startswith("usr/sbin/")}
    return cpio.archive(
        [
            *(cpio.folder(name) for name in _FOLDERS),
            cpio.character_device("dev/console", 5, 1),
            cpio.file("usr/bin/busybox", busybox.read_bytes(), executable=True),
            cpio.file("init", _compiled(_RECIPE / "tiny" / "start.c", work), executable=True),
            cpio.file("usr/sbin/witness", _compiled(_RECIPE / "witness.c", work), executable=True),
            *(cpio.symlink(f"usr/bin/{name}", "busybox") for name in applets if name not in taken | {"busybox"}),
            *links, *own, *programs, *_modules(root, work, busybox, release),
        ]
    )  # fmt: skip


def _compiled(source: Path, work: Path) -> bytes:
    """A static program: nothing is linked when it starts."""
    target = work / source.stem
    host.run(["gcc", "-static", "-O2", "-s", "-Wall", "-Wextra", "-o", target, source], deadline_s=60)
    return target.read_bytes()


def _own_files(root: Path) -> list[cpio.Entry]:
    return [
        cpio.file(str(path.relative_to(root)), path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))
        for path in sorted(root.rglob("*"))
        if path.is_file()
    ]


def _modules(root: Path, work: Path, busybox: Path, release: str) -> list[cpio.Entry]:
    """Modules in one folder, and the tables by which modprobe finds them by name or by alias."""
    packed = {path.name.partition(".")[0].replace("-", "_"): path for path in root.rglob(f"{release}/**/*.ko*")}
    data: dict[str, bytes] = {}
    needs: dict[str, list[str]] = {}
    for name, path in packed.items():
        data[name] = kernel.module(path.read_bytes())
        needs[name] = [other.replace("-", "_") for other in kernel.depends(data[name])]
    wanted = kernel.closure([name.replace("-", "_") for name in kernel.MODULES], needs)
    target = work / "modules" / "lib" / "modules" / release
    target.mkdir(parents=True)
    for name in wanted:
        (target / f"{name}.ko").write_bytes(data[name])
        # Type information that only BPF reads; the kernel would check it at each load.
        host.run(["objcopy", "--remove-section", ".BTF*", "--wildcard", target / f"{name}.ko"], deadline_s=30)
    (target / "coldplug").write_text(kernel.coldplug({name: kernel.aliases(data[name]) for name in wanted}, needs))
    for table in (root / "usr/lib/modules" / release).glob("modules.builtin*"):
        (target / table.name).write_bytes(table.read_bytes())
    host.run([busybox, "depmod", "-b", work / "modules", release], deadline_s=60)
    return [
        cpio.symlink("usr/lib/modules/tiny", release),
        *(
            cpio.file(f"usr/lib/modules/{release}/{path.name}", path.read_bytes())
            for path in sorted(target.iterdir())
            if path.suffix == ".ko" or path.name in _TABLES
        ),
    ]
