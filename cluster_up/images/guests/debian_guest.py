"""The guest for what tiny cannot prove: systemd, cloud-init, guest agent and OpenSSH on a disk with BIOS boot.

It is installed into a folder and written as a file system, without a mount. Root has no password on the serial console;
over SSH only keys count, those that cloud-init brings. Minutes of work: nothing that a first login needs waits for it.
"""

from pathlib import Path

from cluster_up import exec as host
from cluster_up.exec import Log
from cluster_up.images import debian, scratch
from cluster_up.images.guests import disk
from cluster_up.images.recipe import EPOCH, RECIPES, content, digest, made

_SUITE = "trixie"
_PACKAGES = (
    "ca-certificates", "cloud-init", "dbus", "e2fsprogs", "initramfs-tools", "iproute2", "iputils-ping",
    "linux-image-cloud-amd64", "openssh-server", "qemu-guest-agent", "sudo", "systemd-resolved", "systemd-sysv", "udev",
    "zstd",
)  # fmt: skip
_ARGUMENTS = "root=LABEL=debian ro console=tty0 console=ttyS0 no_timer_check quiet"
_ROOT_MIB = 2048
_BOOT_MIB = 64
_VERSION = "2"            # raise it when this module makes something else from the same recipe
_RECIPE = RECIPES / "guests" / "debian"
_DEADLINE_S = 3600.0


def identity() -> str:
    return digest(
        _VERSION, debian.identity(_SUITE, _PACKAGES, "minbase"), _ARGUMENTS, str(_ROOT_MIB), str(_BOOT_MIB), str(EPOCH),
        *content(_RECIPE, RECIPES / "guests" / "mbr.S"),
    )  # fmt: skip


def files(log: Log) -> Path:
    """The folder with ``disk.qcow2``, made now unless it is cached. Two to five minutes, at low priority."""

    def make(place: Path) -> None:
        with scratch.folder("guest-debian") as work:
            image = work / "disk.img"
            layout = disk.Layout(_BOOT_MIB, _ROOT_MIB)
            disk.make_partitioned(image, layout)
            log(f"debian: installing {len(_PACKAGES)} packages and what they need")
            _install(image, layout, work, log)
            log("debian: boot partition")
            disk.make_bootable(image, layout, work / "vmlinuz", work / "initrd", _ARGUMENTS)
            log("debian: compressing")
            argv: list[str | Path] = [
                "nice", "qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd",
                image, place / "disk.qcow2",
            ]  # fmt: skip
            host.run(argv, deadline_s=_DEADLINE_S)

    return made("guest-debian", identity(), make)


def _install(image: Path, layout: disk.Layout, work: Path, log: Log) -> None:
    # The hook gets the root folder as $1, and its owners as the guest will see them, also when root is only pretended.
    finish = (
        f'sh -eu {_RECIPE}/finish.sh "$1" {_RECIPE}/files {image} {layout.root_offset} {layout.root_mib}M {work}'
    )
    argv = [
        "nice", *debian.mmdebstrap(), "--variant=minbase", "--format=null", f"--include={','.join(_PACKAGES)}",
        *debian.LEAVE_OUT, f"--customize-hook={finish}", _SUITE,
    ]  # fmt: skip
    with scratch.public_folder("guest-debian") as unpacked:
        # Packages sort by the locale and write local times while they are set up.
        environment = {"TMPDIR": str(unpacked), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        host.run(argv, deadline_s=_DEADLINE_S, on_line=log, env=environment)
