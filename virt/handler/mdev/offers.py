"""Mediated devices -> the resources that pods may ask for. Pure but for the look itself.

The kubelet's name of a device is its UUID. What a container gets is /dev/vfio/<group> and, in an environment variable,
the UUIDs.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from virt.api import names, v1
from virt.handler.devices import pieces
from virt.handler.devices.permitted import Holders, Seen
from virt.handler.devices.pieces import GONE, Piece, PiecesOffer
from virt.handler.devices.resources import CharacterDevice, DeviceNode, Offer
from virt.handler.mdev import sysfs
from virt.handler.mdev.sysfs import VFIO_API, MediatedDevice
from virt.handler.sysfiles import NODE_SYSFS

_WHAT = "mediated device"
_VFIO = Path("/dev/vfio")
_CONTROL = "vfio"


@dataclass(frozen=True)
class MediatedDevices:
    """:class:`virt.handler.devices.permitted.Kind`. ``root``: where sysfs is mounted."""

    node_dir: Path
    root: Path = NODE_SYSFS

    @property
    def folder(self) -> Path:
        return _folder(self.node_dir)

    def is_wanted(self, permitted: v1.PermittedHostDevices) -> bool:
        return bool(pieces.own(permitted.mediated_devices))

    def look(self, permitted: v1.PermittedHostDevices, before: Mapping[str, Offer], holders: Holders) -> Seen:
        known = {name: offer for name, offer in before.items() if isinstance(offer, PiecesOffer)}
        found = sysfs.devices(self.root)
        made = offers(permitted, found, known, holders, self.node_dir)
        healthy = {each.id for offer in made for each in offer.pieces if not each.trouble}
        numbers = {device.group: device.number for device in found if device.uuid in healthy}
        if healthy:
            numbers[_CONTROL] = sysfs.control_number(self.root)
        nodes = tuple(
            CharacterDevice(_node(self.node_dir, name), number.major, number.minor)
            for name, number in sorted(numbers.items()) if number is not None)
        return Seen(made, nodes, tuple(trouble for offer in made for trouble in offer.troubles))


def _folder(node_dir: Path) -> Path:
    """Not that of PCI functions, which has a keeper of its own."""
    return node_dir / "devices" / "mdev"


def _node(node_dir: Path, name: str) -> Path:
    return _folder(node_dir) / name


def offers(
    asked: v1.PermittedHostDevices, found: Sequence[MediatedDevice], before: Mapping[str, PiecesOffer],
    holders: Holders, node_dir: Path,
) -> tuple[PiecesOffer, ...]:
    """The resources of ``mediatedDevices`` that this node has something for, or whose devices a pod has. What one
    resource has no other one gets."""
    sharing = Counter(device.group for device in found if device.group)
    here = {device.uuid for device in found}
    taken: set[str] = set()
    made = []
    for name, listed in pieces.own(asked.mediated_devices).items():
        wanted = {each.mdev_name_selector for each in listed}
        chosen = [device for device in found if device.uuid not in taken and any(map(device.is_called, wanted))]
        taken |= {device.uuid for device in chosen}
        now = [
            Piece(
                device.uuid, told=(device.uuid,), numa_node=device.numa_node,
                nodes=tuple(DeviceNode(_node(node_dir, node), _VFIO / node) for node in (_CONTROL, device.group)),
                trouble=_trouble(device, name, sharing, holders))
            for device in chosen
        ]  # fmt: skip
        gone = [
            Piece(each.id, trouble=GONE) for each in (before[name].pieces if name in before else ())
            if each.id not in here and holders.get(each.id) == name
        ]
        if now or gone:
            listed_pieces = tuple(sorted((*now, *gone), key=lambda each: each.id))
            made.append(PiecesOffer(name, names.device_variable(names.MDEV_VARIABLE, name), _WHAT, listed_pieces))
    return tuple(made)


def _trouble(device: MediatedDevice, name: str, sharing: Mapping[str, int], holders: Holders) -> str:
    if device.api != VFIO_API:
        return f"guests would see it by {device.api}, not {VFIO_API}"
    if not device.group or device.number is None:
        return "it has no IOMMU group of VFIO's (is the module vfio_mdev, or its driver, loaded?)"
    if sharing[device.group] > 1:
        return f"{sharing[device.group] - 1} other devices share its IOMMU group {device.group}"
    return pieces.held(holders.get(device.uuid, name), name)
