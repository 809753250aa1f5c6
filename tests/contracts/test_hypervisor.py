"""What every Hypervisor must do. Runs on the fake, and on libvirt with its test driver, whose domains are in memory."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator

import pytest

from tests.fakes.hypervisor import FakeHypervisor
from tests.waits import HANG_S
from virt.base.waiting import wait_for_async
from virt.launcher.libvirt_conn import (
    Hypervisor,
    HypervisorError,
    InvalidDomain,
    Lifecycle,
    NoAgent,
    Notice,
    NotRunning,
    Resumed,
)
from virt.launcher.libvirt_conn.real import Libvirt
from virt.rpc.messages import DomainState


@pytest.fixture
def name() -> str:
    return f"contract-{uuid.uuid4().hex[:8]}"       # the test driver's domains outlive the connection


@pytest.fixture
def xml(name: str) -> str:
    return f"""
<domain type='test'><name>{name}</name><memory unit='MiB'>64</memory><os><type>hvm</type></os>
  <devices><graphics type='vnc'/></devices></domain>
"""


@pytest.fixture(params=["fake", "libvirt"])
async def hypervisor(request: pytest.FixtureRequest, name: str) -> AsyncIterator[Hypervisor]:
    made = FakeHypervisor() if request.param == "fake" else Libvirt("test:///default")
    if isinstance(made, Libvirt):
        await made.connect()
    yield made
    await made.destroy(name)
    await made.close()


async def test_a_created_domain_runs_under_its_name(hypervisor: Hypervisor, name: str, xml: str) -> None:
    assert await hypervisor.state(name) == (DomainState.NONE, "")
    assert await hypervisor.create(xml) == name
    assert (await hypervisor.state(name))[0] == DomainState.RUNNING
    assert f"<name>{name}</name>" in await hypervisor.describe(name)


async def test_what_is_no_domain_is_refused_and_leaves_nothing(hypervisor: Hypervisor, name: str, xml: str) -> None:
    with pytest.raises(InvalidDomain):
        await hypervisor.create("<domain type='test'></domain>")
    assert await hypervisor.state(name) == (DomainState.NONE, "")


async def test_where_devices_would_be_is_told_and_nothing_stays(hypervisor: Hypervisor, name: str, xml: str) -> None:
    placed = await hypervisor.placed(xml)
    assert f"<name>{name}</name>" in placed
    assert await hypervisor.state(name) == (DomainState.NONE, "")
    assert await hypervisor.create(placed) == name
    with pytest.raises(InvalidDomain):
        await hypervisor.placed("<domain type='test'></domain>")


async def test_pause_and_resume_are_seen_in_the_state(hypervisor: Hypervisor, name: str, xml: str) -> None:
    await hypervisor.create(xml)
    await hypervisor.suspend(name)
    assert await hypervisor.state(name) == (DomainState.PAUSED, "User")
    await hypervisor.resume(name)
    assert (await hypervisor.state(name))[0] == DomainState.RUNNING


async def test_a_change_is_told_on_the_event_loop(hypervisor: Hypervisor, name: str, xml: str) -> None:
    heard: list[tuple[Notice, object]] = []
    hypervisor.subscribe(lambda notice: heard.append((notice, asyncio.get_running_loop())))
    await hypervisor.create(xml)
    await hypervisor.suspend(name)

    async def notices() -> list[Notice]:
        return [notice for notice, _ in heard]

    await wait_for_async(notices, lambda got: got.count(Lifecycle(name)) >= 2, deadline_s=HANG_S, every_s=0.01)
    assert {loop for _, loop in heard} == {asyncio.get_running_loop()}


async def test_only_a_guest_that_is_let_run_again_is_said_to_be(
    hypervisor: Hypervisor, name: str, xml: str
) -> None:
    heard: list[Notice] = []
    hypervisor.subscribe(heard.append)

    async def notices() -> list[Notice]:
        return heard

    await hypervisor.create(xml)
    await hypervisor.suspend(name)
    await hypervisor.resume(name)
    await wait_for_async(notices, lambda got: Resumed(name) in got, deadline_s=HANG_S, every_s=0.01)
    before = len(heard)
    await hypervisor.destroy(name)
    await wait_for_async(notices, lambda got: len(got) > before, deadline_s=HANG_S, every_s=0.01)
    assert heard.count(Resumed(name)) == 1          # notices come in order: not the start, nor the pause, nor the end


async def test_destroy_ends_with_its_reason_and_may_be_repeated(hypervisor: Hypervisor, name: str, xml: str) -> None:
    await hypervisor.create(xml)
    await hypervisor.destroy(name)
    assert await hypervisor.state(name) == (DomainState.SHUTOFF, "Destroyed")
    await hypervisor.destroy(name)
    with pytest.raises(HypervisorError):
        await hypervisor.suspend(name)


async def test_an_agent_that_is_not_there_is_our_error(hypervisor: Hypervisor, name: str, xml: str) -> None:
    await hypervisor.create(xml)
    with pytest.raises(HypervisorError) as caught:
        await hypervisor.agent_command(name, '{"execute": "guest-ping"}', timeout_s=1)
    if isinstance(hypervisor, FakeHypervisor):
        assert isinstance(caught.value, NoAgent)


async def test_calls_on_an_unknown_domain_say_that_it_does_not_run(hypervisor: Hypervisor, name: str, xml: str) -> None:
    with pytest.raises(NotRunning):
        await hypervisor.suspend("nobody")
    with pytest.raises(NotRunning):
        await hypervisor.describe("nobody")


async def test_processors_are_plugged_and_never_taken_away(hypervisor: Hypervisor, name: str, xml: str) -> None:
    await hypervisor.create(xml.replace("<os>", "<vcpu current='1'>4</vcpu><os>"))
    await hypervisor.set_vcpus(name, 3)
    await hypervisor.set_vcpus(name, 2)
    if isinstance(hypervisor, FakeHypervisor):
        assert hypervisor.vcpus[name] == 3
    else:
        assert re.search(r"<vcpu[^>]*current=['\"]3['\"]", await hypervisor.describe(name))
