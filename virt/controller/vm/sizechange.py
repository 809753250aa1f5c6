"""A template that asks for other sockets or other memory than the running guest has: what is done about it. Pure.

What the guest can be given is written into the VMI's spec, with the condition that has a migration made to a pod with
room for it (virt.api.resize). The words that people read are KubeVirt's (pkg/virt-controller/watch/vm): clients and
their tests look for them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from virt.api import conditions, quantity, resize, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.migrationstate import is_under_way
from virt.api.wire import Quantity

CPU_ERROR: Final = "HotPlugCPUError"
MEMORY_ERROR: Final = "HotPlugMemoryError"
TOO_MANY_SOCKETS: Final = "CPU sockets updated in template spec to a value higher than what's available"
FEWER_SOCKETS: Final = "Reduction of CPU socket count requires a restart"
SOCKETS_OF_QUEUES: Final = "Changes to CPU sockets require a restart when NetworkInterfaceMultiQueue is enabled"
CPUS_FAILED: Final = "CPU sockets updated in template spec. CPU-hotplug failed and is not available for this VM"
BELOW_BOOT: Final = "memory updated in template spec to a value lower than what the VM started with"
TOO_MUCH_MEMORY: Final = "memory updated in template spec to a value higher than what's available"
MEMORY_FAILED: Final = (
    "memory updated in template spec. Memory-hotplug failed and is not available for this VM configuration")


@dataclass(frozen=True)
class Change:
    """``vmi``: as it is to be stored, None to leave it. ``restart``: why the change needs one; ``fault``: condition
    Failure, while it has to wait."""

    vmi: v1.VirtualMachineInstance | None = None
    restart: str = ""
    fault: v1.Condition | None = None


def change(
    asked: v1.VirtualMachineInstanceSpec, vmi: v1.VirtualMachineInstance, config: ClusterConfig, now: str
) -> Change:
    """``asked``: the template's spec with its defaults; ``vmi``: Running; ``now``: RFC 3339. Both sizes may change at
    once, which is one migration."""
    cpus = _sockets(asked, vmi, config, now)
    memory = _memory(asked, cpus.vmi or vmi, now, began=cpus.vmi is not None)
    return Change(
        memory.vmi or cpus.vmi, restart=cpus.restart or memory.restart, fault=cpus.fault or memory.fault)


def _sockets(
    asked: v1.VirtualMachineInstanceSpec, vmi: v1.VirtualMachineInstance, config: ClusterConfig, now: str
) -> Change:
    wanted, live = asked.domain.cpu or v1.CPU(), vmi.spec.domain.cpu or v1.CPU()
    if _has_failed(vmi, resize.CPUS):
        return Change(restart=CPUS_FAILED)
    if wanted.sockets == live.sockets:
        return Change()
    if waits := _waits(vmi, resize.CPUS, "CPU"):
        return Change(fault=_failure(CPU_ERROR, "CPU", waits))
    if wanted.sockets > live.max_sockets:
        return Change(restart=TOO_MANY_SOCKETS)
    if wanted.sockets < live.sockets:
        return Change(restart=FEWER_SOCKETS)
    if asked.domain.devices.network_interface_multiqueue:
        return Change(restart=SOCKETS_OF_QUEUES)
    if why := _stays(vmi):
        return Change(restart=f"CPU hotplug not supported, {why}")
    more = (wanted.sockets - live.sockets) * (live.cores or 1) * (live.threads or 1)
    milli = more * 1000 // config.cpu_allocation_ratio
    domain = replace(
        vmi.spec.domain, cpu=replace(live, sockets=wanted.sockets),
        resources=_raised(vmi.spec.domain.resources, "cpu",
                          lambda known: quantity.of_milli(quantity.milli(known) + milli)))
    return Change(_begun(vmi, domain, resize.CPUS, now))


def _memory(
    asked: v1.VirtualMachineInstanceSpec, vmi: v1.VirtualMachineInstance, now: str, *, began: bool
) -> Change:
    """``began``: the other size has just been changed, for the same migration."""
    wanted, live, told = asked.domain.memory, vmi.spec.domain.memory, vmi.status.memory
    if _has_failed(vmi, resize.MEMORY):
        return Change(restart=MEMORY_FAILED)
    if wanted is None or wanted.guest is None or live is None or live.guest is None or told is None:
        return Change()
    size, now_has = quantity.integer(wanted.guest), quantity.integer(live.guest)
    if size == now_has:
        return Change()
    if not began and (waits := _waits(vmi, resize.MEMORY, "memory")):
        return Change(fault=_failure(MEMORY_ERROR, "memory", waits))
    if told.guest_at_boot is not None and size < quantity.integer(told.guest_at_boot):
        return Change(restart=BELOW_BOOT)
    if live.max_guest is not None and size > quantity.integer(live.max_guest):
        return Change(restart=TOO_MUCH_MEMORY)
    why = resize.memory_refusal(asked, live.max_guest) or _stays(vmi)
    if why:
        return Change(restart=f"memory hotplug not supported, {why}")
    domain = replace(
        vmi.spec.domain, memory=replace(live, guest=wanted.guest),
        resources=_raised(vmi.spec.domain.resources, "memory",
                          lambda known: quantity.of_bytes(max(quantity.integer(known) + size - now_has, 0))))
    return Change(_begun(vmi, domain, resize.MEMORY, now))


def _begun(
    vmi: v1.VirtualMachineInstance, domain: v1.DomainSpec, kind: str, now: str
) -> v1.VirtualMachineInstance:
    condition = v1.Condition(type=kind, status="True")
    status = replace(vmi.status, conditions=conditions.with_condition(vmi.status.conditions, condition, now))
    return replace(vmi, spec=replace(vmi.spec, domain=domain), status=status)


def _raised(
    resources: v1.ResourceRequirements, name: str, raised: Callable[[Quantity], Quantity]
) -> v1.ResourceRequirements:
    """What was asked for by number grows along; what is worked out from the guest's size does so by itself."""
    def of(known: Mapping[str, Quantity]) -> Mapping[str, Quantity]:
        return {**known, name: raised(known[name])} if name in known else known

    return replace(resources, requests=of(resources.requests), limits=of(resources.limits))


def _waits(vmi: v1.VirtualMachineInstance, kind: str, what: str) -> str:
    if conditions.is_true(vmi.status.conditions, kind):
        return f"another {what} hotplug is in progress"
    if is_under_way(vmi.status.migration_state):
        return f"{what} hotplug is not allowed while VMI is migrating"
    return ""


def _stays(vmi: v1.VirtualMachineInstance) -> str:
    found = conditions.find(vmi.status.conditions, "LiveMigratable")
    if found is None or found.status == "True":
        return ""
    return f"the VM cannot leave its node: {found.message}"


def _has_failed(vmi: v1.VirtualMachineInstance, kind: str) -> bool:
    found = conditions.find(vmi.status.conditions, kind)
    return found is not None and found.status == "False"


def _failure(reason: str, what: str, why: str) -> v1.Condition:
    return v1.Condition(
        type="Failure", status="True", reason=reason,
        message=f"Error encountered while handling {what} change request: {why}")
