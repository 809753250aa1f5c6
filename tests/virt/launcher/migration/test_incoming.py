import asyncio

import pytest

from tests.fakes.hypervisor import FakeHypervisor
from tests.waits import HANG_S
from virt.launcher.libvirt_conn import HypervisorError, HypervisorLost, Resumed
from virt.launcher.migration import incoming
from virt.launcher.migration.incoming import Incoming, has_arrived, target_socket
from virt.rpc.messages import DomainState

NAME = "ns_vm"


@pytest.mark.parametrize(("state", "reason", "expected"), [
    (DomainState.NONE, "", False),
    (DomainState.PAUSED, "Migration", False),
    (DomainState.PAUSED, "StartingUp", False),
    (DomainState.SHUTOFF, "Failed", False),
    (DomainState.RUNNING, "Postcopy", False),
    (DomainState.PAUSED, "PostcopyFailed", False),
    (DomainState.RUNNING, "", True),
    (DomainState.PAUSED, "User", True),
    (DomainState.PAUSED, "IOError", True),
])
@pytest.mark.parametrize("has_run", [False, True])
def test_a_guest_has_arrived_when_it_may_run(
    state: DomainState, reason: str, expected: bool, has_run: bool
) -> None:
    assert has_arrived(state, reason, has_run=has_run) is expected


@pytest.mark.parametrize(("state", "reason"), [(DomainState.SHUTDOWN, ""), (DomainState.SHUTOFF, "Shutdown")])
@pytest.mark.parametrize("has_run", [False, True])
def test_a_guest_that_has_shut_down_had_arrived_if_it_ran_here(state: DomainState, reason: str, has_run: bool) -> None:
    assert has_arrived(state, reason, has_run=has_run) is has_run


async def test_arrival_is_waited_for_over_attempts_that_failed() -> None:
    hypervisor = FakeHypervisor()
    hypervisor.xml[NAME] = "<domain/>"
    waiting = asyncio.create_task(Incoming(hypervisor, NAME).arrival())
    for state, reason in (
        (DomainState.PAUSED, "Migration"), (DomainState.SHUTOFF, "Failed"), (DomainState.PAUSED, "Migration"),
        # An abort: libvirt ends QEMU, which says that it shuts down.
        (DomainState.SHUTDOWN, ""), (DomainState.SHUTOFF, "Shutdown"), (DomainState.PAUSED, "Migration"),
    ):
        hypervisor.become(NAME, state, reason)
        await asyncio.sleep(0.01)
        assert not waiting.done(), (state, reason)
    hypervisor.become(NAME, DomainState.RUNNING)
    assert await asyncio.wait_for(waiting, HANG_S) == "<domain/>"


@pytest.mark.parametrize("error", [HypervisorLost("libvirtd was killed"), HypervisorError("the domain is locked")])
@pytest.mark.parametrize("question", ["state", "describe"])
async def test_a_libvirt_that_cannot_tell_of_a_guest_that_came_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, error: HypervisorError, question: str
) -> None:
    monkeypatch.setattr(incoming, "LOOK_S", 0.01)
    hypervisor = FakeHypervisor()
    hypervisor.xml[NAME] = "<domain/>"
    hypervisor.states[NAME] = (DomainState.RUNNING, "")
    answer, errors = getattr(hypervisor, question), [error, error]

    async def asked(domain: str) -> object:
        if errors:
            raise errors.pop()
        return await answer(domain)

    monkeypatch.setattr(hypervisor, question, asked)
    assert await asyncio.wait_for(Incoming(hypervisor, NAME).arrival(), HANG_S) == "<domain/>"
    assert not errors


async def test_a_guest_that_shut_down_at_once_has_arrived() -> None:
    hypervisor = FakeHypervisor()
    hypervisor.xml[NAME] = "<domain/>"
    waiting = asyncio.create_task(Incoming(hypervisor, NAME).arrival())
    hypervisor.become(NAME, DomainState.PAUSED, "Migration")
    await asyncio.sleep(0.01)
    hypervisor.become(NAME, DomainState.SHUTDOWN)
    await asyncio.sleep(0.01)
    assert not waiting.done()
    hypervisor.say(Resumed(NAME))               # told late: the state is of now, events are of before
    await asyncio.wait_for(waiting, HANG_S)


def test_sockets_of_a_target() -> None:
    assert str(target_socket(0)) == "/var/run/libvirt/virtqemud-sock"
    assert str(target_socket(49152)) == "/var/run/libvirt/migration/49152.sock"
