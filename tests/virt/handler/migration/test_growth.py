"""A guest that comes is given what it is to have before anybody is told that it is here."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.virt.handler.migration.test_moves import RUNNING, begun, moving, state, two_nodes
from virt.api import conditions, v1
from virt.api.resize import CPUS, MEMORY
from virt.rpc.errors import RequestFailed
from virt.rpc.messages import SetMemory, SetVcpus

GIB = 1 << 30


def growing(*kinds: str) -> v1.VirtualMachineInstance:
    """Right after the hand-over, with two sockets and 2 GiB asked for, one and 1 GiB there."""
    given = moving()
    domain = replace(
        given.spec.domain, cpu=v1.CPU(sockets=2, cores=1, threads=1, max_sockets=4),
        memory=v1.Memory(guest="2Gi", max_guest="4Gi"))
    told = tuple(v1.Condition(type=kind, status="True") for kind in kinds)
    return replace(given, spec=replace(given.spec, domain=domain), status=replace(
        given.status, conditions=(*given.status.conditions, *told),
        current_cpu_topology=v1.CPUTopology(sockets=1, cores=1, threads=1),
        memory=v1.MemoryStatus(guest_at_boot="1Gi", guest_current="1Gi", guest_requested="1Gi")))


async def test_the_take_over_has_what_the_guest_was_given(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=growing(CPUS, MEMORY)) as (source, target):
        _, coming = await begun(source, target)
        assert not [each for each in coming.asked if isinstance(each, SetVcpus | SetMemory)]
        await coming.becomes(replace(RUNNING, memory_added=GIB // 2))
        await target.until(lambda: state(target).completed)
        asked = [each for each in coming.asked if isinstance(each, SetVcpus | SetMemory)]
        assert asked == [SetVcpus(count=2), SetMemory(size=2 * GIB, at_boot=GIB, ceiling=4 * GIB)]
        here = target.stored.status
        assert (here.current_cpu_topology or v1.CPUTopology()).sockets == 2
        assert (here.memory or v1.MemoryStatus()).guest_requested == "2Gi"
        assert [conditions.find(here.conditions, kind) for kind in (CPUS, MEMORY)] == [None, None]
        # The guest takes it by and by.
        await target.until(lambda: (target.stored.status.memory or v1.MemoryStatus()).guest_current == "1536Mi")


async def test_what_the_guest_cannot_be_given_does_not_keep_it_from_coming(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=growing(CPUS, MEMORY)) as (source, target):
        _, coming = await begun(source, target)
        coming.refuse[SetMemory] = RequestFailed("NoDevice", "no port is free")
        await coming.becomes(RUNNING)
        await target.until(lambda: state(target).completed)
        here = target.stored.status
        assert here.node_name == state(target).target_node
        assert conditions.find(here.conditions, CPUS) is None
        failed = conditions.find(here.conditions, MEMORY)
        assert failed is not None
        assert (failed.status, failed.reason) == ("False", "Memory Hotplug Failed")
        assert (here.memory or v1.MemoryStatus()).guest_requested == "1Gi"


async def test_a_launcher_that_does_not_know_how_is_not_asked(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=growing(CPUS)) as (source, target):
        leaving, coming = await begun(source, target)
        (known,) = target.launchers.of_key("ns/vm")
        known.version = 3
        await coming.becomes(RUNNING)
        await target.until(lambda: state(target).completed)
        assert not [each for each in coming.asked if isinstance(each, SetVcpus)]
        failed = conditions.find(target.stored.status.conditions, CPUS)
        assert failed is not None
        assert failed.status == "False"
        assert not [each for each in leaving.asked if isinstance(each, SetVcpus)]


@pytest.mark.parametrize("kind", [CPUS, MEMORY])
async def test_a_change_that_has_ended_is_not_made_again(tmp_path: Path, kind: str) -> None:
    given = growing()
    failed = v1.Condition(type=kind, status="False", reason="x")
    given = replace(given, status=replace(given.status, conditions=(failed,)))
    async with two_nodes(tmp_path, given=given) as (source, target):
        _, coming = await begun(source, target)
        await coming.becomes(RUNNING)
        await target.until(lambda: state(target).completed)
        assert not [each for each in coming.asked if isinstance(each, SetVcpus | SetMemory)]
