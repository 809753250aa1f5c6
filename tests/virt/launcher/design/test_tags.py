"""What a config drive tells of tagged devices: which, where the guest sees them, and what it knows them by."""

from dataclasses import replace

import pytest

from tests.virt.launcher.design.requests import EMULATED, vmi
from virt.api import v1
from virt.launcher.design import DiskSource, Prepared, TaggedDevice, domain_for, tags
from virt.launcher.domain import Devices, Domain, from_xml, to_xml
from virt.rpc.messages import GivenFunction, WiredInterface

DRIVE = {"name": "seed", "cloudInitConfigDrive": {"userData": "x"}}
DISK = DiskSource("/disk", "raw")
PORTS = "".join(
    f"<controller type='pci' index='{index}' model='pcie-root-port'>"
    f"<address type='pci' domain='0x0000' bus='0x00' slot='0x02' function='{index - 1:#x}'/></controller>"
    for index in range(1, 6))
# As libvirt adds it for a watchdog: last in number, behind the first port.
BRIDGE = ("<controller type='pci' index='6' model='pcie-to-pci-bridge'>"
          "<address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></controller>")


def asked(**devices: object) -> v1.VirtualMachineInstance:
    return vmi({"devices": {"autoattachPodInterface": False, **devices}}, volumes=[DRIVE], networks=[
        {"name": "a", "pod": {}}, {"name": "fast", "multus": {"networkName": "n"}}])


def placed(inner: str, controllers: str = PORTS) -> Domain:
    return from_xml(f"<domain><devices>{controllers}{inner}</devices></domain>")


def told(instance: v1.VirtualMachineInstance, made: Domain, prepared: Prepared) -> tuple[TaggedDevice, ...]:
    ready = replace(prepared, disks={"seed": DISK})
    return tags.devices(instance, domain_for(instance, EMULATED, ready), made, prepared.functions)


def test_a_card_is_told_with_its_mac() -> None:
    instance = asked(interfaces=[{"name": "a", "masquerade": {}, "tag": "front"}])
    prepared = Prepared(interfaces=(WiredInterface(name="a", tap="tap0", mac="02:00:00:00:00:01", mtu=1400),))
    made = placed("<interface type='ethernet'><mac address='02:00:00:00:00:01'/><target dev='tap0'/>"
                  "<address type='pci' domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></interface>")
    assert told(instance, made, prepared) == (
        TaggedDevice(type="nic", bus="pci", address="0000:03:00.0", mac="02:00:00:00:00:01", tags=("front",)),)


def test_devices_without_a_tag_are_not_told() -> None:
    instance = asked(interfaces=[{"name": "a", "masquerade": {}}])
    prepared = Prepared(interfaces=(WiredInterface(name="a", tap="tap0", mac="02:00:00:00:00:01", mtu=1400),))
    made = placed("<interface type='ethernet'><target dev='tap0'/>"
                  "<address type='pci' domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></interface>")
    assert told(instance, made, prepared) == ()


@pytest.mark.parametrize(("bus", "target", "address", "where"), [
    ("virtio", "vda", "type='pci' domain='0x0000' bus='0x04' slot='0x00' function='0x0'", ("pci", "0000:04:00.0")),
    ("sata", "sda", "type='drive' controller='0' bus='0' target='0' unit='3'", ("sata", "0:0:0:3")),
    ("scsi", "sda", "type='drive' controller='1' bus='0' target='0' unit='2'", ("scsi", "1:0:0:2")),
    ("usb", "sda", "type='usb' bus='0' port='2'", ("usb", "0:2")),
])
def test_a_disk_is_told_by_its_bus(bus: str, target: str, address: str, where: tuple[str, str]) -> None:
    instance = asked(disks=[{"name": "seed", "disk": {"bus": bus}, "tag": "logs", "serial": "S1"}])
    made = placed(f"<disk type='file' device='disk'><target dev='{target}' bus='{bus}'/><serial>S1</serial>"
                  f"<address {address}/></disk>")
    assert told(instance, made, Prepared()) == (
        TaggedDevice(type="disk", bus=where[0], address=where[1], serial="S1", tags=("logs",)),)


def test_devices_of_the_node_are_told_apart_by_what_they_are() -> None:
    instance = asked(
        interfaces=[{"name": "fast", "sriov": {}, "tag": "fast"}],
        hostDevices=[{"name": "x.y", "deviceName": "e.com/card", "tag": "card"},
                     {"name": "s", "deviceName": "e.com/stick", "tag": "stick"}],
        gpus=[{"name": "x.y", "deviceName": "e.com/part", "tag": "gpu"}])
    prepared = Prepared(
        functions=(GivenFunction(name="fast", address="0000:81:10.2", mac="de:ad:00:00:be:ef"),),
        devices={"PCI_RESOURCE_E_COM_CARD": "0000:0A:00.0", "USB_RESOURCE_E_COM_STICK": "1:4",
                 "MDEV_PCI_RESOURCE_E_COM_PART": "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"})
    # libvirt's own order and words; it has dropped aliases with a dot.
    made = placed(
        "<hostdev type='usb'><source><vendor id='0x1'/><address bus='1' device='4'/></source>"
        "<address type='usb' bus='0' port='1'/></hostdev>"
        "<hostdev type='mdev'><source><address uuid='83b8f4f2-509f-382f-3c1e-e6bfe0fa1001'/></source>"
        "<address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/></hostdev>"
        "<hostdev type='pci'><source><address domain='0x0000' bus='0x81' slot='0x10' function='0x2'/></source>"
        "<address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/></hostdev>"
        "<hostdev type='pci'><source><address domain='0x0000' bus='0x0a' slot='0x00' function='0x0'/></source>"
        "<address type='pci' domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></hostdev>")
    assert told(instance, made, prepared) == (
        TaggedDevice(type="nic", bus="pci", address="0000:02:00.0", mac="de:ad:00:00:be:ef", tags=("fast",)),
        TaggedDevice(type="hostdev", bus="pci", address="0000:01:00.0", tags=("card",)),
        TaggedDevice(type="hostdev", bus="usb", address="0:1", tags=("stick",)),
        TaggedDevice(type="hostdev", bus="pci", address="0000:05:00.0", tags=("gpu",)),
    )


def test_buses_have_the_numbers_that_firmware_gives() -> None:
    made = placed("", BRIDGE + PORTS).devices or Devices()
    assert tags.guest_buses(made) == {0: 0, 1: 1, 6: 2, 2: 3, 3: 4, 4: 5, 5: 6}
    assert tags.guest_buses(placed("").devices or Devices()) == {number: number for number in range(6)}


def test_a_card_behind_a_bridge_is_told_where_the_guest_sees_it() -> None:
    instance = asked(interfaces=[{"name": "a", "masquerade": {}, "tag": "front"}])
    prepared = Prepared(interfaces=(WiredInterface(name="a", tap="tap0", mac="02:00:00:00:00:01", mtu=1400),))
    made = placed("<interface type='ethernet'><mac address='02:00:00:00:00:01'/><target dev='tap0'/>"
                  "<address type='pci' domain='0x0000' bus='0x02' slot='0x00' function='0x0'/></interface>",
                  PORTS + BRIDGE)
    assert [each.address for each in told(instance, made, prepared)] == ["0000:03:00.0"]


@pytest.mark.parametrize(("tag", "volume", "are"), [
    ("x", DRIVE, True), ("", DRIVE, False), ("x", {"name": "seed", "cloudInitNoCloud": {"userData": "x"}}, False)])
def test_tags_are_told_where_a_config_drive_is(tag: str, volume: dict[str, object], are: bool) -> None:
    disk = {"name": "seed", "disk": {"bus": "virtio"}, "tag": tag}
    assert tags.are_told(vmi({"devices": {"disks": [disk]}}, volumes=[volume])) is are


def test_places_of_controllers_read_back() -> None:
    made = placed("")
    assert from_xml(to_xml(made)) == made
