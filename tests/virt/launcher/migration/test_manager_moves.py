"""Requests of a migration on the launcher's manager."""

import asyncio
import os
import select
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.fakes.hypervisor import FakeHypervisor
from tests.virt.launcher.test_manager import NAME, SYNC, VMI, disks, hypervisor, manager, private, refused, status_of
from tests.waits import HANG_S, until
from virt.api import codec, names, v1
from virt.launcher import guestclock
from virt.launcher.libvirt_conn import JobProgress, NoAgent
from virt.launcher.manager import Manager
from virt.launcher.migration import outgoing
from virt.launcher.migration.policy import Step, Verdict
from virt.rpc.messages import (
    CancelMigration,
    DomainState,
    Done,
    GivenFunction,
    Migrate,
    MigrationPhase,
    MigrationReport,
    OpenMigrationPort,
    Pause,
    PrepareTarget,
    Unpause,
)

__all__ = ["disks", "hypervisor", "manager", "private"]        # fixtures

PREPARE = PrepareTarget(vmi=SYNC.vmi, interfaces=SYNC.interfaces, facts=SYNC.facts)


@pytest.fixture(autouse=True)
def sockets(private: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(names, "MIGRATION_DIR", str(private / "m"))
    monkeypatch.setattr(names, "LIBVIRT_SOCKET", str(private / "libvirt"))
    return private


async def test_a_target_waits_for_its_guest_and_has_it(
    manager: Manager, hypervisor: FakeHypervisor
) -> None:
    assert (await manager.serve(PREPARE, ())).answer == Done()
    assert (await manager.serve(PREPARE, ())).answer == Done()          # a handler that was restarted
    assert (manager.guest, manager.synced.is_set(), hypervisor.calls) == (None, True, [])
    assert Path(names.serial_socket(VMI.metadata.uid)).parent.is_dir()
    assert await refused(manager, Pause()) == "NotRunning"
    hypervisor.xml[NAME] = (
        "<domain type='kvm'><type machine='pc-q35-10.0'>hvm</type>"
        "<target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></domain>")
    hypervisor.become(NAME, DomainState.PAUSED, "Migration")
    await asyncio.sleep(0.02)
    assert (manager.guest, manager.is_expecting) == (None, True)
    hypervisor.become(NAME, DomainState.RUNNING)
    await until(lambda: manager.guest is not None and manager.status.state == DomainState.RUNNING)
    assert not manager.is_expecting
    status = manager.status
    assert (status.domain_name, status.machine, status.accelerator) == (NAME, "pc-q35-10.0", "kvm")
    assert [(disk.volume, disk.size) for disk in status.disks] == [("root", 1 << 20)]
    assert status.agent_connected


async def test_the_clock_of_a_guest_that_came_is_set_when_its_agent_answers(
    manager: Manager, hypervisor: FakeHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guestclock, "EVERY_S", 0.01)
    await manager.serve(PREPARE, ())
    hypervisor.xml[NAME] = "<domain type='kvm'><type machine='q35'>hvm</type></domain>"
    hypervisor.become(NAME, DomainState.RUNNING)
    await until(lambda: manager.guest is not None and manager.status.state == DomainState.RUNNING)
    await asyncio.sleep(0.03)
    assert "set_guest_time" not in hypervisor.calls
    hypervisor.refusals["set_guest_time"] = [NoAgent("it is not ready yet")]
    hypervisor.connect_agent(NAME, {})
    await until(lambda: hypervisor.calls.count("set_guest_time") == 2)
    await asyncio.sleep(0.03)
    assert hypervisor.calls.count("set_guest_time") == 2


async def test_a_target_opens_its_ports(manager: Manager, sockets: Path) -> None:
    await manager.serve(PREPARE, ())
    for port, path in ((0, names.LIBVIRT_SOCKET), (49152, names.migration_socket(49152))):
        server = await asyncio.start_unix_server(lambda _reader, writer: writer.write(b"hello"), path)
        _, fds = await manager.serve(OpenMigrationPort(port=port), ())
        await until(lambda fds=fds: select.select(fds, [], [], 0)[0])  # type: ignore[misc]
        assert os.read(fds[0], 10) == b"hello"
        os.close(fds[0])
        server.close()
    assert await refused(manager, OpenMigrationPort(port=49153)) == "NoDevice"


async def test_a_guest_leaves_and_the_launcher_ends(manager: Manager, hypervisor: FakeHypervisor) -> None:
    await status_of(manager)
    answer, fds = await manager.serve(Migrate(uid="m", copied=("root",)), ())
    assert (answer, len(fds)) == (Done(), 3)
    assert socket.socket(fileno=fds[1]).getsockname() == names.migration_socket(49152)
    for fd in (fds[0], fds[2]):
        os.close(fd)
    await until(lambda: hypervisor.migrations)
    assert hypervisor.migrations[0].copied == ("sda",)
    assert await refused(manager, Migrate(uid="n")) == "Internal"
    await until(lambda: manager.status.migration)
    hypervisor.depart()
    await asyncio.wait_for(manager.over.wait(), HANG_S)
    status = manager.status
    assert (status.state, status.reason) == (DomainState.SHUTOFF, "Migrated")
    assert status.migration is not None
    assert status.migration.phase is MigrationPhase.SUCCEEDED
    assert manager.guest is not None
    assert manager.guest.exit_code == 0


async def test_a_guest_that_does_not_leave_can_be_sent_again(
    manager: Manager, hypervisor: FakeHypervisor
) -> None:
    await status_of(manager)
    for uid in ("m", "n"):
        hypervisor.migrations.clear()
        _, fds = await manager.serve(Migrate(uid=uid), ())
        for fd in fds:
            os.close(fd)
        await until(lambda: hypervisor.migrations)
        await manager.serve(CancelMigration(uid="another"), ())
        assert "abort" not in hypervisor.calls
        await manager.serve(CancelMigration(uid=uid, reason="no"), ())
        await until(lambda: manager.status.migration and manager.status.migration.phase is MigrationPhase.ABORTED)
        assert manager.status.migration == MigrationReport(uid=uid, phase=MigrationPhase.ABORTED, reason="no")
        assert manager.status.state == DomainState.RUNNING
        hypervisor.calls.remove("abort")


async def test_a_guest_that_stands_still_for_its_migration_cannot_be_let_go(
    manager: Manager, hypervisor: FakeHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "LOOK_S", 0.01)
    monkeypatch.setattr(outgoing, "verdict", lambda _limits, _progress, course, _at_s: Verdict(
        Step.PAUSE if course.mode == "PreCopy" else Step.GO_ON))
    await status_of(manager)
    _, fds = await manager.serve(Migrate(uid="m"), ())
    for fd in fds:
        os.close(fd)
    await until(lambda: hypervisor.migrations)
    hypervisor.job = JobProgress(100, 100)
    await until(lambda: manager.status.migration and manager.status.migration.mode == "Paused")
    await until(lambda: (manager.status.state, manager.status.reason) == (DomainState.PAUSED, "Migration"))
    assert await refused(manager, Unpause()) == "NotRunning"
    await manager.serve(Pause(), ())
    await until(lambda: manager.status.reason == "User")
    hypervisor.depart("no")
    await until(lambda: manager.status.migration and manager.status.migration.phase is MigrationPhase.FAILED)
    await until(lambda: manager.status.reason == "User")           # its user wants it so
    await manager.serve(Unpause(), ())
    assert manager.status.state is DomainState.RUNNING


async def test_what_cannot_be_copied_is_refused(manager: Manager) -> None:
    await status_of(manager)
    assert await refused(manager, Migrate(uid="m", copied=("root", "other"))) == "InvalidSpec"
    assert await refused(manager, PREPARE) == "Internal"


async def test_a_guest_that_comes_gets_this_nodes_function(manager: Manager, hypervisor: FakeHypervisor) -> None:
    interface = v1.Interface(name="fast", sriov=v1.InterfaceSRIOV())
    network = v1.Network(name="fast", multus=v1.MultusNetwork(network_name="fast"))
    devices = replace(VMI.spec.domain.devices, interfaces=(interface,))
    vmi = replace(VMI, spec=replace(
        VMI.spec, domain=replace(VMI.spec.domain, devices=devices), networks=(network,)))
    function = GivenFunction(name="fast", address="0000:02:10.2", mac="02:00:00:00:00:01")
    await manager.serve(replace(PREPARE, vmi=codec.encode(vmi), functions=(function,)), ())
    assert "attach" not in hypervisor.calls
    hypervisor.xml[NAME] = "<domain type='kvm'><devices></devices></domain>"
    hypervisor.become(NAME, DomainState.RUNNING)
    await until(lambda: "ua-sriov-fast" in hypervisor.xml[NAME])
    assert '<address domain="0x0000" bus="0x02" slot="0x10" function="0x2"/>' in hypervisor.xml[NAME]
    assert hypervisor.xml[NAME].count("<hostdev") == 1
    assert manager.status.functions_missing == {}


async def test_a_function_that_is_refused_is_in_the_status(
    manager: Manager, hypervisor: FakeHypervisor
) -> None:
    await status_of(manager)
    assert manager.guest is not None
    await manager.guest.learn_missing({"fast": "group 7 is not viable"})
    assert manager.status.functions_missing == {"fast": "group 7 is not viable"}
