"""What the node offers to pods through the kubelet, and what a container gets for it. Pure.

A :class:`Resource` is a thousand identical devices: nothing is shared out, the number only has to be larger than any
node's pods. What there is only once (:mod:`virt.handler.pci.offers`) is an :class:`Offer` too. Mount and device paths
are the seam of docs/architecture.md ("Node and pod paths", "Devices").
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

DEVICE_COUNT = 1000
DOMAIN = "devices.kubevirt.io"


@dataclass(frozen=True)
class Mount:
    """A folder of the node, read-only in the container."""

    host_path: Path
    container_path: Path


@dataclass(frozen=True)
class DeviceNode:
    """A character device that the container may read and write. The kubelet keeps the mode of ``host_path``."""

    host_path: Path
    container_path: Path


@dataclass(frozen=True)
class Device:
    """As the kubelet counts it. ``numa_node``: where it is nearest to, None where that does not matter."""

    id: str
    is_healthy: bool = True
    numa_node: int | None = None


@dataclass(frozen=True)
class Given:
    """What one container gets for the devices that the kubelet chose. ``env``: environment variables."""

    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


class DeviceGoneError(Exception):
    """The kubelet chose a device that is no longer there."""


class Offer(Protocol):
    """A resource as a device plugin serves it. Frozen: a change is another offer of the same name."""

    @property
    def full_name(self) -> str:
        """As pods ask for it: ``devices.kubevirt.io/tun``."""
        ...

    @property
    def listed(self) -> tuple[Device, ...]: ...

    def given(self, ids: Collection[str]) -> Given:
        """What one container gets with the devices ``ids``. Raises DeviceGoneError."""
        ...


@dataclass(frozen=True)
class Resource:
    """``name`` is the part after ``devices.kubevirt.io/``. Every container that asks gets all nodes and mounts."""

    name: str
    nodes: tuple[DeviceNode, ...] = ()
    mounts: tuple[Mount, ...] = ()

    @property
    def full_name(self) -> str:
        return f"{DOMAIN}/{self.name}"

    @property
    def device_ids(self) -> tuple[str, ...]:
        return tuple(f"{self.name}{index}" for index in range(DEVICE_COUNT))

    @property
    def listed(self) -> tuple[Device, ...]:
        return tuple(Device(name) for name in self.device_ids)

    def given(self, ids: Collection[str]) -> Given:
        return Given(self.nodes, self.mounts)


@dataclass(frozen=True)
class CharacterDevice:
    """A device node that the handler makes for itself, so that its mode does not depend on the distribution."""

    path: Path
    major: int
    minor: int


def misc_minor(table: str, name: str) -> int | None:
    """The number that the kernel chose for a device of major 10; ``table`` is the text of /proc/misc.

    >>> misc_minor("126 userfaultfd\\n232 kvm\\n", "kvm"), misc_minor("232 kvm\\n", "userfaultfd")
    (232, None)
    """
    for line in table.splitlines():
        number, _, found = line.strip().partition(" ")
        if found == name and number.isdecimal():
            return int(number)
    return None


def character_devices(
    node_dir: Path, *, kvm: bool, userfaultfd: int | None = None
) -> tuple[CharacterDevice, ...]:
    """Numbers are from the kernel's devices.txt: misc major 10, tun 200, kvm 232. ``userfaultfd``: its minor here."""
    minors = {"tun": 200, **({"kvm": 232} if kvm else {})}
    if userfaultfd is not None:
        minors["userfaultfd"] = userfaultfd
    return tuple(CharacterDevice(node_dir / "devices" / name, 10, minor) for name, minor in minors.items())


def resources(node_dir: Path, *, kvm: bool, userfaultfd: int | None = None) -> tuple[Resource, ...]:
    """All resources of this node; ``node_dir`` is /var/run/kubevirt *on the node*, since the kubelet reads the paths.

    ``kvm`` says that a guest boots on /dev/kvm, not that the device is there. ``userfaultfd``: its minor number, where
    the kernel has the device (since 6.1): with it a QEMU without privileges takes a guest in post-copy.
    """
    tun = Resource(
        "tun",
        nodes=(DeviceNode(node_dir / "devices" / "tun", Path("/dev/net/tun")),),
        mounts=(Mount(node_dir / "launcher", Path("/var/run/kubevirt-handler")),),
    )
    container_disk = Resource("container-disk", mounts=(Mount(node_dir / "bin", Path("/usr/lib/virt/bin")),))
    bare = [name for name, is_there in (("kvm", kvm), ("userfaultfd", userfaultfd is not None)) if is_there]
    return (tun, container_disk, *(
        Resource(name, nodes=(DeviceNode(node_dir / "devices" / name, Path("/dev") / name),)) for name in bare))
