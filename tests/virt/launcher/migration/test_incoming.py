import asyncio

import pytest

from tests.fakes.hypervisor import FakeHypervisor
from tests.waits import HANG_S
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
    (DomainState.SHUTDOWN, "", True),
    (DomainState.SHUTOFF, "Shutdown", True),
    (DomainState.RUNNING, "", True),
    (DomainState.PAUSED, "User", True),
    (DomainState.PAUSED, "IOError", True),
])
def test_a_guest_has_arrived_when_it_may_run(state: DomainState, reason: str, expected: bool) -> None:
    assert has_arrived(state, reason) is expected


async def test_arrival_is_waited_for_over_a_failed_attempt() -> None:
    hypervisor = FakeHypervisor()
    waiting = asyncio.create_task(Incoming(hypervisor, NAME).arrival())
    for state, reason in (
        (DomainState.PAUSED, "Migration"), (DomainState.SHUTOFF, "Failed"), (DomainState.PAUSED, "Migration"),
    ):
        hypervisor.become(NAME, state, reason)
        await asyncio.sleep(0.01)
        assert not waiting.done(), (state, reason)
    hypervisor.become(NAME, DomainState.RUNNING)
    await asyncio.wait_for(waiting, HANG_S)


def test_sockets_of_a_target() -> None:
    assert str(target_socket(0)) == "/var/run/libvirt/virtqemud-sock"
    assert str(target_socket(49152)) == "/var/run/libvirt/migration/49152.sock"
