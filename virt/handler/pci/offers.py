"""PCI devices -> the resources that pods may ask for. Pure.

The kubelet's name of a device is its PCI address. What a container gets is /dev/vfio/<group> and, in an environment
variable that carries the resource's name, the addresses.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from virt.api import names, v1
from virt.handler.devices import pieces
from virt.handler.devices.resources import Device, DeviceNode, Given
from virt.handler.pci.model import PciDevice

_VFIO = Path("/dev/vfio")
_NOBODY: Mapping[str, str] = {}


def vfio_node(node_dir: Path, name: str) -> Path:
    """A device node that the handler makes, with a mode for uid 107. ``name``: number of a group, or "vfio"."""
    return node_dir / "devices" / "vfio" / name


@dataclass(frozen=True)
class Function:
    """A PCI function that is offered. ``trouble``: why a guest cannot have it now, "" when it can."""

    address: str
    group: str = ""
    numa_node: int | None = None
    trouble: str = ""


@dataclass(frozen=True)
class PassedThrough:
    """:class:`virt.handler.devices.resources.Offer` of PCI functions. ``variable``: of the environment."""

    full_name: str
    variable: str
    functions: tuple[Function, ...]
    node_dir: Path

    @property
    def addresses(self) -> frozenset[str]:
        return frozenset(each.address for each in self.functions)

    @property
    def listed(self) -> tuple[Device, ...]:
        return tuple(Device(each.address, not each.trouble, each.numa_node) for each in self.functions)

    def given(self, ids: Collection[str]) -> Given:
        known = {each.address: each for each in self.functions}
        pieces.check_given("PCI device", self.full_name, ids, {each.address: each.trouble for each in self.functions})
        groups = dict.fromkeys(("vfio", *(known[address].group for address in sorted(ids))))
        return Given(
            nodes=tuple(DeviceNode(vfio_node(self.node_dir, name), _VFIO / name) for name in groups),
            env={self.variable: ",".join(sorted(ids))},
        )


def permitted(
    asked: v1.PermittedHostDevices, found: Sequence[PciDevice], before: Mapping[str, PassedThrough], node_dir: Path,
    *, taken: Collection[str] = (), holders: Mapping[str, str] = _NOBODY,
) -> tuple[PassedThrough, ...]:
    """The resources of ``pciHostDevices`` that this node has something for, or had (``before``, by name).

    Devices count that are on vfio-pci: who gives them to guests binds them. A resource that somebody else serves
    (externalResourceProvider) is not ours, nor are the devices ``taken``, which belong to other resources. ``holders``:
    the resource as which a pod has a device; under another name it is given to nobody before that pod ends.
    """
    offers = []
    for name, own in pieces.own(asked.pci_host_devices).items():
        wanted = {each.pci_vendor_selector.lower() for each in own}
        known = before.get(name)
        listed = known.addresses if known is not None else frozenset()
        chosen = [
            device for device in found
            if device.ids in wanted and device.address not in taken
            and (device.is_for_guests or device.address in listed)
        ]
        now = {
            each.address: replace(each, trouble=each.trouble or pieces.held(holders.get(each.address, name), name))
            for each in functions(chosen, found)
        }
        offers.append(PassedThrough(
            name, names.device_variable(names.PCI_VARIABLE, name), with_gone(now, known, found), node_dir))
    return tuple(offer for offer in offers if offer.functions)


def with_gone(
    now: Mapping[str, Function], before: PassedThrough | None, found: Iterable[PciDevice]
) -> tuple[Function, ...]:
    """``now``, and devices of the last list that have left the machine: unhealthy, since a pod may still have them."""
    here = {device.address for device in found}
    gone = {
        each.address: Function(each.address, each.group, each.numa_node, pieces.GONE)
        for each in (before.functions if before is not None else ()) if each.address not in here
    }
    return tuple(function for _, function in sorted({**gone, **now}.items()))


def functions(chosen: Iterable[PciDevice], found: Sequence[PciDevice]) -> tuple[Function, ...]:
    """``chosen`` of all devices that were ``found``, each with what keeps a guest from having it."""
    sharing = Counter(device.group for device in found if device.group and not device.is_bridge)
    return tuple(
        Function(device.address, device.group, device.numa_node, _trouble(device, sharing)) for device in chosen)


def _trouble(device: PciDevice, sharing: Mapping[str, int]) -> str:
    if not device.is_for_guests:
        return f"its driver is {device.driver or 'none'}, not vfio-pci"
    if not device.group:
        return "it has no IOMMU group (is the IOMMU switched on?)"
    if sharing[device.group] > 1:
        # VFIO opens a group for one process alone, and who has it can reach the other devices in it.
        return f"{sharing[device.group] - 1} other devices share its IOMMU group {device.group}"
    return ""
