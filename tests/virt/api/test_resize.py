"""What a VMI says of processors and memory that its guest is to be given."""

from typing import Any

import pytest
from msgspec.structs import replace

from virt.api import codec, conditions, resize, v1
from virt.api.resize import CPUS, MEMORY, Sizes

NOW = "2026-01-01T12:00:00Z"


def vmi(*pending: str, **domain: Any) -> v1.VirtualMachineInstance:
    asked = codec.from_json({
        "cpu": {"sockets": 2, "cores": 2, "threads": 1, "maxSockets": 8},
        "memory": {"guest": "2Gi", "maxGuest": "4Gi"}, **domain}, v1.DomainSpec)
    return v1.VirtualMachineInstance(
        spec=v1.VirtualMachineInstanceSpec(architecture="amd64", domain=asked),
        status=v1.VirtualMachineInstanceStatus(
            current_cpu_topology=v1.CPUTopology(cores=2, sockets=1, threads=1),
            memory=v1.MemoryStatus(guest_at_boot="1Gi", guest_current="1Gi", guest_requested="1Gi"),
            conditions=tuple(v1.Condition(type=kind, status="True") for kind in pending)))


def test_nothing_is_given_that_was_not_asked_for() -> None:
    assert resize.wanted(vmi()) is None
    assert resize.wanted(vmi(CPUS)) == Sizes(4)
    assert resize.wanted(vmi(CPUS, MEMORY)) == Sizes(4, 2 << 30, 1 << 30, 4 << 30)
    failed = v1.Condition(type=CPUS, status="False")
    assert resize.wanted(replace(vmi(), status=replace(vmi().status, conditions=(failed,)))) is None


def test_what_was_given_is_the_new_size() -> None:
    status = resize.settled(vmi(CPUS, MEMORY), NOW)
    assert status.current_cpu_topology == v1.CPUTopology(cores=2, sockets=2, threads=1)
    assert status.memory == v1.MemoryStatus(guest_at_boot="1Gi", guest_current="1Gi", guest_requested="2Gi")
    assert status.conditions == ()
    assert resize.settled(vmi(), NOW) == vmi().status


def test_what_could_not_be_given_is_said() -> None:
    status = resize.settled(vmi(CPUS, MEMORY), NOW, cpus_fault="no slot", memory_fault="no port")
    assert status.current_cpu_topology == v1.CPUTopology(cores=2, sockets=1, threads=1)
    assert status.memory == vmi().status.memory
    found = {each.type: (each.status, each.reason, each.message) for each in status.conditions}
    assert found == {
        CPUS: ("False", "CPU Hotplug Failed", "no slot"), MEMORY: ("False", "Memory Hotplug Failed", "no port")}
    half = resize.settled(vmi(CPUS, MEMORY), NOW, memory_fault="no port")
    assert conditions.find(half.conditions, CPUS) is None


@pytest.mark.parametrize(("domain", "ceiling", "words"), [
    ({}, "4Gi", ""),
    ({"memory": {"guest": "1Gi"}}, "1Gi", ""),
    ({"memory": None}, "4Gi", "must be configured"),
    ({}, None, "Max guest memory must be configured"),
    ({}, "1Gi", "greater than the configured maxGuest"),
    ({"memory": {"guest": "1025Mi"}}, "4Gi", "Guest memory must be 2Mi aligned"),
    ({}, "4097Mi", "MaxGuest must be 2Mi aligned"),
    ({"memory": {"guest": "1022Mi"}}, "4Gi", "at least 1Gi"),
    ({"memory": {"guest": "1026Mi", "hugepages": {"pageSize": "1Gi"}}}, "4Gi", "1Gi aligned"),
    ({"launchSecurity": {"sev": {}}}, "4Gi", "encrypted"),
    ({"cpu": {"realtime": {}}}, "4Gi", "realtime"),
    ({"cpu": {"numa": {"guestMappingPassthrough": {}}}}, "4Gi", "passthrough"),
])
def test_which_guests_can_be_given_memory(domain: dict[str, Any], ceiling: str | None, words: str) -> None:
    said = resize.memory_refusal(vmi(**domain).spec, ceiling)
    assert words in said
    assert bool(said) == bool(words)


def test_memory_is_for_one_architecture() -> None:
    assert "x86_64" in resize.memory_refusal(replace(vmi().spec, architecture="arm64"), "4Gi")


@pytest.mark.parametrize(("cpu", "now", "most"), [
    (None, 1, 1), (v1.CPU(), 1, 1), (v1.CPU(sockets=2, cores=3, threads=2), 12, 12),
    (v1.CPU(sockets=2, cores=3, max_sockets=8), 6, 24),
])
def test_counts(cpu: v1.CPU | None, now: int, most: int) -> None:
    assert (resize.vcpus(cpu), resize.most_vcpus(cpu)) == (now, most)
