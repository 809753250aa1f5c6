"""Which guest images there are, and what the cluster's status says of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cluster_up import docker
from cluster_up.exec import Log
from cluster_up.images import store
from cluster_up.images.guests import container, debian_guest, tiny


@dataclass(frozen=True)
class Context:
    """``registry`` is the host and port that goes in front of every reference."""

    registry: str
    log: Log


@dataclass(frozen=True)
class Recipe:
    """One way to make an image: the hash of all that decides its files, what makes them, and what its status adds."""

    identity: str
    make: Callable[[Log], Path]
    status: Mapping[str, Any]


@dataclass(frozen=True)
class Image:
    """``files`` maps a path in the image to the name of a file that ``make`` leaves in its folder.

    ``best`` is the recipe to end with. ``now`` is that one as well where what it needs is in the cache; else another
    that takes seconds.
    """

    files: Mapping[str, str]
    now: Callable[[], Recipe]
    best: Callable[[], Recipe]
    status: Mapping[str, Any]


def _kernel_boot(kernel: tiny.Kernel) -> Recipe:
    about = {"kernel": kernel.value, "kernel_args": tiny.arguments(kernel)}
    return Recipe(tiny.identity(kernel), partial(tiny.files, kernel), about)


def _disk_boot(kernel: tiny.Kernel) -> Recipe:
    return Recipe(tiny.identity(kernel), partial(tiny.files, kernel), {"kernel": kernel.value})


def _debian() -> Recipe:
    return Recipe(debian_guest.identity(), debian_guest.files, {})


IMAGES: Mapping[str, Image] = {
    "tiny-kernel": Image(
        {"/boot/vmlinux": "vmlinux", "/boot/vmlinuz": "vmlinuz", "/boot/initrd": "initrd"},
        lambda: _kernel_boot(tiny.kernel_now()), lambda: _kernel_boot(tiny.Kernel.OWN),
        {
            "form": "kernel",
            "kernel_path": "/boot/vmlinux",        # starts at once; the packed one is for firmware that insists on it
            "packed_kernel_path": "/boot/vmlinuz",
            "initrd_path": "/boot/initrd",
            "memory": "128Mi",
        },
    ),
    "tiny": Image(
        {"/disk/disk.img": "disk.img"},
        lambda: _disk_boot(tiny.kernel_now()), lambda: _disk_boot(tiny.Kernel.OWN),
        {"form": "disk", "format": "raw", "firmware": "bios", "memory": "128Mi"},
    ),
    "debian": Image(
        {"/disk/disk.qcow2": "disk.qcow2"}, _debian, _debian,
        {"form": "disk", "format": "qcow2", "firmware": "bios", "memory": "512Mi"},
    ),
}  # fmt: skip

EARLY = ("tiny-kernel", "tiny")       # what a first login needs
LATER = (("debian",), EARLY)          # the best of each, in this order; a group has one long work in common


def reference(name: str, registry: str, *, best: bool = False) -> str:
    """What a VM names as its image. Raises KeyError for an unknown image."""
    return f"{registry}/{_in_registry(name, _recipe(name, best=best))}"


def _recipe(name: str, *, best: bool) -> Recipe:
    return IMAGES[name].best() if best else IMAGES[name].now()


def _in_registry(name: str, recipe: Recipe) -> str:
    return f"guest-{name}:{recipe.identity}"


def build(names: Sequence[str], context: Context, *, best: bool = False) -> dict[str, dict[str, Any]]:
    """Make and push the images; returns the entry of each for the cluster's status, with its ``reference``."""
    return {name: _build(name, _recipe(name, best=best), context) for name in names}


def _build(name: str, recipe: Recipe, context: Context) -> dict[str, Any]:
    tag = f"virt-{_in_registry(name, recipe)}"

    def local() -> str:
        if not docker.has_image(tag):
            folder = recipe.make(context.log)
            context.log(f"{name}: container image")
            files = {target: folder / source for target, source in IMAGES[name].files.items()}
            container.build(tag, files)
        return tag

    pushed_as = store.ensure(_in_registry(name, recipe), context.registry, local, context.log)
    return {"reference": pushed_as, **IMAGES[name].status, **recipe.status}
