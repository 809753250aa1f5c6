"""Two handlers, one API server, launchers of thin air: a guest moves, and does not.

The sockets are real: what the source's libvirt and QEMU would say arrives at the target's.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.fakes.launcher import FakeLauncher
from tests.virt.handler.world import NODE, POD_UID, World, vmi
from tests.waits import HANG_S
from virt.api import conditions, names, v1
from virt.api.kinds import VMI
from virt.api.migrationstate import State
from virt.kube.client import ApiError
from virt.rpc.errors import RequestFailed
from virt.rpc.messages import (
    CancelMigration,
    Destroy,
    DomainState,
    DomainStatus,
    Migrate,
    MigrationPhase,
    MigrationReport,
    OpenMigrationPort,
    Pause,
    PrepareTarget,
    Unpause,
)

OTHER, OTHER_POD = "node2", "11111111-5f0e-4a5b-9d0c-1f2e3d4c5b6a"
RUNNING = DomainStatus(state=DomainState.RUNNING, machine="pc-q35-10.0", accelerator="tcg")


def moving(**state: object) -> v1.VirtualMachineInstance:
    """A running VMI right after the hand-over."""
    known = vmi("Running")
    handed = State(
        migration_uid="m", source_node=NODE, target_node=OTHER, **state)  # type: ignore[arg-type]
    return replace(
        known,
        metadata=replace(
            known.metadata, labels={**known.metadata.labels, names.MIGRATION_TARGET_NODE_LABEL: OTHER}),
        status=replace(known.status, active_pods={POD_UID: NODE, OTHER_POD: OTHER}, migration_state=handed),
    )


@asynccontextmanager
async def two_nodes(folder: Path, *, given: v1.VirtualMachineInstance) -> AsyncIterator[tuple[World, World]]:
    source = World(folder / "a", given)
    target = World(folder / "b", node=OTHER, kube=source.kube)
    target.pod = OTHER_POD
    async with source.running(), target.running():
        yield source, target


def state(world: World) -> State:
    found = world.stored.status.migration_state
    assert found is not None
    return found


async def dialled(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, path)
    return made


async def begun(source: World, target: World) -> tuple[FakeLauncher, FakeLauncher]:
    """Both launchers are there, and the source's has begun."""
    leaving, coming = await source.launcher(FakeLauncher(RUNNING)), await target.launcher()
    await source.until(lambda: [each for each in leaving.asked if isinstance(each, Migrate)])
    await leaving.becomes(replace(leaving.status, migration=MigrationReport(uid="m", phase=MigrationPhase.RUNNING)))
    await source.until(lambda: state(source).start_timestamp)
    return leaving, coming


async def test_a_guest_moves(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=moving()) as (source, target):
        leaving, coming = await begun(source, target)
        assert {type(each) for each in coming.asked} == {PrepareTarget}     # again after a lost race
        assert set(target.networks.wired) == {OTHER_POD}
        assert len(coming.sockets) == 1, "the DHCP socket"
        assert (state(source).target_node_address, state(source).migration_network_type) == ("127.0.0.1", "Pod")
        assert sorted(state(source).target_direct_migration_node_ports.values()) == [0, 49152]
        assert state(source).mode == "PreCopy"

        loop = asyncio.get_running_loop()
        with await dialled(leaving.migration_ports[49152]) as memory:
            await loop.sock_sendall(memory, b"pages" * 100_000)
            await target.until(lambda: 49152 in coming.migration_ends)
            end = coming.migration_ends[49152]
            end.setblocking(False)
            received = b""
            while len(received) < 500_000:
                received += await loop.sock_recv(end, 1 << 16)
            assert received == b"pages" * 100_000
            await loop.sock_sendall(end, b"thanks")
            assert await loop.sock_recv(memory, 100) == b"thanks"

            await leaving.becomes(replace(leaving.status, state=DomainState.PAUSED, reason="Migration"))
            await coming.becomes(RUNNING)
            await target.until(lambda: state(target).completed)
            # The source hears of it through the sockets: they must go on.
            await loop.sock_sendall(end, b"finished")
            assert await loop.sock_recv(memory, 100) == b"finished"
        assert await asyncio.wait_for(loop.sock_recv(end, 100), HANG_S) == b"", "the end is passed on"

        moved = target.stored
        assert (moved.status.node_name, moved.status.phase) == (OTHER, "Running")
        assert moved.metadata.labels[names.NODE_NAME_LABEL] == OTHER
        assert names.MIGRATION_TARGET_NODE_LABEL not in moved.metadata.labels
        found = state(target)
        assert found.target_node_domain_detected
        assert found.target_node_domain_ready_timestamp
        assert found.end_timestamp
        assert not found.failed
        await leaving.becomes(replace(
            leaving.status, state=DomainState.SHUTOFF, reason="Migrated",
            migration=MigrationReport(uid="m", phase=MigrationPhase.SUCCEEDED)))
        source.kill()
        await leaving.hang_up()
        await target.until(lambda: any(each.name == "default" for each in target.stored.status.interfaces))
        assert not [each for each in (*leaving.asked, *coming.asked) if isinstance(each, Destroy)]
        assert target.stored.status.phase == "Running"
        reasons = {reason for _, reason in await source.events()}
        assert {"PreparingTarget", "Migrating", "Migrated"} <= reasons


async def test_a_source_that_still_runs_after_the_move_is_destroyed(tmp_path: Path) -> None:
    """Its libvirt lost the connection at the worst moment and let the guest go on."""
    async with two_nodes(tmp_path, given=moving()) as (source, target):
        leaving, coming = await begun(source, target)
        await coming.becomes(RUNNING)
        await target.until(lambda: state(target).completed)
        await source.until(lambda: [each for each in leaving.asked if isinstance(each, Destroy)])
        assert not [each for each in coming.asked if isinstance(each, Destroy)]


async def test_a_migration_that_fails_leaves_the_guest(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=moving()) as (source, target):
        leaving, coming = await begun(source, target)
        await leaving.becomes(replace(
            leaving.status, migration=MigrationReport(uid="m", phase=MigrationPhase.FAILED, reason="reset")))
        await source.until(lambda: state(source).failed)
        found = state(source)
        assert (found.completed, found.failure_reason) == (True, "reset")
        assert (source.stored.status.phase, source.stored.status.node_name) == ("Running", NODE)
        # What arrives after all is not ours, and two must not run: also before the controller has tidied up.
        assert source.stored.metadata.labels[names.MIGRATION_TARGET_NODE_LABEL] == OTHER
        await coming.becomes(RUNNING)
        await target.until(lambda: [each for each in coming.asked if isinstance(each, Destroy)])
        assert source.stored.status.node_name == NODE
        assert not [each for each in leaving.asked if isinstance(each, Destroy)]
        assert ("Warning", "Migrated") in await source.events()


async def test_a_guest_that_was_paused_on_the_way_stays_so(tmp_path: Path) -> None:
    """libvirt knows only how it was when its migration began."""
    async with two_nodes(tmp_path, given=moving()) as (source, target):
        leaving, coming = await begun(source, target)
        await leaving.becomes(replace(leaving.status, state=DomainState.PAUSED, reason="User"))
        await source.until(lambda: conditions.is_true(source.stored.status.conditions, "Paused"))
        await coming.becomes(RUNNING)
        await target.until(lambda: state(target).completed)
        assert [each for each in coming.asked if not isinstance(each, PrepareTarget | OpenMigrationPort)] == [Pause()]
        paused = conditions.find(target.stored.status.conditions, "Paused")
        assert paused is not None
        assert paused.reason == "PausedByUser"


async def test_a_guest_that_is_to_stay_paused_is_paused_before_it_is_taken_over(tmp_path: Path) -> None:
    """Also when its launcher loses the connection just then."""
    async with two_nodes(tmp_path, given=moving()) as (source, target):
        leaving, coming = await begun(source, target)
        await leaving.becomes(replace(leaving.status, state=DomainState.PAUSED, reason="User"))
        await source.until(lambda: conditions.is_true(source.stored.status.conditions, "Paused"))
        await coming.becomes(RUNNING)
        await coming.hang_up()
        await asyncio.sleep(0.1)
        assert not state(target).completed
        coming.asked.clear()
        await coming.dial(target.socket)
        await target.until(lambda: state(target).completed)
        assert Pause() in coming.asked


async def test_a_guest_that_stands_still_for_its_migration_says_so(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=moving()) as (source, target):
        leaving, coming = await begun(source, target)
        report = MigrationReport(uid="m", phase=MigrationPhase.RUNNING, mode="Paused")
        await leaving.becomes(
            replace(leaving.status, state=DomainState.PAUSED, reason="Migration", migration=report))

        def reason() -> str:
            paused = conditions.find(source.stored.status.conditions, "Paused")
            return paused.reason if paused is not None else ""

        await source.until(lambda: reason() == "PausedByMigrationMonitor")
        assert state(source).mode == "Paused"
        await coming.becomes(RUNNING)
        await target.until(lambda: state(target).completed and not reason())
        assert state(target).mode == "Paused"
        assert not [each for each in coming.asked if isinstance(each, Pause)]


async def test_a_guest_that_was_left_standing_goes_on(tmp_path: Path) -> None:
    """The daemon of libvirt died between the end of the copy and the word of the target."""
    from virt.handler.vmi import plan

    async with two_nodes(tmp_path, given=moving()) as (source, target):
        leaving, _ = await begun(source, target)
        lost = MigrationReport(uid="m", phase=MigrationPhase.FAILED, reason="libvirt's daemon ended")
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(plan, "RESUME_S", (0.01,))
            await leaving.becomes(
                replace(leaving.status, state=DomainState.PAUSED, reason="Migration", migration=lost))
            await source.until(lambda: state(source).failed)
            await asyncio.sleep(0.02)
            source.change(guest_os_info=None, machine=v1.Machine(type="look again"))
            await source.until(lambda: [each for each in leaving.asked if isinstance(each, Unpause)])
            assert source.stored.status.phase == "Running"


async def test_time_without_an_api_server_is_not_the_targets_fault(tmp_path: Path) -> None:
    from virt.handler.vmi import plan

    given = moving(target_node_address="127.0.0.1", start_timestamp="2026-01-01T00:00:00Z")
    left = DomainStatus(
        state=DomainState.SHUTOFF, reason="Migrated",
        migration=MigrationReport(uid="m", phase=MigrationPhase.SUCCEEDED))
    async with two_nodes(tmp_path, given=given) as (source, _):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(plan, "LEFT_S", 0.3)
            patched.setattr(source.kube, "get", unreachable)
            await source.launcher(FakeLauncher(left))
            for _ in range(8):
                await asyncio.sleep(0.1)
                source.controller.queue.add("ns/vm")
            assert source.stored.status.phase == "Running"


async def unreachable(*_: object) -> None:
    raise ApiError(503, "Unreachable", "no route to host")


async def test_an_abort_reaches_the_launcher(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=moving()) as (source, target):
        leaving, _ = await begun(source, target)
        source.change(migration_state=replace(state(source), abort_requested=True))
        await source.until(lambda: CancelMigration(uid="m", reason="Live migration has been aborted") in leaving.asked)
        await source.until(lambda: state(source).abort_status == "Aborting")
        await leaving.becomes(replace(
            leaving.status, migration=MigrationReport(uid="m", phase=MigrationPhase.ABORTED, reason="x")))
        await source.until(lambda: state(source).abort_status == "Succeeded")
        assert state(source).failure_reason == "Live migration has been aborted"


async def test_a_target_that_cannot_be_made_ready_fails_the_migration(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=moving()) as (source, target):
        coming = FakeLauncher()
        coming.refuse[PrepareTarget] = RequestFailed("InvalidSpec", "volume root: no such image")
        await target.launcher(coming)
        await source.until(lambda: state(source).failed)
        assert "volume root: no such image" in state(source).failure_reason
        assert source.stored.status.phase == "Running"


async def test_suites_can_hold_a_migration_up(tmp_path: Path) -> None:
    given = moving()
    given = replace(given, metadata=replace(given.metadata, annotations={
        names.BLOCK_TARGET_ANNOTATION: "", names.FAIL_MIGRATION_ANNOTATION: ""}))
    async with two_nodes(tmp_path, given=given) as (source, target):
        await source.launcher(FakeLauncher(RUNNING))
        coming = await target.launcher()
        await asyncio.sleep(0.1)
        assert (coming.asked, state(source).target_node_address) == ([], "")
        known = source.stored
        source.kube.put(VMI, replace(known, metadata=replace(
            known.metadata, annotations={names.FAIL_MIGRATION_ANNOTATION: ""})))
        await source.until(lambda: state(source).failed)
        assert names.FAIL_MIGRATION_ANNOTATION in state(source).failure_reason
        assert state(source).target_node_address, "it was made ready first"


async def test_a_launcher_of_an_older_release_does_not_migrate(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=moving(target_node_address="127.0.0.1")) as (source, _):
        fake = FakeLauncher(RUNNING)
        fake.version = 1
        await source.launcher(fake)
        await source.until(lambda: state(source).failed)
        assert "too old" in state(source).failure_reason
        assert not [each for each in fake.asked if isinstance(each, Migrate)]


async def test_a_guest_that_left_and_never_came_is_lost(tmp_path: Path, monkeypatch: object) -> None:
    from virt.handler.vmi import plan

    given = moving(target_node_address="127.0.0.1", start_timestamp="2026-01-01T00:00:00Z")
    left = DomainStatus(
        state=DomainState.SHUTOFF, reason="Migrated",
        migration=MigrationReport(uid="m", phase=MigrationPhase.SUCCEEDED))
    async with two_nodes(tmp_path, given=given) as (source, _):
        await source.launcher(FakeLauncher(left))
        await asyncio.sleep(0.1)
        assert source.stored.status.phase == "Running"
        monkeypatch.setattr(plan, "LEFT_S", 0.01)  # type: ignore[attr-defined]
        source.kube.put(VMI, replace(source.stored, metadata=replace(
            source.stored.metadata, annotations={"look": "again"})))
        await source.phase("Failed")


async def test_a_guest_between_two_caches_is_left_alone(tmp_path: Path) -> None:
    """The VMI has moved here, and neither cache says so yet: only the API server counts."""
    known = moving()
    moved = replace(known, metadata=replace(known.metadata, labels={names.NODE_NAME_LABEL: OTHER}),
                    status=replace(known.status, node_name=OTHER))
    async with two_nodes(tmp_path, given=moved) as (_, target):
        coming = await target.launcher(FakeLauncher(RUNNING))
        await target.until(lambda: target.launchers.of_key("ns/vm"))
        target.vmis.store.remove("ns/vm")
        target.controller.queue.add("ns/vm")
        await asyncio.sleep(0.1)
        assert not [each for each in coming.asked if isinstance(each, Destroy)]
