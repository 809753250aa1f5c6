"""The node's loop as a whole: what launchers and objects do, and what becomes of VMIs."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.fakes.launcher import FakeLauncher
from tests.virt.handler.world import MAC, POD_IP, POD_UID, World, vmi
from virt.api import conditions, core, names, v1
from virt.api.kinds import POD, VMI
from virt.handler.net.model import NetworkPlanError
from virt.handler.pci.assignment import FunctionError
from virt.handler.vmi import controller, look
from virt.kube.client import ConflictError
from virt.rpc.errors import RequestFailed
from virt.rpc.messages import (
    Destroy,
    DiskError,
    DiskTarget,
    DomainState,
    DomainStatus,
    GivenFunction,
    GuestInterface,
    Shutdown,
    SyncVmi,
)

RUNNING = DomainStatus(state=DomainState.RUNNING, machine="pc-q35-10.0", accelerator="kvm")


async def test_a_launcher_gets_its_vmi_and_the_vmi_runs(tmp_path: Path) -> None:
    async with World(tmp_path, vmi()).running() as world:
        fake = await world.launcher()
        status = (await world.phase("Running")).status
        assert [type(request) for request in fake.asked] == [SyncVmi]
        assert len(fake.sockets) == 1
        assert [entry.phase for entry in status.phase_transition_timestamps] == ["Scheduled", "Running"]
        interface, = status.interfaces
        assert (interface.name, interface.mac, interface.ip_address) == ("default", MAC, POD_IP)
        assert interface.ip_addresses == (POD_IP, "fd00::7")
        assert (interface.info_source, interface.queue_count, interface.pod_interface_name) == ("domain", 1, "eth0")
        assert conditions.is_true(status.conditions, "SoftwareEmulation")
        assert conditions.is_true(status.conditions, "LiveMigratable")
        assert status.machine is not None
        assert status.machine.type == "pc-q35-10.0"
        assert await world.events() == [("Normal", "Created"), ("Normal", "Started")]
        assert sum(call.plural == "virtualmachineinstances" for call in world.kube.writes) == 1


async def test_a_guest_gets_its_function_and_its_status_tells_of_it(tmp_path: Path) -> None:
    world = World(tmp_path, vmi(
        domain=v1.DomainSpec(devices=v1.Devices(interfaces=(v1.Interface(name="fast", sriov=v1.InterfaceSRIOV()),))),
        networks=(v1.Network(name="fast", multus=v1.MultusNetwork(network_name="fast")),)))
    function = GivenFunction(name="fast", address="0000:01:10.0", mac="de:ad:00:00:be:ef")
    world.devices.given = (function,)
    async with world.running():
        fake = await world.launcher()
        await world.phase("Running")
        (request,) = fake.asked
        assert isinstance(request, SyncVmi)
        assert (request.functions, request.interfaces) == ((function,), ())
        guest = GuestInterface(name="eth1", mac="DE:AD:00:00:BE:EF", ips=("192.0.2.7",))
        await fake.becomes(replace(RUNNING, guest_interfaces=(guest,)))
        await world.until(lambda: world.stored.status.interfaces[0].interface_name)
        status = world.stored.status
        (interface,) = status.interfaces
        assert (interface.name, interface.mac, interface.info_source) == (
            "fast", "de:ad:00:00:be:ef", "domain, guest-agent")
        assert (interface.ip_address, interface.queue_count, interface.link_state) == ("192.0.2.7", 0, "")
        assert interface.pod_interface_name.startswith("pod")
        assert conditions.is_true(status.conditions, "LiveMigratable")


async def test_a_guest_whose_device_is_not_there_does_not_start(tmp_path: Path) -> None:
    world = World(tmp_path, vmi())
    world.devices.error = FunctionError("missing PCI mapping: x")
    async with world.running():
        fake = await world.launcher()
        await world.until(lambda: conditions.find(world.stored.status.conditions, "Synchronized"))
        found = conditions.find(world.stored.status.conditions, "Synchronized")
        assert found is not None
        assert (found.status, found.message) == ("False", "missing PCI mapping: x")
        assert (fake.asked, world.stored.status.phase) == ([], "Scheduled")
        world.devices.error = None
        await world.phase("Running")


async def test_a_guest_starts_before_its_vmi_is_scheduled_and_runs_when_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "EARLY_AGAIN_S", 0.05)
    async with World(tmp_path, vmi("Scheduling")).running() as world:
        fake = FakeLauncher()
        fake.refuse[SyncVmi] = RequestFailed("Timeout", "its disk container does not answer")
        await world.launcher(fake)
        await world.until(lambda: len(fake.asked) >= 2)      # the first is refused
        await world.until(lambda: fake.status.state is DomainState.RUNNING)
        written = [call for call in world.kube.writes if call.plural == "virtualmachineinstances"]
        assert not written, "until then all is the controller's"
        world.change(phase="Scheduled")
        await world.phase("Running")
        assert await world.events() == [("Normal", "Created"), ("Normal", "Started")]


async def test_a_pod_that_no_vmi_has_waits_and_is_served_at_once_when_it_has(tmp_path: Path) -> None:
    world = World(tmp_path, vmi())
    world.pod = "11111111-5f0e-4a5b-9d0c-1f2e3d4c5b6a"
    async with world.running():
        fake = await world.launcher()
        await asyncio.sleep(0.1)
        assert not fake.asked
        world.change(active_pods={world.pod: "node1"})
        await world.phase("Running")


async def test_a_launcher_is_dropped_once(tmp_path: Path) -> None:
    """Steps: drop one; have its descriptors' numbers given out anew; drop it again, as a pass may that still has it."""
    async with World(tmp_path, vmi()).running() as world:
        await world.launcher()
        await world.phase("Running")
        launcher = world.launchers.of(world.stored)
        assert launcher is not None
        numbers = (launcher.process.netns, launcher.process.death)
        with Path(os.devnull).open() as other:
            world.launchers.drop(launcher)
            for number in numbers:
                os.dup2(other.fileno(), number)
            world.launchers.drop(launcher)
            for number in numbers:
                os.close(number)            # raises where somebody has closed it


async def test_a_pod_of_another_node_is_turned_away(tmp_path: Path) -> None:
    world = World(tmp_path, vmi(), unknown_deadline_s=0.2)
    async with world.running():
        world.change(active_pods={POD_UID: "node2"})
        fake = await world.launcher()
        await fake.until_closed()
        assert not fake.asked
        assert world.stored.status.phase == "Scheduled"


async def test_sockets_are_given_once_and_a_refusal_is_told_until_it_works(tmp_path: Path) -> None:
    async with World(tmp_path, vmi()).running() as world:
        fake = FakeLauncher()
        fake.refuse[SyncVmi] = RequestFailed("Internal", "no disk 'x'")
        await world.launcher(fake)
        status = (await world.phase("Running")).status
        assert len(fake.asked) == 2
        assert len(fake.sockets) == 1
        assert conditions.find(status.conditions, "Synchronized") is None
        assert ("Warning", "SyncFailed") in await world.events()
        told = [call.body["status"]["conditions"] for call in world.kube.writes
                if call.plural == "virtualmachineinstances" and "phase" not in call.body["status"]]
        assert [entry["message"] for entry in told[0] if entry["type"] == "Synchronized"] == ["no disk 'x'"]


async def test_a_disk_that_got_less_room_is_told(tmp_path: Path) -> None:
    async with World(tmp_path, vmi()).running() as world:
        disks = (
            DiskTarget(volume="a", target="vda", size=9, short_of=10), DiskTarget(volume="b", target="vdb", size=9))
        await world.launcher(FakeLauncher(DomainStatus(state=DomainState.NONE, disks=disks)))
        await world.phase("Running")
        assert [event for event in await world.events() if event[1] == "ToleratedSmallPV"] == [
            ("Normal", "ToleratedSmallPV")]


async def test_an_impossible_network_fails_the_vmi(tmp_path: Path) -> None:
    world = World(tmp_path, vmi())
    world.networks.error = NetworkPlanError("VM CIDR subnet is too small: 10.1.1.0/31")
    async with world.running():
        await world.launcher()
        await world.phase("Failed")
        assert await world.events() == [("Warning", "SyncFailed")]


async def test_a_lost_race_is_tried_again_without_a_second_start(tmp_path: Path) -> None:
    world = World(tmp_path, vmi())
    world.kube.fail("patch", "virtualmachineinstances", ConflictError(409, "Conflict", "lost"))
    async with world.running():
        fake = await world.launcher()
        await world.phase("Running")
        assert len(fake.asked) == 1
        assert await world.events() == [("Normal", "Created"), ("Normal", "Started")]


async def test_a_deleted_vmi_is_asked_to_end_then_cleared_away(tmp_path: Path) -> None:
    async with World(tmp_path, vmi()).running() as world:
        fake = await world.launcher()
        await world.phase("Running")
        await world.delete()
        await world.phase("Succeeded")
        assert [type(request) for request in fake.asked] == [SyncVmi, Shutdown]
        await fake.hang_up()
        world.kill()
        await world.until(lambda: world.networks.forgotten == [POD_UID])
        assert [reason for _, reason in await world.events()] == [
            "Created", "Started", "ShuttingDown", "Stopped", "Deleted"]


async def test_without_grace_the_guest_is_destroyed_and_that_is_no_failure(tmp_path: Path) -> None:
    async with World(tmp_path, vmi(termination_grace_period_seconds=0)).running() as world:
        fake = await world.launcher()
        await world.phase("Running")
        await world.delete()
        await world.phase("Succeeded")
        assert [type(request) for request in fake.asked] == [SyncVmi, Destroy]


async def test_a_guest_that_does_not_obey_is_destroyed_when_its_grace_is_over(tmp_path: Path) -> None:
    async with World(tmp_path, vmi(termination_grace_period_seconds=600)).running() as world:
        fake = await world.launcher(FakeLauncher(obeys=False))
        await world.phase("Running")
        await world.delete()
        await world.until(lambda: Shutdown() in fake.asked)
        world.clock.ahead_s = 601
        world.controller.queue.add("ns/vm")
        await world.phase("Failed")
        assert [type(request) for request in fake.asked] == [SyncVmi, Shutdown, Destroy]


async def test_a_crash_is_told_as_one(tmp_path: Path) -> None:
    async with World(tmp_path, vmi()).running() as world:
        fake = await world.launcher()
        await world.phase("Running")
        await fake.becomes(DomainStatus(state=DomainState.SHUTOFF, reason="Crashed"))
        await fake.hang_up()
        world.kill()
        await world.phase("Failed")
        assert ("Warning", "Stopped") in await world.events()


async def test_a_launcher_that_dies_without_a_word_fails_its_vmi(tmp_path: Path) -> None:
    async with World(tmp_path, vmi()).running() as world:
        fake = await world.launcher()
        await world.phase("Running")
        world.kill()
        await fake.hang_up()
        await world.phase("Failed")
        assert ("Warning", "Stopped") in await world.events()


async def test_a_lost_connection_is_not_the_end(tmp_path: Path) -> None:
    async with World(tmp_path, vmi()).running() as world:
        fake = await world.launcher()
        await world.phase("Running")
        await fake.hang_up()
        await asyncio.sleep(0.1)
        assert world.stored.status.phase == "Running"
        await fake.dial(world.socket)
        await fake.becomes(DomainStatus(state=DomainState.SHUTOFF, reason="Shutdown"))
        await world.phase("Succeeded")


async def test_a_new_handler_finds_running_guests_and_changes_nothing(tmp_path: Path) -> None:
    async with World(tmp_path / "one", vmi()).running() as world:
        await world.launcher()
        before = await world.phase("Running")
    again = World(tmp_path / "two", before)
    async with again.running():
        fake = await again.launcher(FakeLauncher(DomainStatus(
            state=DomainState.RUNNING, reason="Booted", machine="pc-q35-10.0", accelerator="tcg")))
        await asyncio.sleep(0.2)
        assert not fake.asked
        assert not again.kube.writes
        await again.delete()
        await again.phase("Succeeded")


async def test_a_guest_that_an_earlier_handler_started_becomes_running(tmp_path: Path) -> None:
    async with World(tmp_path, vmi()).running() as world:
        fake = await world.launcher(FakeLauncher(RUNNING))
        status = (await world.phase("Running")).status
        assert not fake.asked
        assert status.interfaces[0].ip_address == POD_IP


async def test_agent_pause_and_disk_errors_show(tmp_path: Path) -> None:
    async with World(tmp_path, vmi()).running() as world:
        fake = await world.launcher()
        await world.phase("Running")
        await fake.tell(DiskError(volume="data", reason="enospc"))
        await fake.becomes(DomainStatus(
            state=DomainState.PAUSED, reason="IOError", agent_connected=True, guest_os={"name": "Debian"},
            guest_interfaces=(GuestInterface(name="eth0", mac=MAC, ips=("10.0.2.2",)),
                              GuestInterface(name="veth0", mac="02:00:00:00:00:09", ips=("192.0.2.1",))),
        ))
        await world.until(lambda: conditions.is_true(world.stored.status.conditions, "AgentConnected"))
        status = world.stored.status
        paused = conditions.find(status.conditions, "Paused")
        assert paused is not None
        assert paused.reason == "PausedIOError"
        assert status.guest_os_info is not None
        assert status.guest_os_info.name == "Debian"
        first, second = status.interfaces
        assert (first.ip_address, first.interface_name, first.info_source) == (
            POD_IP, "eth0", "domain, guest-agent")
        assert (second.name, second.ip_address, second.info_source) == ("", "192.0.2.1", "guest-agent")
        assert ("Warning", "IOerror") in await world.events()
        await fake.becomes(RUNNING)
        await world.until(lambda: conditions.find(world.stored.status.conditions, "AgentConnected") is None)
        assert world.kube.peek(VMI, "vm", "ns").status.guest_os_info is None  # type: ignore[union-attr]


@pytest.mark.parametrize(("pod_phase", "phase"), [("Succeeded", "Succeeded"), ("Failed", "Failed")])
async def test_an_end_that_no_handler_saw_is_read_from_the_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pod_phase: str, phase: str
) -> None:
    monkeypatch.setattr(look, "PROCESS_CHECK_AFTER_S", 0.0)
    world = World(tmp_path, vmi("Running"))
    world.living_pods = frozenset()
    world.kube.put(POD, core.Pod(
        metadata=core.ObjectMeta(
            name="virt-launcher-vm", namespace="ns", uid=POD_UID, labels={names.CREATED_BY_LABEL: "vmi-uid"}),
        status=core.PodStatus(phase=pod_phase),
    ))
    async with world.running():
        ended = await world.phase(phase)
        assert [entry.phase for entry in ended.status.phase_transition_timestamps] == ["Running", phase]


async def test_a_silent_launcher_whose_pod_lives_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "PROCESS_CHECK_AFTER_S", 0.0)
    async with World(tmp_path, vmi("Running")).running() as world:
        await asyncio.sleep(0.2)
        assert not world.kube.writes


async def test_last_words_that_come_while_a_status_is_written_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pass that writes knows nothing of them, so the launcher must not be forgotten with it."""
    monkeypatch.setattr(look, "PROCESS_CHECK_AFTER_S", 0.0)
    world = World(tmp_path, vmi())
    patch, is_held, goes_on = world.kube.patch, asyncio.Event(), asyncio.Event()

    async def slow(*given: Any, **options: Any) -> Any:
        if not is_held.is_set():
            is_held.set()
            await goes_on.wait()
        return await patch(*given, **options)

    async with world.running():
        fake = await world.launcher()
        await world.phase("Running")
        monkeypatch.setattr(world.kube, "patch", slow)
        await fake.becomes(replace(fake.status, agent_connected=True))
        await is_held.wait()
        await fake.becomes(DomainStatus(state=DomainState.SHUTOFF, reason="Shutdown"))
        await fake.hang_up()
        world.living_pods = frozenset()
        world.kill()
        await world.until(lambda: all(launcher.has_ended for launcher in world.launchers))
        goes_on.set()
        await world.until(lambda: world.stored.status.phase != "Running")
        assert world.stored.status.phase == "Succeeded"
