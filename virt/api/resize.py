"""Processors that a running guest is given: what its VMI says of that, for all who read it. Pure.

The controller writes what is wanted into the VMI's spec and, in the same write, a condition. A migration brings the
guest to a pod with room for it; the node that takes the guest over plugs what is new, and takes the condition away
in the write that makes the guest its own. While a migration is in the nodes' hands nobody changes the sockets in the
spec, so the pod of the target always has room for what they say.
"""

from typing import Final

from msgspec.structs import replace

from virt.api import conditions, v1

CPUS: Final = "HotVCPUChange"
CPUS_FAILED: Final = "CPU Hotplug Failed"           # reason of the condition, then False
MAX_VCPUS: Final = 512


def vcpus(cpu: v1.CPU | None) -> int:
    asked = cpu or v1.CPU()
    return (asked.sockets or 1) * (asked.cores or 1) * (asked.threads or 1)


def most_vcpus(cpu: v1.CPU | None) -> int:
    """What a guest that was started so can have at most."""
    asked = cpu or v1.CPU()
    return max(asked.max_sockets, asked.sockets, 1) * (asked.cores or 1) * (asked.threads or 1)


def is_pending(vmi: v1.VirtualMachineInstance) -> bool:
    """Whether the guest is to be given processors when it comes to another node."""
    return conditions.is_true(vmi.status.conditions, CPUS)


def settled(vmi: v1.VirtualMachineInstance, now: str, *, fault: str = "") -> v1.VirtualMachineInstanceStatus:
    """The status once the guest has been given what was pending, or why it could not be. ``now``: RFC 3339."""
    status = vmi.status
    if fault:
        failed = v1.Condition(type=CPUS, status="False", reason=CPUS_FAILED, message=fault)
        return replace(status, conditions=conditions.with_condition(status.conditions, failed, now))
    cpu = vmi.spec.domain.cpu or v1.CPU()
    topology = v1.CPUTopology(cores=cpu.cores, sockets=cpu.sockets, threads=cpu.threads)
    return replace(status, conditions=conditions.without(status.conditions, CPUS), current_cpu_topology=topology)
