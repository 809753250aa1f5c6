"""USB devices -> the resources that pods may ask for. Pure but for the look itself.

A resource is made of one device for each of its selectors. The kubelet's name of one is the ports of its devices; what
a container gets is /dev/bus/usb/<bus>/<number> of each, and bus and number in an environment variable.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from virt.api import names, v1
from virt.handler.devices import pieces
from virt.handler.devices.permitted import Holders, Seen
from virt.handler.devices.pieces import GONE, Piece, PiecesOffer
from virt.handler.devices.resources import CharacterDevice, DeviceNode, Offer
from virt.handler.sysfiles import NODE_SYSFS
from virt.handler.usb import sysfs
from virt.handler.usb.sysfs import UsbDevice

_WHAT = "USB device"
_USB = Path("/dev/bus/usb")
_AND = "+"


@dataclass(frozen=True)
class UsbDevices:
    """:class:`virt.handler.devices.permitted.Kind`. ``root``: where sysfs is mounted."""

    node_dir: Path
    root: Path = NODE_SYSFS

    @property
    def folder(self) -> Path:
        return _folder(self.node_dir)

    def is_wanted(self, permitted: v1.PermittedHostDevices) -> bool:
        return bool(pieces.own(permitted.usb))

    def look(self, permitted: v1.PermittedHostDevices, before: Mapping[str, Offer], holders: Holders) -> Seen:
        known = {name: offer for name, offer in before.items() if isinstance(offer, PiecesOffer)}
        found = sysfs.devices(self.root)
        made = offers(permitted, found, known, holders, self.node_dir)
        healthy = {port for offer in made for each in offer.pieces if not each.trouble for port in each.id.split(_AND)}
        nodes = tuple(_node(device, self.node_dir) for device in found if device.port in healthy)
        return Seen(made, nodes, tuple(trouble for offer in made for trouble in offer.troubles))


def _folder(node_dir: Path) -> Path:
    return node_dir / "devices" / "usb"


def _node(device: UsbDevice, node_dir: Path) -> CharacterDevice:
    """The device node that the handler makes, with a mode for uid 107."""
    return CharacterDevice(
        _folder(node_dir) / f"{device.bus:03}-{device.number:03}", device.major, device.minor)


def offers(
    asked: v1.PermittedHostDevices, found: Sequence[UsbDevice], before: Mapping[str, PiecesOffer], holders: Holders,
    node_dir: Path,
) -> tuple[PiecesOffer, ...]:
    """The resources of ``usb`` that this node has something for, or whose devices a pod has. What one resource has no
    other one gets."""
    ways = {
        name: [tuple((one.vendor.lower(), one.product.lower()) for one in each.selectors)
               for each in listed if each.selectors]
        for name, listed in pieces.own(asked.usb).items()
    }
    free = {device.port: device for device in found}
    sets = {name: _kept(before.get(name), free, name, ways[name], holders) for name in ways}
    for name, chosen in ways.items():
        for selectors in chosen:
            while (devices := _taken(selectors, free)) is not None:
                sets[name][_AND.join(device.port for device in devices)] = devices
    return tuple(
        PiecesOffer(name, names.device_variable(names.USB_VARIABLE, name), _WHAT, tuple(
            _piece(identity, made[identity], name, holders, node_dir) for identity in sorted(made, key=_places)))
        for name, made in sets.items() if made
    )


def _kept(
    before: PiecesOffer | None, free: dict[str, UsbDevice], name: str, ways: Iterable[tuple[tuple[str, str], ...]],
    holders: Holders,
) -> dict[str, tuple[UsbDevice, ...]]:
    """Sets of the last look that stay together: those that are whole, and those that a pod has. Takes their devices."""
    kept = {}
    for each in before.pieces if before is not None else ():
        ports = each.id.split(_AND)
        here = tuple(free[port] for port in ports if port in free)
        is_whole = len(here) == len(ports) and tuple(device.ids for device in here) in ways
        if not is_whole and holders.get(each.id) != name:
            continue
        for device in here:
            del free[device.port]
        kept[each.id] = here if is_whole else ()
    return kept


def _taken(selectors: Sequence[tuple[str, str]], free: dict[str, UsbDevice]) -> tuple[UsbDevice, ...] | None:
    """One device for each selector, out of ``free``; None where one is missing, and then none is taken."""
    chosen: dict[str, UsbDevice] = {}
    for ids in selectors:
        device = next((each for each in free.values() if each.ids == ids and each.port not in chosen), None)
        if device is None:
            return None
        chosen[device.port] = device
    for port in chosen:
        del free[port]
    return tuple(chosen.values())


def _piece(identity: str, devices: Sequence[UsbDevice], name: str, holders: Holders, node_dir: Path) -> Piece:
    """``devices``: () for a set that is no longer complete."""
    return Piece(
        identity,
        nodes=tuple(DeviceNode(_node(device, node_dir).path, _inside(device)) for device in devices),
        told=tuple(f"{device.bus}:{device.number}" for device in devices),
        trouble=_trouble(devices, name, holders) if devices else GONE,
    )


def _inside(device: UsbDevice) -> Path:
    return _USB / f"{device.bus:03}" / f"{device.number:03}"


def _trouble(devices: Iterable[UsbDevice], name: str, holders: Holders) -> str:
    taken = {port: resource for ids, resource in holders.items() for port in ids.split(_AND)}
    for device in devices:
        if device.is_hub:
            return f"{device.port} is a hub: what is plugged in there would go along"
        if trouble := pieces.held(taken.get(device.port, name), name):
            return trouble
    return ""


def _places(identity: str) -> list[tuple[int, ...]]:
    return [sysfs.place(port) for port in identity.split(_AND)]
