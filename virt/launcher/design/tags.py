"""Devices with a tag in the spec -> what the guest's config drive tells of them. Pure.

A guest finds a device by the tag that its owner chose, whatever the system in it calls the device: OpenStack's device
tagging, in the form that KubeVirt gives it (buildDevicesMetadata in pkg/virt-launcher/virtwrap/manager.go; disks as
OpenStack has them). Addresses are known once libvirt has placed the devices, and are told as the guest sees them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import msgspec

from virt.api import v1
from virt.launcher.alias import FUNCTION, alias
from virt.launcher.design.disks import bus
from virt.launcher.design.hostdevices import GPU, HOST_DEVICE
from virt.launcher.domain import Address, Devices, Domain, HostDevice
from virt.rpc.messages import GivenFunction

_ROOT_BUS = 0


class TaggedDevice(msgspec.Struct, frozen=True, omit_defaults=True):
    """``type``: nic, disk or hostdev. ``address``: 0000:01:00.0 on bus pci, controller:bus:target:unit on those of
    disks, bus:port on usb."""

    type: str
    bus: str
    address: str
    tags: tuple[str, ...]
    mac: str = ""
    serial: str = ""


def are_told(vmi: v1.VirtualMachineInstance) -> bool:
    """Whether there are tags, and a config drive that tells them."""
    asked = vmi.spec.domain.devices
    tagged: Iterable[v1.Disk | v1.Interface | v1.HostDevice | v1.GPU] = (
        *asked.disks, *asked.interfaces, *asked.host_devices, *asked.gpus)
    drives = {volume.name for volume in vmi.spec.volumes if volume.cloud_init_config_drive is not None}
    return any(each.tag for each in tagged) and any(disk.name in drives for disk in asked.disks)


def devices(
    vmi: v1.VirtualMachineInstance, designed: Domain, placed: Domain, functions: Iterable[GivenFunction] = (),
) -> tuple[TaggedDevice, ...]:
    """``designed``: the VMI's domain; ``placed``: the same one as libvirt defined it."""
    return tuple(_found(vmi, designed.devices or Devices(), placed.devices or Devices(), functions))


def _found(
    vmi: v1.VirtualMachineInstance, designed: Devices, placed: Devices, functions: Iterable[GivenFunction]
) -> Iterator[TaggedDevice]:
    asked, buses = vmi.spec.domain.devices, guest_buses(placed)
    # libvirt drops an alias with a letter that it does not like, so devices are known by what they are made of.
    taps = {card.tap: card for card in placed.interfaces}
    cards = {card.alias: taps[card.tap] for card in designed.interfaces if card.tap in taps}
    sources = {_source(each): each for each in placed.host_devices}
    passed = {each.alias: sources[_source(each)] for each in designed.host_devices if _source(each) in sources}
    targets = {disk.target: disk for disk in placed.disks}
    disks = {disk.alias: targets[disk.target] for disk in designed.disks if disk.target in targets}
    macs = {each.name: each.mac for each in functions}
    for interface in asked.interfaces:
        card, function = cards.get(alias(interface.name)), passed.get(alias(f"{FUNCTION}{interface.name}"))
        if interface.tag and card is not None and card.address is not None:
            yield _told("nic", card.address, interface.tag, buses, mac=card.mac)
        elif interface.tag and function is not None and function.address is not None:
            yield _told("nic", function.address, interface.tag, buses, mac=macs.get(interface.name, ""))
    for disk in asked.disks:
        found = disks.get(alias(disk.name))
        if disk.tag and found is not None and found.address is not None:
            where = found.address if found.address.type != "drive" else replace(found.address, type=bus(disk))
            yield _told("disk", where, disk.tag, buses, serial=found.serial)
    for kind, listed in ((HOST_DEVICE, asked.host_devices), (GPU, asked.gpus)):
        for device in listed:
            shared = passed.get(alias(f"{kind}-{device.name}"))
            if device.tag and shared is not None and shared.address is not None:
                yield _told("hostdev", shared.address, device.tag, buses)


def _told(
    kind: str, address: Address, tag: str, buses: Mapping[int, int], *, mac: str = "", serial: str = ""
) -> TaggedDevice:
    match address.type:
        case "pci":
            number = int(address.bus, 16)
            text = (f"{_digits(address.domain, 4)}:{buses.get(number, number):02x}:{_digits(address.slot, 2)}."
                    f"{_digits(address.function, 1)}")
        case "usb":
            text = f"{address.bus}:{address.port}"
        case _:
            text = ":".join((address.controller, address.bus, address.target, address.unit))
    return TaggedDevice(type=kind, bus=address.type, address=text, tags=(tag,), mac=mac, serial=serial)


def guest_buses(devices: Devices) -> Mapping[int, int]:
    """The number that firmware gives each PCI bus, by libvirt's, which is the index of the bus's controller.

    Firmware goes through the bridges of a bus in the order of their places, and through all behind one before the next.
    The two differ behind a bridge for conventional PCI, which libvirt adds at the end.
    """
    below: dict[int, list[tuple[int, int, int]]] = {}
    for each in devices.controllers:
        if each.type == "pci" and each.index and each.address is not None and each.address.type == "pci":
            place = (int(each.address.slot, 16), int(each.address.function, 16), each.index)
            below.setdefault(int(each.address.bus, 16), []).append(place)
    numbers = {_ROOT_BUS: _ROOT_BUS}

    def visit(bus: int) -> None:
        for _, _, index in sorted(below.get(bus, ())):
            if index not in numbers:
                numbers[index] = len(numbers)
                visit(index)

    visit(_ROOT_BUS)
    return numbers


def _digits(text: str, count: int) -> str:
    return f"{int(text, 16):0{count}x}"


def _source(device: HostDevice) -> tuple[str, Address | None]:
    """What tells a device from the others: libvirt notes more of it than we say."""
    where = device.source
    if where is not None and device.type == "pci":
        parts = (where.domain, where.bus, where.slot, where.function)
        domain, number, slot, function = (_digits(part, 4) for part in parts)
        where = Address(domain=domain, bus=number, slot=slot, function=function)
    return device.type, where
