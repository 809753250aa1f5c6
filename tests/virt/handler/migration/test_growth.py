"""A guest that comes is given what it is to have before anybody is told that it is here."""

from pathlib import Path

from msgspec.structs import replace

from tests.virt.handler.migration.test_moves import RUNNING, begun, moving, state, two_nodes
from virt.api import conditions, v1
from virt.api.resize import CPUS
from virt.rpc.errors import RequestFailed
from virt.rpc.messages import SetVcpus


def growing(status: str) -> v1.VirtualMachineInstance:
    """Right after the hand-over, with two sockets asked for and one there. ``status``: of the condition."""
    given = moving()
    domain = replace(given.spec.domain, cpu=v1.CPU(sockets=2, cores=1, threads=1, max_sockets=4))
    told = v1.Condition(type=CPUS, status=status, reason="" if status == "True" else "x")
    return replace(given, spec=replace(given.spec, domain=domain), status=replace(
        given.status, conditions=(*given.status.conditions, told),
        current_cpu_topology=v1.CPUTopology(sockets=1, cores=1, threads=1)))


async def test_the_take_over_has_what_the_guest_was_given(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=growing("True")) as (source, target):
        _, coming = await begun(source, target)
        assert not [each for each in coming.asked if isinstance(each, SetVcpus)]
        await coming.becomes(RUNNING)
        await target.until(lambda: state(target).completed)
        # Once for each try: the write that follows may lose a race.
        assert {each for each in coming.asked if isinstance(each, SetVcpus)} == {SetVcpus(count=2)}
        here = target.stored.status
        assert (here.current_cpu_topology or v1.CPUTopology()).sockets == 2
        assert conditions.find(here.conditions, CPUS) is None


async def test_what_the_guest_cannot_be_given_does_not_keep_it_from_coming(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=growing("True")) as (source, target):
        _, coming = await begun(source, target)
        coming.refuse[SetVcpus] = RequestFailed("InvalidDomain", "no more processors")
        await coming.becomes(RUNNING)
        await target.until(lambda: state(target).completed)
        here = target.stored.status
        assert here.node_name == state(target).target_node
        failed = conditions.find(here.conditions, CPUS)
        assert failed is not None
        assert (failed.status, failed.reason) == ("False", "CPU Hotplug Failed")
        assert (here.current_cpu_topology or v1.CPUTopology()).sockets == 1


async def test_a_launcher_that_does_not_know_how_is_not_asked(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=growing("True")) as (source, target):
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


async def test_a_change_that_has_ended_is_not_made_again(tmp_path: Path) -> None:
    async with two_nodes(tmp_path, given=growing("False")) as (source, target):
        _, coming = await begun(source, target)
        await coming.becomes(RUNNING)
        await target.until(lambda: state(target).completed)
        assert not [each for each in coming.asked if isinstance(each, SetVcpus)]
