"""Mediated devices -> the resources that pods may ask for. Pure but for the look itself.

The kubelet's name of a device is its UUID. What a container gets is /dev/vfio/<group> and, in an environment variable,
the UUIDs.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from virt.api import names, v1
from virt.handler.devices.permitted import Holders, Seen
from virt.handler.devices.resources import CharacterDevice, Device, DeviceGoneError, DeviceNode, Given, Offer
from virt.handler.mdev import sysfs
from virt.handler.mdev.sysfs import VFIO_API, MediatedDevice
from virt.handler.pci.model import DeviceNumber
from virt.handler.pci.sysfs import NODE_SYSFS

_VFIO = Path("/dev/vfio")
_CONTROL = "vfio"


@dataclass(frozen=True)
class Part:
    """A mediated device that is offered. ``trouble``: why a guest cannot have it now, "" when it can."""

    uuid: str
    group: str = ""
    numa_node: int | None = None
    trouble: str = ""


@dataclass(frozen=True)
class MediatedOffer:
    """:class:`virt.handler.devices.resources.Offer`. ``variable``: of the environment."""

    full_name: str
    variable: str
    parts: tuple[Part, ...]
    node_dir: Path

    @property
    def listed(self) -> tuple[Device, ...]:
        return tuple(Device(each.uuid, not each.trouble, each.numa_node) for each in self.parts)

    def given(self, ids: Collection[str]) -> Given:
        known = {each.uuid: each for each in self.parts}
        for uuid in ids:
            trouble = known[uuid].trouble if uuid in known else "it is gone"
            if trouble:
                raise DeviceGoneError(f"mediated device {uuid} of {self.full_name} cannot be given to a pod: {trouble}")
        groups = dict.fromkeys((_CONTROL, *(known[uuid].group for uuid in sorted(ids))))
        return Given(
            nodes=tuple(DeviceNode(_node(self.node_dir, name), _VFIO / name) for name in groups),
            env={self.variable: ",".join(sorted(ids))},
        )


@dataclass(frozen=True)
class MediatedDevices:
    """:class:`virt.handler.devices.permitted.Kind`. ``root``: where sysfs is mounted."""

    node_dir: Path
    root: Path = NODE_SYSFS

    def is_wanted(self, permitted: v1.PermittedHostDevices) -> bool:
        return any(not each.external_resource_provider for each in permitted.mediated_devices)

    def look(self, permitted: v1.PermittedHostDevices, before: Mapping[str, Offer], holders: Holders) -> Seen:
        known = {name: offer for name, offer in before.items() if isinstance(offer, MediatedOffer)}
        found = sysfs.devices(self.root)
        made = offers(permitted, found, known, holders, self.node_dir)
        healthy = {part.group for offer in made for part in offer.parts if not part.trouble}
        numbers = {device.group: device.number for device in found if device.group in healthy}
        if healthy:
            numbers[_CONTROL] = sysfs.control_number(self.root)
        nodes = tuple(
            _made(self.node_dir, name, number) for name, number in sorted(numbers.items()) if number is not None)
        troubles = tuple(
            f"mediated device {part.uuid} of {offer.full_name} is not given to guests: {part.trouble}"
            for offer in made for part in offer.parts if part.trouble)
        return Seen(made, nodes, troubles)


def _node(node_dir: Path, name: str) -> Path:
    """Not in the folder of PCI functions, which has a keeper of its own."""
    return node_dir / "devices" / "mdev" / name


def _made(node_dir: Path, name: str, number: DeviceNumber) -> CharacterDevice:
    return CharacterDevice(_node(node_dir, name), number.major, number.minor)


def offers(
    asked: v1.PermittedHostDevices, found: Sequence[MediatedDevice], before: Mapping[str, MediatedOffer],
    holders: Holders, node_dir: Path,
) -> tuple[MediatedOffer, ...]:
    """The resources of ``mediatedDevices`` that this node has something for, or whose devices a pod has. What one
    resource has no other one gets; those that somebody else serves (externalResourceProvider) are not ours."""
    external = {each.resource_name for each in asked.mediated_devices if each.external_resource_provider}
    selectors: dict[str, set[str]] = {}
    for each in asked.mediated_devices:
        if each.resource_name not in external:
            selectors.setdefault(each.resource_name, set()).add(each.mdev_name_selector)
    sharing = Counter(device.group for device in found if device.group)
    here = {device.uuid for device in found}
    taken: set[str] = set()
    made = []
    for name, wanted in selectors.items():
        chosen = [device for device in found if device.uuid not in taken and any(map(device.is_called, wanted))]
        taken |= {device.uuid for device in chosen}
        now = {
            device.uuid: Part(device.uuid, device.group, device.numa_node, _trouble(device, name, sharing, holders))
            for device in chosen
        }
        gone = {
            part.uuid: Part(part.uuid, part.group, part.numa_node, "it is gone")
            for part in (before[name].parts if name in before else ())
            if part.uuid not in here and holders.get(part.uuid) == name
        }
        if now or gone:
            parts = tuple(part for _, part in sorted({**gone, **now}.items()))
            made.append(MediatedOffer(name, names.device_variable(names.MDEV_VARIABLE, name), parts, node_dir))
    return tuple(made)


def _trouble(device: MediatedDevice, name: str, sharing: Mapping[str, int], holders: Holders) -> str:
    if device.api != VFIO_API:
        return f"guests would see it by {device.api}, not {VFIO_API}"
    if not device.group or device.number is None:
        return "it has no IOMMU group of VFIO's (is the module vfio_mdev, or its driver, loaded?)"
    if sharing[device.group] > 1:
        return f"{sharing[device.group] - 1} other devices share its IOMMU group {device.group}"
    holder = holders.get(device.uuid, name)
    return f"a pod has it as {holder}" if holder != name else ""
