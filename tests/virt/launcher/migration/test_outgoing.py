"""A guest that leaves, on the fake hypervisor."""

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.hypervisor import FakeHypervisor
from tests.waits import HANG_S, until
from virt.launcher.libvirt_conn import HypervisorError, JobProgress
from virt.launcher.migration import functions as functions_of_guest
from virt.launcher.migration import outgoing, release
from virt.launcher.migration.functions import Functions
from virt.launcher.migration.outgoing import Outgoing
from virt.launcher.migration.policy import FIRST_DOWNTIME_MS, Step, Verdict
from virt.rpc.messages import DomainState, Migrate, MigrationLimits, MigrationPhase, MigrationReport

NAME = "ns_vm"
Begin = Callable[[Migrate], Awaitable[Outgoing]]


@pytest.fixture
async def hypervisor(monkeypatch: pytest.MonkeyPatch) -> FakeHypervisor:
    monkeypatch.setattr(outgoing, "LOOK_S", 0.01)
    made = FakeHypervisor()
    await made.create(f"<domain><name>{NAME}</name></domain>")
    return made


@pytest.fixture
def told() -> list[MigrationReport]:
    return []


@pytest.fixture
async def begin(hypervisor: FakeHypervisor, told: list[MigrationReport]) -> AsyncIterator[Begin]:
    with tempfile.TemporaryDirectory() as folder:        # tmp_path is too long for a socket's path

        async def tell(report: MigrationReport) -> None:
            told.append(report)

        async def begun(request: Migrate) -> Outgoing:
            made = Outgoing(
                hypervisor, NAME, request, {"root": "vda"}, tell, socket_path=lambda port: f"{folder}/{port}.sock")
            fds = made.begin()
            for fd, port in zip(fds, (0, 49152, 49153), strict=False):
                assert socket.socket(fileno=os.dup(fd)).getsockname() == f"{folder}/{port}.sock"
                os.close(fd)
            assert sorted(path.name for path in Path(folder).iterdir())[-1] == (
                "49153.sock" if request.copied else "49152.sock")
            while not hypervisor.migrations:
                await asyncio.sleep(0.001)
            return made

        yield begun


async def test_a_guest_leaves(begin: Begin, hypervisor: FakeHypervisor, told: list[MigrationReport]) -> None:
    made = await begin(Migrate(uid="m1", copied=("root",), limits=MigrationLimits(max_downtime_ms=700)))
    request = hypervisor.migrations[0]
    assert (request.copied, request.memory[-10:], request.disks[-10:]) == (("vda",), "49152.sock", "49153.sock")
    hypervisor.job = JobProgress(100, 40)
    async with asyncio.timeout(HANG_S):
        while made.report.remaining != 40:
            await asyncio.sleep(0.001)
    hypervisor.depart()
    await made.wait()
    assert [report.phase for report in told] == [MigrationPhase.RUNNING, MigrationPhase.SUCCEEDED]


async def test_the_guest_stands_still_no_longer_than_it_needs(begin: Begin, hypervisor: FakeHypervisor) -> None:
    """The first limit is in force before any memory was sent."""
    made = await begin(Migrate(uid="m1", limits=MigrationLimits(max_downtime_ms=700)))
    calls = hypervisor.calls
    assert calls.index("set_max_downtime") < calls.index("migrate")
    assert hypervisor.max_downtime_ms == FIRST_DOWNTIME_MS
    hypervisor.refusals["set_max_downtime"] = [HypervisorError("busy")]
    hypervisor.job = JobProgress(100, 40, passes=20)
    async with asyncio.timeout(HANG_S):
        while hypervisor.max_downtime_ms != 700:
            await asyncio.sleep(0.001)
    hypervisor.depart()
    await made.wait()
    assert hypervisor.calls.count("set_max_downtime") == 3, "asked for what was set already"


async def test_without_a_limit_the_default_stays(begin: Begin, hypervisor: FakeHypervisor) -> None:
    made = await begin(Migrate(uid="m1"))
    hypervisor.job = JobProgress(100, 40, passes=20)
    async with asyncio.timeout(HANG_S):
        while made.report.remaining != 40:
            await asyncio.sleep(0.001)
    hypervisor.depart()
    await made.wait()
    assert "set_max_downtime" not in hypervisor.calls


async def test_what_libvirt_says_is_the_reason(
    begin: Begin, hypervisor: FakeHypervisor, told: list[MigrationReport]
) -> None:
    made = await begin(Migrate(uid="m1"))
    hypervisor.depart("Unable to read from monitor: Connection reset by peer")
    await made.wait()
    assert made.is_over
    assert (told[-1].phase, told[-1].reason) == (
        MigrationPhase.FAILED, "Unable to read from monitor: Connection reset by peer")


@pytest.mark.parametrize(("state", "why", "reason"), [
    (DomainState.SHUTDOWN, "", "the guest has shut down on the way: Unable to read from monitor"),
    (DomainState.SHUTOFF, "Shutdown", "the guest has shut down on the way: Unable to read from monitor"),
    (DomainState.SHUTOFF, "Crashed", "the guest has ended (Shutoff Crashed) on the way: Unable to read from monitor"),
    (DomainState.NONE, "", "the guest has ended (NoState) on the way: Unable to read from monitor"),
    (DomainState.PAUSED, "User", "Unable to read from monitor"),
])
async def test_a_guest_that_ended_on_the_way_is_the_reason(
    begin: Begin, hypervisor: FakeHypervisor, told: list[MigrationReport], state: DomainState, why: str, reason: str
) -> None:
    made = await begin(Migrate(uid="m1"))
    hypervisor.become(NAME, state, why)
    hypervisor.depart("Unable to read from monitor")
    await made.wait()
    assert (told[-1].phase, told[-1].reason) == (MigrationPhase.FAILED, reason)


async def test_an_abort_that_was_asked_for(
    begin: Begin, hypervisor: FakeHypervisor, told: list[MigrationReport]
) -> None:
    made = await begin(Migrate(uid="m1"))
    await made.cancel("Live migration has been aborted")
    await made.wait()
    assert (told[-1].phase, told[-1].reason) == (MigrationPhase.ABORTED, "Live migration has been aborted")


async def test_one_that_does_not_converge_is_given_up(
    begin: Begin, hypervisor: FakeHypervisor, told: list[MigrationReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "verdict", lambda *_: Verdict(Step.GIVE_UP, "stuck"))
    made = await begin(Migrate(uid="m1"))
    hypervisor.job = JobProgress(100, 100)
    await made.wait()
    assert (told[-1].phase, told[-1].reason) == (MigrationPhase.ABORTED, "stuck")
    assert "abort" in hypervisor.calls


async def _unheard(_domain: str) -> None:
    """An abort that libvirt takes to heart once its peer has answered, which is out of reach."""


@pytest.mark.parametrize(("state", "mode", "expected"), [
    (DomainState.RUNNING, "PreCopy", True), (DomainState.PAUSED, "PreCopy", False),
    (DomainState.RUNNING, "PostCopy", False),
])
async def test_one_that_is_given_up_in_vain_is_told_of_where_the_guest_runs_here(
    begin: Begin, hypervisor: FakeHypervisor, told: list[MigrationReport], monkeypatch: pytest.MonkeyPatch,
    state: DomainState, mode: str, expected: bool,
) -> None:
    monkeypatch.setattr(outgoing, "STUCK_S", 0.02)
    monkeypatch.setattr(hypervisor, "abort_migration", _unheard)
    made = await begin(Migrate(uid="m1", limits=MigrationLimits(may_post_copy=True)))
    if mode == "PostCopy":
        _late(monkeypatch, Step.POST_COPY)
        hypervisor.job = JobProgress(100, 100)
        await until(lambda: made.report.mode == mode)
    hypervisor.become(NAME, state, "Migration" if state is DomainState.PAUSED else "")
    await asyncio.sleep(0.05)
    assert not made.report.is_stuck
    await made.cancel("no")
    await asyncio.sleep(0.1)
    assert (made.report.is_stuck, made.report.phase) == (expected, MigrationPhase.RUNNING)
    assert [report.is_stuck for report in told].count(True) == int(expected)
    hypervisor.depart("Connection reset by peer")
    await made.wait()
    assert (told[-1].phase, told[-1].reason) == (MigrationPhase.ABORTED, "no")


def _late(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    """What is decided as long as the guest is in pre-copy."""
    monkeypatch.setattr(outgoing, "verdict", lambda _limits, _progress, course, _at_s: Verdict(
        step if course.mode == "PreCopy" else Step.GO_ON))


async def test_a_guest_is_paused_so_that_it_leaves(
    begin: Begin, hypervisor: FakeHypervisor, told: list[MigrationReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    _late(monkeypatch, Step.PAUSE)
    made = await begin(Migrate(uid="m1"))
    hypervisor.job = JobProgress(100, 100)
    async with asyncio.timeout(HANG_S):
        while len(told) < 2:
            await asyncio.sleep(0.001)
    assert (told[-1].mode, told[-1].phase, made.holds_guest) == ("Paused", MigrationPhase.RUNNING, True)
    assert hypervisor.states[NAME][0] is DomainState.PAUSED
    hypervisor.depart()
    await made.wait()
    assert (told[-1].mode, told[-1].phase, made.holds_guest) == ("Paused", MigrationPhase.SUCCEEDED, False)
    assert "resume" not in hypervisor.calls


@pytest.mark.parametrize("is_kept", [False, True])
async def test_a_guest_that_was_paused_for_nothing_goes_on(
    begin: Begin, hypervisor: FakeHypervisor, told: list[MigrationReport], monkeypatch: pytest.MonkeyPatch,
    is_kept: bool,
) -> None:
    """Unless its user wants it paused anyway."""
    _late(monkeypatch, Step.PAUSE)
    made = await begin(Migrate(uid="m1"))
    hypervisor.job = JobProgress(100, 100)
    async with asyncio.timeout(HANG_S):
        while not made.holds_guest:
            await asyncio.sleep(0.001)
    made.keep_paused(is_kept)
    hypervisor.depart("Lost connection to destination host")
    await made.wait()
    assert hypervisor.states[NAME][0] is (DomainState.PAUSED if is_kept else DomainState.RUNNING)
    assert told[-1].phase is MigrationPhase.FAILED


async def test_a_guest_that_was_paused_before_stays_so(
    begin: Begin, hypervisor: FakeHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    _late(monkeypatch, Step.PAUSE)
    await hypervisor.suspend(NAME)
    made = await begin(Migrate(uid="m1"))
    hypervisor.job = JobProgress(100, 100)
    async with asyncio.timeout(HANG_S):
        while not made.holds_guest:
            await asyncio.sleep(0.001)
    hypervisor.depart("no")
    await made.wait()
    assert hypervisor.states[NAME] == (DomainState.PAUSED, "User")
    assert "resume" not in hypervisor.calls


async def test_a_mode_that_does_not_come_is_tried_again(
    begin: Begin, hypervisor: FakeHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    _late(monkeypatch, Step.PAUSE)
    hypervisor.refusals["suspend"] = [HypervisorError("busy"), HypervisorError("busy")]
    made = await begin(Migrate(uid="m1"))
    hypervisor.job = JobProgress(100, 100)
    async with asyncio.timeout(HANG_S):
        while not made.holds_guest:
            await asyncio.sleep(0.001)
    assert hypervisor.calls.count("suspend") == 3
    hypervisor.depart()
    await made.wait()


async def test_post_copy_is_asked_for(
    begin: Begin, hypervisor: FakeHypervisor, told: list[MigrationReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    _late(monkeypatch, Step.POST_COPY)
    made = await begin(Migrate(uid="m1", limits=MigrationLimits(may_post_copy=True)))
    assert hypervisor.migrations[0].post_copy
    hypervisor.job = JobProgress(100, 100)
    async with asyncio.timeout(HANG_S):
        while len(told) < 2:
            await asyncio.sleep(0.001)
    assert (told[-1].mode, made.holds_guest) == ("PostCopy", False)
    hypervisor.depart()
    await made.wait()


async def test_a_second_try_takes_the_sockets_of_the_first(begin: Begin, hypervisor: FakeHypervisor) -> None:
    first = await begin(Migrate(uid="m1"))
    hypervisor.depart("no")
    await first.wait()
    hypervisor.migrations.clear()
    second = await begin(Migrate(uid="m2"))
    hypervisor.depart()
    await second.wait()
    assert second.report.phase is MigrationPhase.SUCCEEDED


@pytest.fixture
def functions(hypervisor: FakeHypervisor, monkeypatch: pytest.MonkeyPatch) -> Functions:
    monkeypatch.setattr(functions_of_guest, "LOOK_S", 0.01)
    hypervisor.xml[NAME] = f"<domain><name>{NAME}</name><devices>{FUNCTION}</devices></domain>"

    async def tell(_missing: object) -> None:
        return None

    return Functions(hypervisor, NAME, {"fast": FUNCTION}, tell)


FUNCTION = "<hostdev><alias name='ua-sriov-fast'/></hostdev>"


async def sent(
    hypervisor: FakeHypervisor, functions: Functions, told: list[MigrationReport], folder: str
) -> Outgoing:
    async def tell(report: MigrationReport) -> None:
        told.append(report)

    made = Outgoing(
        hypervisor, NAME, Migrate(uid="m1"), {}, tell, socket_path=lambda port: f"{folder}/{port}.sock",
        functions=functions)
    for fd in made.begin():
        os.close(fd)
    return made


@pytest.fixture
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as made:
        yield made


async def test_functions_stay_behind_before_anything_is_copied(
    hypervisor: FakeHypervisor, functions: Functions, told: list[MigrationReport], folder: str
) -> None:
    hypervisor.holds_devices = True
    made = await sent(hypervisor, functions, told, folder)
    await until(lambda: hypervisor.held)
    assert told[0].phase is MigrationPhase.RUNNING, "it is Running while the guest is asked"
    assert "migrate" not in hypervisor.calls
    hypervisor.let_go(NAME)
    await until(lambda: hypervisor.migrations)
    assert FUNCTION not in hypervisor.xml[NAME]
    hypervisor.depart()
    await made.wait()
    assert told[-1].phase is MigrationPhase.SUCCEEDED
    assert "attach" not in hypervisor.calls


async def test_a_guest_that_does_not_leave_gets_its_function_back(
    hypervisor: FakeHypervisor, functions: Functions, told: list[MigrationReport], folder: str
) -> None:
    made = await sent(hypervisor, functions, told, folder)
    await until(lambda: hypervisor.migrations)
    hypervisor.depart("Lost connection to destination host")
    await made.wait()
    await until(lambda: FUNCTION in hypervisor.xml[NAME])
    assert (told[-1].phase, told[-1].reason) == (MigrationPhase.FAILED, "Lost connection to destination host")


async def test_a_guest_that_keeps_its_function_does_not_leave(
    hypervisor: FakeHypervisor, functions: Functions, told: list[MigrationReport], folder: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(release, "RELEASE_S", 0.05)
    hypervisor.holds_devices = True
    made = await sent(hypervisor, functions, told, folder)
    await made.wait()
    assert (told[-1].phase, hypervisor.migrations) == (MigrationPhase.FAILED, [])
    assert told[-1].reason.startswith("failed to wait for host-devices detach")
    assert hypervisor.states[NAME][0] is DomainState.RUNNING
    functions.close()


async def test_an_abort_while_the_guest_is_asked(
    hypervisor: FakeHypervisor, functions: Functions, told: list[MigrationReport], folder: str
) -> None:
    hypervisor.holds_devices = True
    made = await sent(hypervisor, functions, told, folder)
    await until(lambda: hypervisor.held)
    await made.cancel("Live migration has been aborted")
    await made.wait()
    assert (told[-1].phase, told[-1].reason) == (MigrationPhase.ABORTED, "Live migration has been aborted")
    assert hypervisor.migrations == []
    hypervisor.let_go(NAME)                     # now, of all moments
    await until(lambda: "attach" in hypervisor.calls)
    assert FUNCTION in hypervisor.xml[NAME]
