"""The guest of nearly every test: a kernel and one initrd with busybox, SSH server and guest agent.

Boot time is what each test pays, so: the kernel is not packed, and nothing waits. There are two kernels. Debian's cloud
kernel is there within seconds; its modules are loaded by what the buses show. tiny's own has none, and is compiled once
per machine. Measured numbers are in docs/guest-images.md. The files of the guest are in recipes/guests/tiny/root.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path

from cluster_up import exec as host
from cluster_up.images import debian, scratch
from cluster_up.images.guests import cpio, disk, kernel, own_kernel, tree
from cluster_up.images.recipe import RECIPES, content, digest, is_made, made

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
_ARGUMENTS = "console=ttyS0 no_timer_check quiet"
# Built-in drivers: dummy would give every guest a link that nobody asked for, and each boot would wait 0.2 s more to
# see that q35's SATA controller is empty.
_OWN_ARGUMENTS = "dummy.numdummies=0 libata.force=nodbdelay"
_MAKERS = tuple(Path(__file__).with_name(f"{name}.py") for name in ("cpio", "disk", "elf", "kernel", "tiny", "tree"))
_RECIPE = RECIPES / "guests"
_THING = "guest-tiny"
_LINKS = {
    "bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64",
    "usr/sbin/mkfs.ext4": "mke2fs", "usr/sbin/fsck.ext4": "e2fsck", "etc/mtab": "/proc/mounts",
    "usr/sbin/modprobe": "../bin/busybox",      # where the kernel looks for it, to mount a file system of a module
}  # fmt: skip
_TABLES = ("coldplug", "modules.alias", "modules.builtin", "modules.dep", "modules.symbols")
_UNSORTED = ("modules.alias", "modules.dep", "modules.symbols")
_FOLDERS = ("dev", "etc/dropbear", "home/user", "mnt", "proc", "root/.ssh", "run", "sys", "tmp", "var/log")


class Kernel(Enum):
    DISTRIBUTION = "distribution"
    OWN = "own"


def kernel_now() -> Kernel:
    """The own kernel where nothing has to be compiled for it any more."""
    there = own_kernel.is_there() or is_made(_THING, identity(Kernel.OWN))
    return Kernel.OWN if there else Kernel.DISTRIBUTION


def arguments(kind: Kernel) -> str:
    """The kernel's command line when it is booted without a disk."""
    return f"{_ARGUMENTS} {_OWN_ARGUMENTS}" if kind is Kernel.OWN else _ARGUMENTS


def identity(kind: Kernel) -> str:
    """Changes with the recipe, not with newer packages in the archive."""
    own = [own_kernel.identity()] if kind is Kernel.OWN else []
    return digest(
        debian.identity(SUITE, PACKAGES, "extract"), *content(*_MAKERS, _RECIPE / "tiny", _RECIPE / "witness.c"), *own,
    )  # fmt: skip


def files(kind: Kernel, log: Log) -> Path:
    """The folder with ``vmlinux``, ``vmlinuz``, ``initrd`` and ``disk.img``, made now unless it is cached.

    The own kernel is compiled first if it has to be.
    """

    def make(place: Path) -> None:
        compiled = own_kernel.files(log) if kind is Kernel.OWN else None
        packages = debian.root_tar("guest-tiny", SUITE, PACKAGES, log=log, variant="extract")
        with scratch.folder("guest-tiny") as folder:
            root, work = folder / "root", folder / "work"
            root.mkdir()
            work.mkdir()
            log("tiny: kernel and initrd")
            host.run(["tar", "--extract", "--no-same-owner", "--file", packages, "--directory", root], deadline_s=120)
            if compiled is None:
                modules = _distribution_kernel(root, work, place)
            else:
                modules = []
                for name in ("vmlinux", "vmlinuz"):
                    (place / name).write_bytes((compiled / name).read_bytes())
            (place / "initrd").write_bytes(_initrd(root, work, modules))
        log("tiny: disk")
        on_disk = f"console=tty0 {arguments(kind)}"
        disk.make_bios(place / "disk.img", place / "vmlinuz", place / "initrd", on_disk)

    return made(_THING, identity(kind), make)


def _distribution_kernel(root: Path, work: Path, place: Path) -> list[cpio.Entry]:
    """Puts the kernel that is in ``root`` into ``place``, packed and unpacked; returns its modules."""
    packed = next((root / "boot").glob("vmlinuz-*"))
    (place / "vmlinuz").write_bytes(packed.read_bytes())
    (place / "vmlinux").write_bytes(kernel.unpacked(packed, work))
    return _modules(root, work, packed.name.partition("-")[2])


def _initrd(root: Path, work: Path, modules: Sequence[cpio.Entry]) -> bytes:
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
            *links, *own, *programs, *modules,
        ]
    )  # fmt: skip


def _compiled(source: Path, work: Path) -> bytes:
    """A static program: nothing is linked when it starts."""
    target = work / source.stem
    host.run(["gcc", "-static", "-O2", "-s", "-Wall", "-Wextra", "-o", target, source], deadline_s=60)
    return target.read_bytes()


def sorted_lines(table: str) -> str:
    """depmod writes a table in the order of the folder, which is another one on the next machine's file system.

    >>> sorted_lines("b.ko: a.ko\\na.ko:\\n")
    'a.ko:\\nb.ko: a.ko\\n'
    """
    return "".join(sorted(table.splitlines(keepends=True)))


def _own_files(root: Path) -> list[cpio.Entry]:
    return [
        cpio.file(str(path.relative_to(root)), path.read_bytes(), executable=bool(path.stat().st_mode & 0o100))
        for path in sorted(root.rglob("*"))
        if path.is_file()
    ]


def _modules(root: Path, work: Path, release: str) -> list[cpio.Entry]:
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
    host.run([tree.program(root, "busybox"), "depmod", "-b", work / "modules", release], deadline_s=60)
    for name in _UNSORTED:
        (target / name).write_text(sorted_lines((target / name).read_text()))
    return [
        cpio.symlink("usr/lib/modules/tiny", release),
        *(
            cpio.file(f"usr/lib/modules/{release}/{path.name}", path.read_bytes())
            for path in sorted(target.iterdir())
            if path.suffix == ".ko" or path.name in _TABLES
        ),
    ]
