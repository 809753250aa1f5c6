"""What a running guest is given, and what it says of that."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.fakes.hypervisor import FakeHypervisor
from tests.waits import until
from virt.launcher import growth
from virt.launcher.guest import Guest
from virt.launcher.libvirt_conn import NoDevice, words
from virt.rpc.messages import DomainEvent, DomainState, DomainStatus, Event, SetMemory, SetVcpus

NAME = "default_web"
GIB, MIB = 1 << 30, 1 << 20


@pytest.fixture
def hypervisor() -> FakeHypervisor:
    return FakeHypervisor()


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
async def guest(hypervisor: FakeHypervisor, told: list[Event]) -> AsyncIterator[Guest]:
    async def tell(event: Event) -> bool:
        told.append(event)
        return True

    await hypervisor.create(f"<domain><name>{NAME}</name><devices></devices></domain>")
    made = Guest(hypervisor, DomainStatus(state=DomainState.NONE, domain_name=NAME), tell)
    watching = asyncio.create_task(made.watch())
    made.look_again()
    await until(lambda: made.status.state == DomainState.RUNNING)
    yield made
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_processors_are_plugged(guest: Guest, hypervisor: FakeHypervisor) -> None:
    for _ in range(2):
        assert (await growth.plug_vcpus(guest, SetVcpus(count=3))).state == DomainState.RUNNING
    assert hypervisor.vcpus == {NAME: 3}


async def test_the_device_is_put_in_at_the_first_offer_and_changed_by_the_next(
    guest: Guest, hypervisor: FakeHypervisor, told: list[Event]
) -> None:
    first = await growth.offer_memory(guest, SetMemory(size=2 * GIB, at_boot=GIB, ceiling=4 * GIB))
    assert first.memory_added == 0
    assert f"<requested unit='b'>{GIB}</requested>" in hypervisor.xml[NAME]
    assert f"<size unit='b'>{3 * GIB}</size>" in hypervisor.xml[NAME]
    hypervisor.take_memory(NAME, 512 * MIB)
    await until(lambda: guest.status.memory_added == 512 * MIB)
    assert [event.status.memory_added for event in told if isinstance(event, DomainEvent)][-1] == 512 * MIB
    await growth.offer_memory(guest, SetMemory(size=3 * GIB, at_boot=GIB, ceiling=4 * GIB))
    assert hypervisor.xml[NAME].count("<memory model=") == 1
    assert f"<requested unit='b'>{2 * GIB}</requested>" in hypervisor.xml[NAME]
    assert [call for call in hypervisor.calls if call in ("attach", "update")] == ["attach", "update"]


async def test_a_guest_that_needs_no_device_gets_none(guest: Guest, hypervisor: FakeHypervisor) -> None:
    status = await growth.offer_memory(guest, SetMemory(size=GIB, at_boot=GIB, ceiling=4 * GIB))
    assert status.memory_added is None
    assert "attach" not in hypervisor.calls


async def test_a_device_that_is_not_taken_is_an_error(guest: Guest, hypervisor: FakeHypervisor) -> None:
    hypervisor.refusals["attach"] = [NoDevice("no more ports")]
    with pytest.raises(NoDevice, match="no more ports"):
        await growth.offer_memory(guest, SetMemory(size=2 * GIB, at_boot=GIB, ceiling=4 * GIB))


@pytest.mark.parametrize(("xml", "added"), [
    ("<domain><memory unit='KiB'>1048576</memory><currentMemory unit='KiB'>1048576</currentMemory></domain>", None),
    ("<memory model='virtio-mem'><target><requested unit='KiB'>4096</requested></target></memory>", 0),
    ('<memory model="virtio-mem">\n<target><current unit="KiB">2048</current></target>\n</memory>', 2 * MIB),
])
def test_what_the_guest_has_taken_is_read_from_its_domain(xml: str, added: int | None) -> None:
    assert words.memory_added(xml) == added
