"""What a VMI says of processors that its guest is to be given."""

import pytest
from msgspec.structs import replace

from virt.api import conditions, resize, v1
from virt.api.resize import CPUS

NOW = "2026-01-01T12:00:00Z"


def vmi(status: str = "") -> v1.VirtualMachineInstance:
    """``status``: of the condition, "" for none."""
    told = (v1.Condition(type=CPUS, status=status),) if status else ()
    cpu = v1.CPU(sockets=2, cores=2, threads=1, max_sockets=8)
    return v1.VirtualMachineInstance(
        spec=v1.VirtualMachineInstanceSpec(domain=v1.DomainSpec(cpu=cpu)),
        status=v1.VirtualMachineInstanceStatus(
            current_cpu_topology=v1.CPUTopology(cores=2, sockets=1, threads=1), conditions=told))


def test_nothing_is_given_that_was_not_asked_for() -> None:
    assert [resize.is_pending(vmi(status)) for status in ("", "True", "False")] == [False, True, False]


def test_what_was_given_is_the_new_size() -> None:
    status = resize.settled(vmi("True"), NOW)
    assert status.current_cpu_topology == v1.CPUTopology(cores=2, sockets=2, threads=1)
    assert status.conditions == ()


def test_what_could_not_be_given_is_said() -> None:
    status = resize.settled(vmi("True"), NOW, fault="no slot")
    assert status.current_cpu_topology == vmi().status.current_cpu_topology
    failed = conditions.find(status.conditions, CPUS)
    assert failed is not None
    assert (failed.status, failed.reason, failed.message) == ("False", "CPU Hotplug Failed", "no slot")
    assert replace(status, conditions=()) == vmi().status


@pytest.mark.parametrize(("cpu", "now", "most"), [
    (None, 1, 1), (v1.CPU(), 1, 1), (v1.CPU(sockets=2, cores=3, threads=2), 12, 12),
    (v1.CPU(sockets=2, cores=3, max_sockets=8), 6, 24),
])
def test_counts(cpu: v1.CPU | None, now: int, most: int) -> None:
    assert (resize.vcpus(cpu), resize.most_vcpus(cpu)) == (now, most)
