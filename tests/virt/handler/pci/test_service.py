"""The node's devices as a whole, on a fake kernel, fake cards and a fake API server."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.fakes.kube import FakeKube
from tests.fakes.sysfs import PF, SECOND_PF, FakeKernel
from tests.virt.handler.pci.test_allocations import checkpoint, entry
from tests.virt.handler.pci.test_assignment import definition, vmi
from virt.api import v1
from virt.api.kinds import NETWORK_ATTACHMENT
from virt.handler.devices.resources import CharacterDevice, Device
from virt.handler.launchers.launcher import Launcher
from virt.handler.launchers.process import Process
from virt.handler.net.functions import CardError
from virt.handler.net.model import NEUTRAL, FunctionState
from virt.handler.pci import memlock
from virt.handler.pci.allocations import CHECKPOINT
from virt.handler.pci.assignment import FunctionError
from virt.handler.pci.service import Node, PciDevices

FIRST, SECOND = "0000:01:10.0", "0000:01:10.2"
RESOURCE = "intel.com/net1"
POD = "0b8b2a3c-5f0e-4a5b-9d0c-1f2e3d4c5b6a"
MAC = "de:ad:00:00:be:ef"


class FakeCards:
    def __init__(self) -> None:
        self.states: dict[tuple[str, int], FunctionState] = {}
        self.error: CardError | None = None
        self.asked: list[str] = []

    async def read(self, card: str) -> Mapping[int, FunctionState]:
        self.asked.append(card)
        if self.error is not None:
            raise self.error
        return {number: self.states.get((card, number), NEUTRAL) for number in range(7)}

    async def change(self, card: str, number: int, wanted: FunctionState, known: FunctionState) -> None:
        assert known == self.states.get((card, number), NEUTRAL)
        self.states[card, number] = wanted

    def of(self, number: int) -> FunctionState:
        return self.states.get(("eth1", number), NEUTRAL)


class Stand:
    def __init__(self, folder: Path) -> None:
        self.kernel = FakeKernel(folder / "sys")
        self.kernel.card(PF, "eth1")
        self.kernel.load("vfio-pci")
        self.cards = FakeCards()
        self.kubelet = folder / "device-plugins"
        self.kubelet.mkdir()
        self.living: frozenset[str] = frozenset()
        self.permitted = v1.PermittedHostDevices()
        self.told: list[str] = []
        self.changes = 0
        self.nodes: dict[str, CharacterDevice] = {}
        self.folder = folder / "kv"
        self.folder.mkdir()
        self.devices = self.started()

    def started(self) -> PciDevices:
        """The node's devices as a handler has them that was just started."""
        return PciDevices(
            FakeKube((NETWORK_ATTACHMENT, definition({"vlan": 100}))),
            Node(self.folder, self.kubelet, self.kernel.sysfs, self.cards, lambda: self.living,
                 lambda made: self.nodes.update({device.path.name: device for device in made}), self._remove_others),
            permitted=lambda: self.permitted, changed=self._changed, tell=self.told.append)

    def _changed(self) -> None:
        self.changes += 1

    def _remove_others(self, folder: Path, names: Collection[str]) -> None:
        assert folder == self.folder / "devices/vfio"
        self.nodes = {name: device for name, device in self.nodes.items() if name in names}

    def configure(self, count: int = 2, **pool: object) -> None:
        self.devices.configure(json.dumps({"resourceList": [
            {"resourceName": "net1", "numVfs": count, "selectors": {"pfNames": ["eth1"]}, **pool}]}))

    def allocate(self, pod: str, *addresses: str) -> None:
        """The kubelet has given devices to a pod, whose processes run."""
        (self.kubelet / CHECKPOINT).write_bytes(checkpoint(entry(pod, RESOURCE, *addresses)))
        self.living = frozenset({pod})

    def listed(self) -> dict[str, tuple[Device, ...]]:
        return {offer.full_name: offer.listed for offer in self.devices.offered}

    def launcher(self, pod: str = POD) -> Launcher:
        return Launcher("ns/vm", vmi(), Process(pid=1, pod_uid=pod, netns=-1, death=-1))


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setattr(memlock, "allow", lambda process, size: None)
    return Stand(tmp_path)


async def test_one_look_makes_binds_and_offers_functions(stand: Stand) -> None:
    stand.configure(2)
    await stand.devices.look()
    assert stand.listed() == {RESOURCE: (Device(FIRST), Device(SECOND))}
    assert stand.changes == 1
    assert (stand.nodes["vfio"].major, stand.nodes["vfio"].minor) == (10, 196)
    assert {"12", "13"} <= set(stand.nodes)
    await stand.devices.look()
    assert stand.changes == 1, "nothing new, nobody told"


async def test_a_node_that_nothing_is_asked_of_is_not_looked_at(stand: Stand) -> None:
    stand.kernel.root.rename(stand.kernel.root.with_name("away"))
    await stand.devices.look()
    assert (stand.listed(), stand.told) == ({}, [])


async def test_permitted_devices_come_and_go_with_the_configuration(stand: Stand) -> None:
    stand.kernel.device("0000:07:00.0", "10de:1eb8", driver="vfio-pci")
    stand.permitted = v1.PermittedHostDevices(pci_host_devices=(
        v1.PciHostDevice(pci_vendor_selector="10de:1eb8", resource_name="nvidia.com/T4"),))
    await stand.devices.look()
    assert stand.listed() == {"nvidia.com/T4": (Device("0000:07:00.0"),)}
    assert len(stand.nodes) == 2
    stand.permitted = v1.PermittedHostDevices()
    await stand.devices.look()
    assert (stand.listed(), stand.changes, stand.nodes) == ({}, 2, {})


async def test_functions_of_a_network_are_no_host_devices(stand: Stand) -> None:
    stand.configure(1)
    stand.permitted = v1.PermittedHostDevices(pci_host_devices=(
        v1.PciHostDevice(pci_vendor_selector="8086:10ca", resource_name="example.com/any"),))
    await stand.devices.look()
    assert stand.listed() == {RESOURCE: (Device(FIRST),)}


async def test_a_guests_function_is_set_before_it_starts_and_reset_after(stand: Stand) -> None:
    stand.configure()
    await stand.devices.look()
    stand.allocate(POD, SECOND)
    (given,) = await stand.devices.prepare(vmi(mac_address=MAC), stand.launcher())
    assert (given.name, given.address, given.mac) == ("net1", SECOND, MAC)
    assert (stand.cards.of(1), stand.cards.of(0)) == (FunctionState(mac=MAC, vlan=100), NEUTRAL)
    await stand.devices.look()
    assert stand.cards.of(1).mac == MAC, "it lives"
    stand.living = frozenset()                              # killed, and the kubelet has not noticed
    await stand.devices.look()
    assert stand.cards.of(1) == NEUTRAL


async def test_a_handler_that_was_away_when_the_guest_ended_resets_too(stand: Stand, tmp_path: Path) -> None:
    stand.configure()
    await stand.devices.look()
    stand.cards.states["eth1", 0] = FunctionState(mac=MAC, vlan=7)
    await stand.devices.look()
    assert stand.cards.of(0) == NEUTRAL


async def test_a_function_whose_pool_is_gone_is_reset_when_its_guest_ends(stand: Stand) -> None:
    stand.configure()
    await stand.devices.look()
    stand.allocate(POD, FIRST)
    await stand.devices.prepare(vmi(mac_address=MAC), stand.launcher())
    stand.devices.configure("")
    await stand.devices.look()
    assert stand.listed() == {}
    assert stand.cards.of(0).mac == MAC, "it lives"
    stand.living = frozenset()
    await stand.devices.look()
    assert stand.cards.of(0) == NEUTRAL
    stand.kernel.root.rename(stand.kernel.root.with_name("away"))
    await stand.devices.look()
    assert stand.told == [], "nothing is left to look for"


async def test_a_function_whose_pool_is_gone_is_reset_by_the_next_handler_too(stand: Stand) -> None:
    stand.configure()
    await stand.devices.look()
    stand.allocate(POD, FIRST)
    await stand.devices.prepare(vmi(mac_address=MAC), stand.launcher())
    stand.devices = stand.started()
    await stand.devices.look()
    assert stand.cards.of(0).mac == MAC, "it lives"
    stand.living = frozenset()
    await stand.devices.look()
    assert stand.cards.of(0) == NEUTRAL


async def test_a_handler_resets_no_function_that_it_did_not_set(stand: Stand) -> None:
    """Another agent may have set it."""
    stand.configure()
    await stand.devices.look()
    stand.cards.states["eth1", 0] = FunctionState(mac=MAC)
    stand.devices = stand.started()
    await stand.devices.look()
    assert stand.cards.of(0).mac == MAC


async def test_a_device_that_a_pod_has_under_another_name_is_not_given_again(stand: Stand) -> None:
    """It was permitted as something else when the pod got it."""
    stand.kernel.device("0000:07:00.0", "10de:1eb8", driver="vfio-pci")
    (stand.kubelet / CHECKPOINT).write_bytes(checkpoint(entry(POD, "nvidia.com/old", "0000:07:00.0")))
    stand.living = frozenset({POD})
    stand.permitted = v1.PermittedHostDevices(pci_host_devices=(
        v1.PciHostDevice(pci_vendor_selector="10de:1eb8", resource_name="nvidia.com/T4"),))
    await stand.devices.look()
    assert stand.listed() == {"nvidia.com/T4": (Device("0000:07:00.0", is_healthy=False),)}
    stand.living = frozenset()
    await stand.devices.look()
    assert stand.listed() == {"nvidia.com/T4": (Device("0000:07:00.0"),)}


@pytest.mark.parametrize("external", [False, True])
async def test_memory_that_cannot_be_locked_matters_where_a_device_needs_it(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, external: bool
) -> None:
    def refuse(process: object, size: int) -> None:
        raise memlock.MemoryLockError("not here")

    monkeypatch.setattr(memlock, "allow", refuse)
    stand.permitted = v1.PermittedHostDevices(pci_host_devices=(
        v1.PciHostDevice(resource_name="x.com/card", external_resource_provider=external),))
    devices = v1.Devices(host_devices=(v1.HostDevice(name="a", device_name="x.com/card"),))
    asked = v1.VirtualMachineInstance(spec=v1.VirtualMachineInstanceSpec(domain=v1.DomainSpec(devices=devices)))
    if external:
        assert await stand.devices.prepare(asked, stand.launcher()) == ()
    else:
        with pytest.raises(memlock.MemoryLockError):
            await stand.devices.prepare(asked, stand.launcher())


async def test_functions_of_another_card_are_not_read_for_a_guest(stand: Stand) -> None:
    stand.kernel.card(SECOND_PF, "eth2")
    stand.devices.configure(json.dumps({"resourceList": [
        {"resourceName": f"net{number}", "numVfs": 2, "selectors": {"pfNames": [f"eth{number}"]}}
        for number in (1, 2)]}))
    await stand.devices.look()
    assert sorted(stand.cards.asked) == ["eth1", "eth2"]
    stand.cards.asked.clear()
    stand.allocate(POD, FIRST)
    await stand.devices.prepare(vmi(mac_address=MAC), stand.launcher())
    assert stand.cards.asked == ["eth1"]


async def test_what_a_guest_does_not_ask_for_is_taken_from_its_function(stand: Stand) -> None:
    """The former owner's VLAN and trust, although nobody has looked since."""
    stand.configure()
    await stand.devices.look()
    stand.cards.states["eth1", 0] = FunctionState(mac="02:00:00:00:00:01", vlan=7, trusted=True, spoof_check=False)
    stand.allocate(POD, FIRST)
    await stand.devices.prepare(vmi(mac_address=MAC), stand.launcher())
    assert stand.cards.of(0) == FunctionState(mac=MAC, vlan=100)


async def test_a_hundred_guests_leave_nothing(stand: Stand) -> None:
    stand.configure()
    await stand.devices.look()
    before = stand.listed()
    for number in range(100):
        pod = f"{number:08x}-0000-4000-8000-000000000000"
        stand.allocate(pod, FIRST if number % 2 else SECOND)
        await stand.devices.prepare(vmi(mac_address=MAC), stand.launcher(pod))
        stand.living = frozenset()
        await stand.devices.look()
        assert set(stand.cards.states.values()) == {NEUTRAL}
    assert (stand.listed(), stand.told) == (before, [])


async def test_a_mac_that_another_guest_has_is_refused(stand: Stand) -> None:
    stand.configure()
    await stand.devices.look()
    other = "1b8b2a3c-5f0e-4a5b-9d0c-1f2e3d4c5b6a"
    (stand.kubelet / CHECKPOINT).write_bytes(checkpoint(entry(other, RESOURCE, FIRST), entry(POD, RESOURCE, SECOND)))
    stand.living = frozenset({POD, other})
    await stand.devices.prepare(vmi(mac_address=MAC), stand.launcher(other))
    with pytest.raises(FunctionError, match=f"interface net1: MAC {MAC} is that of function 0 of network card eth1"):
        await stand.devices.prepare(vmi(mac_address=MAC), stand.launcher())
    assert stand.cards.of(1) == NEUTRAL


async def test_a_pool_of_another_name_does_not_give_a_guests_function_again(stand: Stand) -> None:
    """The kubelet counts the names apart, so it takes all functions of the new one for free."""
    stand.configure()
    await stand.devices.look()
    stand.allocate(POD, FIRST)
    stand.configure(resourceName="fast")
    await stand.devices.look()
    assert stand.listed() == {"intel.com/fast": (Device(FIRST, is_healthy=False), Device(SECOND))}
    stand.living = frozenset()
    await stand.devices.look()
    assert stand.listed() == {"intel.com/fast": (Device(FIRST), Device(SECOND))}


async def test_a_card_that_is_down_starts_no_guest(stand: Stand) -> None:
    stand.configure()
    await stand.devices.look()
    stand.allocate(POD, FIRST)
    stand.kernel.link(PF, "eth1", "down")
    with pytest.raises(FunctionError, match=r"interface net1 cannot use PCI device .* eth1 is down"):
        await stand.devices.prepare(vmi(), stand.launcher())
    await stand.devices.look()
    assert [device.is_healthy for device in stand.listed()[RESOURCE]] == [False, False]


async def test_a_function_that_vanished_under_its_pod_is_told(stand: Stand) -> None:
    stand.configure()
    await stand.devices.look()
    stand.allocate(POD, SECOND)
    stand.kernel.remove(SECOND)
    with pytest.raises(FunctionError, match=f"PCI device {SECOND} of interface net1 is no virtual function"):
        await stand.devices.prepare(vmi(), stand.launcher())


async def test_a_pod_without_its_device_gets_no_guest(stand: Stand) -> None:
    stand.configure()
    await stand.devices.look()
    with pytest.raises(FunctionError, match="missing PCI mapping"):
        await stand.devices.prepare(vmi(), stand.launcher())


async def test_a_network_that_does_not_exist_is_named(stand: Stand) -> None:
    asked = vmi()
    missing = v1.Network(name="net1", multus=v1.MultusNetwork(network_name="nowhere"))
    with pytest.raises(FunctionError, match="network attachment definition ns/nowhere does not exist"):
        await stand.devices.prepare(replace(asked, spec=replace(asked.spec, networks=(missing,))), stand.launcher())


async def test_a_checkpoint_that_cannot_be_read_keeps_all_as_it_is(stand: Stand) -> None:
    stand.configure(2)
    await stand.devices.look()
    (stand.kubelet / CHECKPOINT).write_text("{}")
    stand.cards.states["eth1", 0] = FunctionState(mac=MAC)
    stand.configure(1)
    await stand.devices.look()
    assert len(stand.listed()[RESOURCE]) == 2
    assert stand.cards.of(0).mac == MAC
    assert any("is not what it should be" in text for text in stand.told)


async def test_a_trouble_is_told_once_as_long_as_it_lasts(stand: Stand) -> None:
    stand.configure(9)
    await stand.devices.look()
    await stand.devices.look()
    assert [text for text in stand.told if "asks for 9" in text] == [stand.told[0]]
    stand.configure(7)
    await stand.devices.look()
    stand.configure(9)
    await stand.devices.look()
    assert len(stand.told) == 2


async def test_a_faulty_configuration_keeps_the_last_one(stand: Stand) -> None:
    stand.configure(2)
    await stand.devices.look()
    stand.devices.configure("{")
    await stand.devices.look()
    assert len(stand.listed()[RESOURCE]) == 2
    assert "config.json" in stand.told[0]


async def test_a_card_that_cannot_be_read_does_not_take_the_offer_away(stand: Stand) -> None:
    stand.configure(2)
    await stand.devices.look()
    stand.cards.error = CardError("the functions of network card eth1 cannot be read: x")
    await stand.devices.look()
    assert len(stand.listed()[RESOURCE]) == 2
    assert stand.told == ["the functions of network card eth1 cannot be read: x"]
