"""Devices that the KubeVirt CR permits: looked for while there are any, told to the plugins when they change."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from tests.virt.handler.pci.test_allocations import checkpoint, entry
from tests.virt.handler.usb.test_sysfs import plug
from virt.api import v1
from virt.handler.devices.permitted import PermittedDevices, holders
from virt.handler.devices.resources import CharacterDevice, Device
from virt.handler.pci.allocations import CHECKPOINT, parsed
from virt.handler.usb.offers import UsbDevices

STICK = v1.USBHostDevice(
    resource_name="example.com/stick", selectors=(v1.USBSelector(vendor="46f4", product="0001"),))
PERMITTED = v1.PermittedHostDevices(usb=(STICK,))


class Stand:
    def __init__(self, folder: Path) -> None:
        self.sys = folder / "sys"
        self.kubelet = folder / "device-plugins"
        self.kubelet.mkdir()
        self.permitted = PERMITTED
        self.changes = 0
        self.told: list[str] = []
        self.nodes: list[CharacterDevice] = []
        self.kept: dict[str, set[str]] = {}
        self.refusal: OSError | None = None
        self.devices = PermittedDevices(
            (UsbDevices(Path("/run/kv"), self.sys),), self.kubelet, permitted=lambda: self.permitted,
            changed=self._changed, tell=self.told.append, living_pods=lambda: {"pod"}, make_nodes=self._make,
            remove_other_nodes=self._remove_others)

    def _changed(self) -> None:
        self.changes += 1

    def _make(self, nodes: Sequence[CharacterDevice]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.nodes = list(nodes)

    def _remove_others(self, folder: Path, names: Collection[str]) -> None:
        self.kept[str(folder)] = {*names}

    def listed(self) -> dict[str, tuple[Device, ...]]:
        return {offer.full_name: offer.listed for offer in self.devices.offered}


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


async def test_devices_come_and_go(stand: Stand) -> None:
    await stand.devices.look()
    assert (stand.listed(), stand.changes) == ({}, 0)
    plug(stand.sys, "1-2", number=4)
    await stand.devices.look()
    await stand.devices.look()
    assert (stand.listed(), stand.changes) == ({"example.com/stick": (Device("1-2"),)}, 1)
    assert [node.path.name for node in stand.nodes] == ["001-004"]
    assert stand.kept == {"/run/kv/devices/usb": {"001-004"}}
    stand.permitted = v1.PermittedHostDevices()
    await stand.devices.look()
    assert (stand.listed(), stand.changes) == ({}, 2)
    assert stand.kept == {"/run/kv/devices/usb": set()}


async def test_a_node_that_nothing_is_asked_of_is_not_looked_at(stand: Stand) -> None:
    stand.permitted = v1.PermittedHostDevices()
    (stand.kubelet / CHECKPOINT).write_text("no checkpoint")
    await stand.devices.look()
    assert stand.told == []


async def test_a_device_that_comes_at_another_place_while_a_pod_has_it(stand: Stand) -> None:
    plug(stand.sys, "1-2")
    await stand.devices.look()
    (stand.kubelet / CHECKPOINT).write_bytes(checkpoint(entry("pod", "example.com/stick", "1-2")))
    (stand.sys / "bus/usb/devices/1-2").rename(stand.sys / "bus/usb/devices/1-3")
    await stand.devices.look()
    assert stand.listed() == {"example.com/stick": (Device("1-2", is_healthy=False), Device("1-3"))}
    assert stand.told == ["USB device 1-2 of example.com/stick is not given to guests: it is gone"]
    await stand.devices.look()
    assert len(stand.told) == 1, "each thing once"


async def test_what_cannot_be_known_changes_nothing_and_is_told(stand: Stand) -> None:
    plug(stand.sys, "1-2")
    await stand.devices.look()
    (stand.kubelet / CHECKPOINT).write_text("no checkpoint")
    plug(stand.sys, "1-3")
    await stand.devices.look()
    assert stand.listed() == {"example.com/stick": (Device("1-2"),)}
    assert [CHECKPOINT in text for text in stand.told] == [True]
    (stand.kubelet / CHECKPOINT).unlink()
    stand.refusal = PermissionError(1, "Operation not permitted")
    await stand.devices.look()
    assert stand.listed() == {"example.com/stick": (Device("1-2"),)}
    assert "Operation not permitted" in stand.told[-1]


def test_only_pods_with_a_process_hold_devices() -> None:
    known = parsed(checkpoint(
        entry("p1", "example.com/stick", "1-2"), entry("p2", "example.com/stick", "1-3"),
        entry("p1", "devices.kubevirt.io/tun", "tun4")))
    assert holders(known, lambda: {"p1"}) == {"1-2": "example.com/stick"}
    plain = parsed(checkpoint(entry("p1", "devices.kubevirt.io/tun", "tun4")))
    assert holders(plain, lambda: pytest.fail("nobody needs to know")) == {}
