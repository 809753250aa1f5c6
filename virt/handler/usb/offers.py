"""USB devices -> the resources that pods may ask for. Pure.

A resource is made of one device for each of its selectors. The kubelet's name of one is the ports of its devices; what
a container gets is /dev/bus/usb/<bus>/<number> of each, and bus and number in an environment variable.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from virt.api import names, v1
from virt.handler.devices.permitted import Holders, Seen
from virt.handler.devices.resources import CharacterDevice, Device, DeviceGoneError, DeviceNode, Given, Offer
from virt.handler.pci.sysfs import NODE_SYSFS
from virt.handler.usb import sysfs
from virt.handler.usb.sysfs import UsbDevice

_USB = Path("/dev/bus/usb")
_AND = "+"


@dataclass(frozen=True)
class Set:
    """The devices that make one of a resource, in the order of its selectors. ``id``: their ports, also of those that
    are gone. ``trouble``: why a guest cannot have them now, "" when it can."""

    id: str
    devices: tuple[UsbDevice, ...]
    trouble: str = ""


@dataclass(frozen=True)
class UsbOffer:
    """:class:`virt.handler.devices.resources.Offer`. ``variable``: of the environment."""

    full_name: str
    variable: str
    sets: tuple[Set, ...]
    node_dir: Path

    @property
    def listed(self) -> tuple[Device, ...]:
        return tuple(Device(each.id, not each.trouble) for each in self.sets)

    def given(self, ids: Collection[str]) -> Given:
        known = {each.id: each for each in self.sets}
        for name in ids:
            trouble = known[name].trouble if name in known else "it is gone"
            if trouble:
                raise DeviceGoneError(f"USB device {name} of {self.full_name} cannot be given to a pod: {trouble}")
        devices = [device for name in _sorted(ids) for device in known[name].devices]
        return Given(
            nodes=tuple(DeviceNode(node(device, self.node_dir).path, _inside(device)) for device in devices),
            env={self.variable: ",".join(f"{device.bus}:{device.number}" for device in devices)},
        )


@dataclass(frozen=True)
class UsbDevices:
    """:class:`virt.handler.devices.permitted.Kind`. ``root``: where sysfs is mounted."""

    node_dir: Path
    root: Path = NODE_SYSFS

    def is_wanted(self, permitted: v1.PermittedHostDevices) -> bool:
        return any(not each.external_resource_provider for each in permitted.usb)

    def look(self, permitted: v1.PermittedHostDevices, before: Mapping[str, Offer], holders: Holders) -> Seen:
        known = {name: offer for name, offer in before.items() if isinstance(offer, UsbOffer)}
        made = offers(permitted, sysfs.devices(self.root), known, holders, self.node_dir)
        healthy = [device for offer in made for each in offer.sets if not each.trouble for device in each.devices]
        troubles = tuple(
            f"USB device {each.id} of {offer.full_name} is not given to guests: {each.trouble}"
            for offer in made for each in offer.sets if each.trouble)
        return Seen(made, tuple(node(device, self.node_dir) for device in healthy), troubles)


def node(device: UsbDevice, node_dir: Path) -> CharacterDevice:
    """The device node that the handler makes, with a mode for uid 107."""
    name = f"{device.bus:03}-{device.number:03}"
    return CharacterDevice(node_dir / "devices" / "usb" / name, device.major, device.minor)


def _inside(device: UsbDevice) -> Path:
    return _USB / f"{device.bus:03}" / f"{device.number:03}"


def offers(
    asked: v1.PermittedHostDevices, found: Sequence[UsbDevice], before: Mapping[str, UsbOffer], holders: Holders,
    node_dir: Path,
) -> tuple[UsbOffer, ...]:
    """The resources of ``usb`` that this node has something for, or whose devices a pod has. What one resource has no
    other one gets; those that somebody else serves (externalResourceProvider) are not ours."""
    external = {each.resource_name for each in asked.usb if each.external_resource_provider}
    ways: dict[str, list[tuple[tuple[str, str], ...]]] = {}
    for each in asked.usb:
        if each.resource_name not in external and each.selectors:
            wanted = tuple((one.vendor.lower(), one.product.lower()) for one in each.selectors)
            ways.setdefault(each.resource_name, []).append(wanted)
    free = {device.port: device for device in found}
    made = []
    kept = {name: _kept(before.get(name), free, name, ways[name], holders) for name in ways}
    for name, chosen in ways.items():
        sets = list(kept[name])
        for selectors in chosen:
            while (devices := _taken(selectors, free)) is not None:
                identity = _AND.join(device.port for device in devices)
                sets.append(Set(identity, devices, _trouble(devices, name, holders)))
        if sets:
            variable = names.device_variable(names.USB_VARIABLE, name)
            by_place = sorted(sets, key=lambda one: _places(one.id))
            made.append(UsbOffer(name, variable, tuple(by_place), node_dir))
    return tuple(made)


def _kept(
    before: UsbOffer | None, free: dict[str, UsbDevice], name: str, ways: Iterable[tuple[tuple[str, str], ...]],
    holders: Holders,
) -> list[Set]:
    """Sets of the last look that stay together: those that are whole, and those that a pod has. Takes their devices."""
    kept = []
    for each in before.sets if before is not None else ():
        ports = each.id.split(_AND)
        here = tuple(free[port] for port in ports if port in free)
        is_whole = len(here) == len(ports) and tuple(device.ids for device in here) in ways
        if not is_whole and holders.get(each.id) != name:
            continue
        for device in here:
            del free[device.port]
        kept.append(Set(each.id, here, _trouble(here, name, holders) if is_whole else "it is gone"))
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


def _trouble(devices: Iterable[UsbDevice], name: str, holders: Holders) -> str:
    taken = {port: resource for held, resource in holders.items() for port in held.split(_AND)}
    for device in devices:
        if device.is_hub:
            return f"{device.port} is a hub: what is plugged in there would go along"
        if taken.get(device.port, name) != name:
            return f"a pod has {device.port} as {taken[device.port]}"
    return ""


def _places(identity: str) -> list[tuple[int, ...]]:
    return [sysfs.place(port) for port in identity.split(_AND)]


def _sorted(ids: Collection[str]) -> list[str]:
    return sorted(ids, key=_places)
