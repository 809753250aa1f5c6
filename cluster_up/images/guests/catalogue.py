"""Which guest images there are, and what the cluster's status says of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster_up import docker
from cluster_up.images import store
from cluster_up.images.guests import container, debian_guest, tiny

Log = Callable[[str], None]


@dataclass(frozen=True)
class Context:
    """``registry`` is the host and port that goes in front of every reference."""

    registry: str
    log: Log


@dataclass(frozen=True)
class Image:
    """``files`` maps a path in the image to the name of a file that ``make`` leaves in its folder."""

    files: Mapping[str, str]
    identity: Callable[[], str]
    make: Callable[[Log], Path]
    status: Mapping[str, Any] = field(default_factory=dict)


IMAGES: Mapping[str, Image] = {
    "tiny-kernel": Image(
        {"/boot/vmlinux": "vmlinux", "/boot/vmlinuz": "vmlinuz", "/boot/initrd": "initrd"},
        tiny.identity,
        tiny.files,
        {
            "form": "kernel",
            "kernel_path": "/boot/vmlinux",        # starts at once; the packed one is for firmware that insists on it
            "packed_kernel_path": "/boot/vmlinuz",
            "initrd_path": "/boot/initrd",
            "kernel_args": tiny.ARGUMENTS,
            "memory": "128Mi",
        },
    ),
    "tiny": Image(
        {"/disk/disk.img": "disk.img"}, tiny.identity, tiny.files,
        {"form": "disk", "format": "raw", "firmware": "bios", "memory": "128Mi"},
    ),
    "debian": Image(
        {"/disk/disk.qcow2": "disk.qcow2"}, debian_guest.identity, debian_guest.files,
        {"form": "disk", "format": "qcow2", "firmware": "bios", "memory": "512Mi"},
    ),
}  # fmt: skip

EARLY = ("tiny-kernel", "tiny")       # what a first login needs
LATER = ("debian",)


def reference(name: str, registry: str) -> str:
    """What a VM names as its image. Raises KeyError for an image that there is not."""
    return f"{registry}/{_in_registry(name)}"


def _in_registry(name: str) -> str:
    return f"guest-{name}:{IMAGES[name].identity()}"


def build(names: Sequence[str], context: Context) -> dict[str, dict[str, Any]]:
    """Make and push the images; returns the entry of each for the cluster's status, with its ``reference``."""
    return {name: _build(name, context) for name in names}


def _build(name: str, context: Context) -> dict[str, Any]:
    image = IMAGES[name]
    tag = f"virt-guest-{name}:{image.identity()}"

    def local() -> str:
        if not docker.has_image(tag):
            folder = image.make(context.log)
            context.log(f"{name}: container image")
            container.build(tag, {target: folder / source for target, source in image.files.items()}, context.log)
        return tag

    pushed_as = store.ensure(_in_registry(name), context.registry, local, context.log)
    return {"reference": pushed_as, **image.status}
