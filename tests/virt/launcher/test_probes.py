"""Probes of the guest's agent, from the words of virt-probe to what the agent is asked."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.hypervisor import FakeHypervisor
from tests.waits import HANG_S, until
from virt.launcher.guest import Guest
from virt.launcher.probes import LONGEST_S, Probes, Question, question
from virt.rpc.messages import DomainState, DomainStatus, Event, GuestAgentSilent

NAME = "default_web"


class Owner:
    guest: Guest | None = None
    is_expecting = False


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
async def owner(told: list[Event]) -> Owner:
    async def tell(event: Event) -> bool:
        told.append(event)
        return True

    hypervisor = FakeHypervisor()
    await hypervisor.create(f"<domain><name>{NAME}</name></domain>")
    made = Owner()
    made.guest = Guest(hypervisor, DomainStatus(state=DomainState.RUNNING, domain_name=NAME), tell)
    return made


def _hypervisor(owner: Owner) -> FakeHypervisor:
    assert owner.guest is not None
    assert isinstance(owner.guest.hypervisor, FakeHypervisor)
    return owner.guest.hypervisor


def test_words() -> None:
    assert question(b"3\0ping\0") == Question(3)
    assert question(b"0\0exec\0test\0-f\0a b\0") == Question(1, ("test", "-f", "a b"))
    assert question(b"99999\0ping\0").timeout_s == LONGEST_S


@pytest.mark.parametrize("words", [b"", b"3\0", b"3\0exec\0", b"3\0ping\0x\0", b"x\0ping\0", b"3\0sing\0", b"3\0ping"])
def test_other_words_are_refused(words: bytes) -> None:
    with pytest.raises(ValueError):
        question(words)


async def test_a_pod_that_waits_for_its_guest_is_well() -> None:
    owner = Owner()
    for asked in (Question(3), Question(3, ("true",))):
        assert (await Probes(owner).answer(asked))[0] == 1
    owner.is_expecting = True
    for asked in (Question(3), Question(3, ("true",))):
        assert (await Probes(owner).answer(asked))[0] == 0


async def test_a_silent_agent_is_told_of_once_until_it_answers(owner: Owner, told: list[Event]) -> None:
    probes = Probes(owner)
    assert [(await probes.answer(Question(1)))[0] for _ in range(2)] == [1, 1]
    assert told == [GuestAgentSilent(seconds=1)]
    _hypervisor(owner).agent = {}
    assert await probes.answer(Question(1)) == (0, "")
    _hypervisor(owner).agent = None
    assert (await probes.answer(Question(1)))[0] == 1
    assert len(told) == 2


@pytest.mark.parametrize("asked", [Question(LONGEST_S), Question(LONGEST_S, ("true",))])
async def test_an_agent_that_is_about_to_come_is_waited_for(owner: Owner, told: list[Event], asked: Question) -> None:
    """A guest that has just moved here runs before its agent's channel is open."""
    answer = asyncio.create_task(Probes(owner).answer(asked))
    await until(lambda: {"guest-ping", "guest-exec"} & set(_hypervisor(owner).calls))
    _hypervisor(owner).connect_agent(
        NAME, {"guest-exec": {"pid": 7}, "guest-exec-status": {"exited": True, "exitcode": 0}})
    assert await asyncio.wait_for(answer, HANG_S) == (0, "")
    assert GuestAgentSilent(seconds=LONGEST_S) not in told


async def test_an_agent_that_is_there_and_silent_is_not_waited_for(owner: Owner) -> None:
    assert owner.guest is not None
    owner.guest.agent_is_there()
    assert (await asyncio.wait_for(Probes(owner).answer(Question(LONGEST_S)), HANG_S))[0] == 1


async def test_a_paused_guest_counts_as_alive(owner: Owner) -> None:
    assert owner.guest is not None
    _hypervisor(owner).states[NAME] = (DomainState.PAUSED, "User")
    await owner.guest.refresh()
    assert await Probes(owner).answer(Question(1)) == (0, "")


async def test_a_command_gives_its_own_status_and_words(owner: Owner) -> None:
    _hypervisor(owner).agent = {
        "guest-exec": {"pid": 7}, "guest-exec-status": {"exited": True, "exitcode": 3, "out-data": "bm8="},
    }  # fmt: skip
    assert await Probes(owner).answer(Question(1, ("test", "-f", "/tmp/ready"))) == (3, "no")


async def test_without_a_guest_every_probe_fails() -> None:
    assert (await Probes(Owner()).answer(Question(1)))[0] == 1


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:            # tmp_path is too long for a socket's path
        yield Path(name)


async def test_the_socket_answers_and_refuses(owner: Owner, folder: Path) -> None:
    _hypervisor(owner).agent = {}
    path = folder / "probe.sock"

    async def ask(words: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(words)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    async with Probes(owner).serving(path):
        assert await ask(b"2\0ping\0") == b"0\n"
        assert (await ask(b"nonsense")).startswith(b"2\n")


async def test_an_agents_nonsense_hangs_no_probe(owner: Owner, folder: Path) -> None:
    _hypervisor(owner).agent = {"guest-exec": {"pid": 7}, "guest-exec-status": {"exited": True, "signal": [1]}}
    path = folder / "probe.sock"
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    async with Probes(owner).serving(path), asyncio.timeout(HANG_S):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"2\0exec\0true\0")
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
