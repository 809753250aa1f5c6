"""Devices of the node in the domain: whose they are, and what is said when one is missing."""

from typing import Any

import pytest

from tests.virt.launcher.design.requests import EMULATED, vmi
from virt.api import v1
from virt.launcher.design import DesignError, Prepared, domain_for
from virt.launcher.domain import Domain, HostDevice
from virt.rpc.messages import GivenFunction

UUID = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"
CARDS = {"PCI_RESOURCE_EXAMPLE_COM_CARD": "0000:03:00.0,0000:04:00.0"}


def asked(**devices: Any) -> v1.VirtualMachineInstance:
    return vmi({"devices": {"autoattachPodInterface": False, **devices}})


def card(name: str, resource: str = "example.com/card") -> dict[str, str]:
    return {"name": name, "deviceName": resource}


def sticks(told: str) -> Prepared:
    return Prepared(devices={"USB_RESOURCE_EXAMPLE_COM_CARD": told})


def host_devices(domain: Domain) -> tuple[HostDevice, ...]:
    assert domain.devices is not None
    return domain.devices.host_devices


def ports(domain: Domain) -> int:
    assert domain.devices is not None
    return sum(controller.model == "pcie-root-port" for controller in domain.devices.controllers)


def test_an_emulated_guest_with_devices_keeps_all_that_was_translated() -> None:
    """A cache that is thrown away during an unplug takes a twice emulated guest longer than it has for that."""
    plain = domain_for(asked(), EMULATED, Prepared()).features
    having = domain_for(asked(gpus=[card("a")]), EMULATED, Prepared(devices=CARDS)).features
    assert plain is not None
    assert having is not None
    assert (plain.tb_cache, having.tb_cache) == (20, 256)


def test_each_device_is_given_once() -> None:
    found = host_devices(domain_for(
        asked(hostDevices=[card("a")], gpus=[card("a")]), EMULATED, Prepared(devices=CARDS)))
    assert [(each.alias, each.source.bus if each.source else "") for each in found] == [
        ("ua-gpu-a", "0x03"), ("ua-hostdevice-a", "0x04")]


@pytest.mark.parametrize(("kind", "word"), [("hostDevices", "HostDevice"), ("gpus", "GPU")])
@pytest.mark.parametrize("devices", [
    {}, {"PCI_RESOURCE_EXAMPLE_COM_CARD": ""}, {"MDEV_PCI_RESOURCE_EXAMPLE_COM_OTHER": UUID}])
def test_a_plugin_that_gave_nothing_starts_no_guest(kind: str, word: str, devices: dict[str, str]) -> None:
    with pytest.raises(DesignError, match=rf"number of device plugin {word}/s do not match .* a \(example.com/card\)"):
        domain_for(asked(**{kind: [card("a")]}), EMULATED, Prepared(devices=devices))


def test_more_devices_than_were_given_are_named() -> None:
    with pytest.raises(DesignError, match=r"for c \(example.com/card\)$"):
        domain_for(asked(hostDevices=[card("a"), card("b"), card("c")]), EMULATED, Prepared(devices=CARDS))


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(DesignError, match="'x' is no PCI address"):
        domain_for(asked(hostDevices=[card("a")]), EMULATED, Prepared(devices={"PCI_RESOURCE_EXAMPLE_COM_CARD": "x"}))


@pytest.mark.parametrize(("variable", "text", "message"), [
    ("MDEV_PCI_RESOURCE", "x", "'x' is no UUID of a mediated device"),
    ("USB_RESOURCE", "1-4", "'1-4' is no bus and number of a USB device"),
])
def test_an_answer_that_names_no_device_is_refused(variable: str, text: str, message: str) -> None:
    with pytest.raises(DesignError, match=message):
        domain_for(asked(hostDevices=[card("a")]), EMULATED, Prepared(devices={f"{variable}_EXAMPLE_COM_CARD": text}))


def test_usb_devices_that_make_one_resource_go_to_one_device_of_the_spec() -> None:
    given = asked(hostDevices=[card("a")], gpus=[card("b")])
    found = host_devices(domain_for(given, EMULATED, sticks("1:2,1:3,2:2,2:3")))
    assert [(each.alias, each.source.bus, each.source.device) for each in found if each.source] == [
        ("ua-gpu-b", "1", "2"), ("ua-gpu2-b", "1", "3"), ("ua-hostdevice-a", "2", "2"), ("ua-hostdevice2-a", "2", "3")]


def test_usb_devices_that_do_not_come_out_even_start_no_guest() -> None:
    with pytest.raises(DesignError, match="number of device plugin GPU/s do not match"):
        domain_for(asked(hostDevices=[card("a")], gpus=[card("b")]), EMULATED, sticks("1:2,1:3,2:2"))


def test_a_usb_device_has_a_controller_and_no_port_of_its_own() -> None:
    usb = domain_for(asked(hostDevices=[card("a")]), EMULATED, sticks("1:2"))
    assert usb.devices is not None
    assert [each.model for each in usb.devices.controllers if each.type == "usb"] == ["qemu-xhci"]
    tablet = asked(inputs=[{"name": "t", "type": "tablet", "bus": "usb"}])
    assert ports(usb) == ports(domain_for(tablet, EMULATED, Prepared()))


def test_an_interface_without_its_function_starts_no_guest() -> None:
    given = vmi({"devices": {"interfaces": [{"name": "n", "sriov": {}}]}},
                networks=[{"name": "n", "multus": {"networkName": "n"}}])
    with pytest.raises(DesignError, match=r"interfaces\[0\]\.name: interface 'n' .* missing PCI mapping"):
        domain_for(given, EMULATED, Prepared())
    function = GivenFunction(name="n", address="0000:01:10.0", mac="02:00:00:00:00:01")
    (found,) = host_devices(domain_for(given, EMULATED, Prepared(functions=(function,))))
    assert (found.alias, found.managed, found.mode, found.type) == ("ua-sriov-n", False, "subsystem", "pci")


def test_devices_have_a_slot_each() -> None:
    few = domain_for(asked(), EMULATED, Prepared())
    many = {"PCI_RESOURCE_EXAMPLE_COM_CARD": ",".join(f"0000:{number:02x}:00.0" for number in range(8))}
    lots = domain_for(
        asked(hostDevices=[card(f"d{number}") for number in range(8)]), EMULATED, Prepared(devices=many))
    assert ports(lots) > ports(few)
