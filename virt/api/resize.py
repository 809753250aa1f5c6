"""Processors and memory that a running guest is given: what its VMI says of that, for all who read it. Pure.

The controller writes what is wanted into the VMI's spec and, in the same write, a condition. A migration brings the
guest to a pod with room for it; the node that takes the guest over gives it what is new, and takes the condition away
in the write that makes the guest its own. While a migration is in the nodes' hands nobody changes the sizes in the
spec, so the pod of the target always has room for what they say.
"""

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from virt.api import conditions, quantity, v1
from virt.api.quantity import GIB, MIB
from virt.api.wire import Quantity

CPUS: Final = "HotVCPUChange"
MEMORY: Final = "HotMemoryChange"
CPUS_FAILED: Final = "CPU Hotplug Failed"           # reasons of the conditions, then False
MEMORY_FAILED: Final = "Memory Hotplug Failed"
MAX_VCPUS: Final = 512
MEMORY_BLOCK: Final = 2 * MIB           # of virtio-mem: a transparent huge page
# Kernels that are told of memory above 4 GiB to come take 64 MiB for bounce buffers at once.
LEAST_MEMORY: Final = GIB


@dataclass(frozen=True)
class Sizes:
    """What a guest is to have. ``memory``, ``at_boot``, ``ceiling``: bytes; all 0 where memory stays as it is."""

    vcpus: int
    memory: int = 0
    at_boot: int = 0
    ceiling: int = 0


def vcpus(cpu: v1.CPU | None) -> int:
    asked = cpu or v1.CPU()
    return (asked.sockets or 1) * (asked.cores or 1) * (asked.threads or 1)


def most_vcpus(cpu: v1.CPU | None) -> int:
    """What a guest that was started so can have at most."""
    asked = cpu or v1.CPU()
    return max(asked.max_sockets, asked.sockets, 1) * (asked.cores or 1) * (asked.threads or 1)


def is_pending(vmi: v1.VirtualMachineInstance) -> bool:
    """Whether the guest is to be given something when it comes to another node."""
    return any(conditions.is_true(vmi.status.conditions, kind) for kind in (CPUS, MEMORY))


def wanted(vmi: v1.VirtualMachineInstance) -> Sizes | None:
    """What the node that takes the guest over has to give it; None for nothing new."""
    if not is_pending(vmi):
        return None
    memory, told = vmi.spec.domain.memory, vmi.status.memory
    count = vcpus(vmi.spec.domain.cpu)
    if not conditions.is_true(vmi.status.conditions, MEMORY) or memory is None or told is None:
        return Sizes(count)
    if memory.guest is None or memory.max_guest is None or told.guest_at_boot is None:
        return Sizes(count)
    return Sizes(count, *(quantity.integer(size) for size in (memory.guest, told.guest_at_boot, memory.max_guest)))


def settled(
    vmi: v1.VirtualMachineInstance, now: str, *, cpus_fault: str = "", memory_fault: str = ""
) -> v1.VirtualMachineInstanceStatus:
    """The status once the guest has been given what was pending, or why it could not be. ``now``: RFC 3339."""
    status = vmi.status
    if conditions.is_true(status.conditions, CPUS):
        cpu = vmi.spec.domain.cpu or v1.CPU()
        topology = v1.CPUTopology(cores=cpu.cores, sockets=cpu.sockets, threads=cpu.threads)
        status = _ended(status, CPUS, (CPUS_FAILED, cpus_fault), now)
        if not cpus_fault:
            status = replace(status, current_cpu_topology=topology)
    if conditions.is_true(status.conditions, MEMORY):
        status = _ended(status, MEMORY, (MEMORY_FAILED, memory_fault), now)
        memory = vmi.spec.domain.memory
        if not memory_fault and memory is not None and status.memory is not None:
            status = replace(status, memory=replace(status.memory, guest_requested=memory.guest))
    return status


def memory_refusal(spec: v1.VirtualMachineInstanceSpec, ceiling: Quantity | None) -> str:
    """Why a guest of ``spec`` could not be given memory up to ``ceiling`` while it runs, "" when it could. The words
    are KubeVirt's (pkg/liveupdate/memory): clients show them."""
    memory = spec.domain.memory
    cpu = spec.domain.cpu or v1.CPU()
    if cpu.realtime is not None:
        return "Memory hotplug is not compatible with realtime VMs"
    if cpu.numa is not None and cpu.numa.guest_mapping_passthrough is not None:
        return "Memory hotplug is not compatible with guest mapping passthrough"
    if spec.domain.launch_security is not None:
        return "Memory hotplug is not compatible with encrypted VMs"
    if memory is None or memory.guest is None:
        return "Guest memory must be configured when memory hotplug is enabled"
    if ceiling is None:
        return "Max guest memory must be configured when memory hotplug is enabled"
    guest, most = quantity.integer(memory.guest), quantity.integer(ceiling)
    if guest > most:
        return "Guest memory is greater than the configured maxGuest memory"
    block = GIB if memory.hugepages is not None and memory.hugepages.page_size == "1Gi" else MEMORY_BLOCK
    if guest % block:
        return f"Guest memory must be {quantity.of_bytes(block)} aligned"
    if most % block:
        return f"MaxGuest must be {quantity.of_bytes(block)} aligned"
    if spec.architecture != "amd64":
        return "Memory hotplug is only available for x86_64 VMs"
    if guest < LEAST_MEMORY:
        return "Memory hotplug is only available for VMs with at least 1Gi of guest memory"
    return ""


def _ended(
    status: v1.VirtualMachineInstanceStatus, kind: str, fault: tuple[str, str], now: str
) -> v1.VirtualMachineInstanceStatus:
    reason, message = fault
    if not message:
        return replace(status, conditions=conditions.without(status.conditions, kind))
    failed = v1.Condition(type=kind, status="False", reason=reason, message=message)
    return replace(status, conditions=conditions.with_condition(status.conditions, failed, now))
