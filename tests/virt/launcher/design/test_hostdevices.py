"""Devices of the node in the domain: whose they are, and what is said when one is missing."""

from typing import Any

import pytest

from tests.virt.launcher.design.requests import EMULATED, vmi
from virt.api import v1
from virt.launcher.design import DesignError, Prepared, domain_for
from virt.launcher.domain import Domain, HostDevice
from virt.rpc.messages import GivenFunction

CARDS = {"PCI_RESOURCE_EXAMPLE_COM_CARD": "0000:03:00.0,0000:04:00.0"}


def asked(**devices: Any) -> v1.VirtualMachineInstance:
    return vmi({"devices": {"autoattachPodInterface": False, **devices}})


def card(name: str, resource: str = "example.com/card") -> dict[str, str]:
    return {"name": name, "deviceName": resource}


def host_devices(domain: Domain) -> tuple[HostDevice, ...]:
    assert domain.devices is not None
    return domain.devices.host_devices


def ports(domain: Domain) -> int:
    assert domain.devices is not None
    return sum(controller.model == "pcie-root-port" for controller in domain.devices.controllers)


def test_each_device_is_given_once() -> None:
    found = host_devices(domain_for(
        asked(hostDevices=[card("a")], gpus=[card("a")]), EMULATED, Prepared(devices=CARDS)))
    assert [(each.alias, each.source.bus if each.source else "") for each in found] == [
        ("ua-gpu-a", "0x03"), ("ua-hostdevice-a", "0x04")]


@pytest.mark.parametrize(("kind", "word"), [("hostDevices", "HostDevice"), ("gpus", "GPU")])
@pytest.mark.parametrize("devices", [
    {}, {"PCI_RESOURCE_EXAMPLE_COM_CARD": ""}, {"MDEV_PCI_RESOURCE_EXAMPLE_COM_CARD": "x"}])
def test_a_plugin_that_gave_nothing_starts_no_guest(kind: str, word: str, devices: dict[str, str]) -> None:
    with pytest.raises(DesignError, match=rf"number of device plugin {word}/s do not match .* a \(example.com/card\)"):
        domain_for(asked(**{kind: [card("a")]}), EMULATED, Prepared(devices=devices))


def test_more_devices_than_were_given_are_named() -> None:
    with pytest.raises(DesignError, match=r"for c \(example.com/card\)$"):
        domain_for(asked(hostDevices=[card("a"), card("b"), card("c")]), EMULATED, Prepared(devices=CARDS))


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(DesignError, match="'x' is no PCI address"):
        domain_for(asked(hostDevices=[card("a")]), EMULATED, Prepared(devices={"PCI_RESOURCE_EXAMPLE_COM_CARD": "x"}))


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
