"""What is told of a guest, and how it is brought down."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.fakes.hypervisor import FakeHypervisor
from tests.waits import HANG_S, until
from virt.launcher import guest as guest_module
from virt.launcher.guest import Guest
from virt.launcher.libvirt_conn import AgentChanged, DiskFailed, HypervisorError, Panicked
from virt.rpc.messages import DiskError, DomainEvent, DomainState, DomainStatus, Event, GuestPanicked

NAME = "default_web"
AGENT = {
    "guest-info": {"version": "10.0", "supported_commands": [{"name": "guest-ping", "enabled": True}]},
    "guest-get-osinfo": {"id": "tiny"},
    "guest-network-get-interfaces": [{"name": "eth0", "hardware-address": "02:00:00:00:00:01"}],
    "guest-fsfreeze-status": "thawed",
}


@pytest.fixture
def hypervisor() -> FakeHypervisor:
    return FakeHypervisor()


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
async def guest(
    hypervisor: FakeHypervisor, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Guest]:
    monkeypatch.setattr(guest_module, "POWER_BUTTON_EVERY_S", 0.05)

    async def tell(event: Event) -> bool:
        told.append(event)
        return True

    await hypervisor.create(f"<domain><name>{NAME}</name></domain>")
    made = Guest(hypervisor, DomainStatus(state=DomainState.NONE, domain_name=NAME), tell)
    watching = asyncio.create_task(made.watch())
    made.look_again()
    await until(lambda: made.status.state == DomainState.RUNNING)
    yield made
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def states(told: list[Event]) -> list[tuple[DomainState, str]]:
    return [(event.status.state, event.status.reason) for event in told if isinstance(event, DomainEvent)]


async def test_each_change_is_told_once(guest: Guest, hypervisor: FakeHypervisor, told: list[Event]) -> None:
    hypervisor.become(NAME, DomainState.PAUSED, "User")
    await until(lambda: guest.status.state == DomainState.PAUSED)
    hypervisor.become(NAME, DomainState.PAUSED, "User")
    hypervisor.become(NAME, DomainState.CRASHED, "Panicked")
    await guest.ended.wait()
    assert states(told) == [
        (DomainState.RUNNING, ""), (DomainState.PAUSED, "User"), (DomainState.CRASHED, "Panicked"),
    ]  # fmt: skip
    assert (guest.over_was_heard, guest.exit_code) == (True, 1)


async def test_a_state_that_libvirt_does_not_tell_is_asked_for_again(
    guest: Guest, hypervisor: FakeHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event of the guest's end comes once; who stops looking keeps its pod for ever."""
    monkeypatch.setattr(guest_module, "LOOK_AGAIN_S", 0.01)
    hypervisor.silence = HypervisorError("cannot acquire state change lock")
    hypervisor.become(NAME, DomainState.SHUTOFF, "Shutdown")
    await until(lambda: "state" in hypervisor.calls)
    assert not guest.ended.is_set()
    hypervisor.silence = None
    await until(guest.ended.is_set)
    assert guest.status.reason == "Shutdown"


async def test_panics_and_disk_errors_are_told_before_the_state(
    guest: Guest, hypervisor: FakeHypervisor, told: list[Event]
) -> None:
    told.clear()
    hypervisor.say(Panicked(NAME))
    hypervisor.say(DiskFailed(NAME, "ua-data", "/x/disk.img", "enospc"))
    hypervisor.say(Panicked("another"))
    hypervisor.become(NAME, DomainState.PAUSED, "IOError")
    await until(lambda: states(told))
    assert told[:2] == [GuestPanicked(), DiskError(volume="data", reason="enospc")]


async def test_the_last_word_is_the_newest_state(hypervisor: FakeHypervisor) -> None:
    """Steps: the guest is paused by a panic; it ends while that is being told, and somebody looks."""
    told: list[Event] = []
    slow = asyncio.Event()

    async def tell(event: Event) -> bool:
        if isinstance(event, GuestPanicked):
            await slow.wait()
        told.append(event)
        return True

    await hypervisor.create(f"<domain><name>{NAME}</name></domain>")
    guest = Guest(hypervisor, DomainStatus(state=DomainState.RUNNING, domain_name=NAME), tell)
    hypervisor.say(Panicked(NAME))
    hypervisor.states[NAME] = (DomainState.PAUSED, "Crashed")
    pausing = asyncio.create_task(guest.refresh())
    await until(lambda: guest.status.state == DomainState.PAUSED)
    hypervisor.states[NAME] = (DomainState.SHUTOFF, "Destroyed")
    await guest.refresh()
    slow.set()
    await pausing
    assert states(told)[-1] == (DomainState.SHUTOFF, "Destroyed")
    assert guest.over_was_heard


async def test_what_the_agent_says_is_in_the_status_until_it_goes(guest: Guest, hypervisor: FakeHypervisor) -> None:
    hypervisor.connect_agent(NAME, AGENT)
    await until(lambda: guest.status.guest_interfaces)
    assert (guest.status.agent_version, guest.status.guest_os) == ("10.0", {"id": "tiny"})
    hypervisor.say(AgentChanged(NAME, False))
    await until(lambda: not guest.status.agent_connected)
    assert (guest.status.agent_version, guest.status.guest_os, guest.status.guest_interfaces) == ("", {}, ())


async def test_a_frozen_guest_thaws_by_itself(guest: Guest, hypervisor: FakeHypervisor) -> None:
    hypervisor.connect_agent(NAME, AGENT)
    await guest.freeze(0)
    assert guest.status.frozen
    await until(lambda: not guest.status.frozen)
    assert "guest-fsfreeze-thaw" in hypervisor.calls


async def test_an_obedient_guest_ends_before_its_grace_period(guest: Guest, hypervisor: FakeHypervisor) -> None:
    await guest.bring_down(30)
    assert hypervisor.calls.count("press_power_button") == 1
    assert (guest.status.reason, guest.exit_code) == ("Shutdown", 0)


async def test_a_deaf_guest_is_asked_again_and_then_killed(
    guest: Guest, hypervisor: FakeHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    real, ahead_s = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: real() + ahead_s)
    hypervisor.obeys_power_button = False
    ending = asyncio.create_task(guest.bring_down(1000))
    await until(lambda: hypervisor.calls.count("press_power_button") >= 2)
    assert not guest.ended.is_set()
    ahead_s = 1001
    await ending
    assert guest.status.reason == "Destroyed"


async def test_two_askers_press_the_button_once(guest: Guest, hypervisor: FakeHypervisor) -> None:
    hypervisor.obeys_power_button = False
    await asyncio.gather(guest.press_power_button(), guest.press_power_button())
    assert hypervisor.calls.count("press_power_button") == 1


async def test_a_guest_whose_qemu_is_stuck_is_killed_after_its_grace_period(
    guest: Guest, hypervisor: FakeHypervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(hypervisor, "press_power_button", never)
    async with asyncio.timeout(HANG_S):
        await guest.bring_down(0.12)
    assert guest.status.reason == "Destroyed"


async def test_no_grace_means_no_button(guest: Guest, hypervisor: FakeHypervisor) -> None:
    await guest.bring_down(0)
    assert "press_power_button" not in hypervisor.calls
    assert guest.status.reason == "Destroyed"


async def test_what_a_frozen_agent_cannot_do_is_not_held_against_it(guest: Guest, hypervisor: FakeHypervisor) -> None:
    agent = dict(AGENT)
    hypervisor.connect_agent(NAME, agent)
    await until(lambda: guest.status.agent_commands == ("guest-ping",))
    await guest.freeze(60)
    # What a frozen agent says of itself: next to nothing is enabled.
    agent |= {
        "guest-fsfreeze-status": "frozen",
        "guest-info": {"version": "10.0", "supported_commands": [{"name": "guest-ping", "enabled": False}]},
    }
    assert await guest.agent.facts() is None
    assert guest.status.agent_commands == ("guest-ping",)
    agent |= {"guest-fsfreeze-status": "thawed"}
    await guest.thaw()
    await until(lambda: not guest.status.agent_commands)      # asked anew as soon as it can tell
