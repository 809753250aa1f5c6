"""A template that asks for other sockets than the running guest has: what is done about it. Pure.

What the guest can be given is written into the VMI's spec, with the condition that has a migration made to a pod with
room for it (virt.api.resize). The words that people read are KubeVirt's (pkg/virt-controller/watch/vm): clients and
their tests look for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from virt.api import conditions, quantity, resize, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.migrationstate import is_under_way
from virt.api.wire import Quantity

CPU_ERROR: Final = "HotPlugCPUError"
TOO_MANY_SOCKETS: Final = "CPU sockets updated in template spec to a value higher than what's available"
FEWER_SOCKETS: Final = "Reduction of CPU socket count requires a restart"
SOCKETS_OF_QUEUES: Final = "Changes to CPU sockets require a restart when NetworkInterfaceMultiQueue is enabled"
CPUS_FAILED: Final = "CPU sockets updated in template spec. CPU-hotplug failed and is not available for this VM"


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
    """``asked``: the template's spec with its defaults; ``vmi``: Running; ``now``: RFC 3339."""
    wanted, live = asked.domain.cpu or v1.CPU(), vmi.spec.domain.cpu or v1.CPU()
    if _has_failed(vmi):
        return Change(restart=CPUS_FAILED)
    if wanted.sockets == live.sockets:
        return Change()
    if waits := _waits(vmi):
        return Change(fault=v1.Condition(
            type="Failure", status="True", reason=CPU_ERROR,
            message=f"Error encountered while handling CPU change request: {waits}"))
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
        vmi.spec.domain, cpu=replace(live, sockets=wanted.sockets), resources=_raised(vmi.spec.domain.resources, milli))
    begun = v1.Condition(type=resize.CPUS, status="True")
    status = replace(vmi.status, conditions=conditions.with_condition(vmi.status.conditions, begun, now))
    return Change(replace(vmi, spec=replace(vmi.spec, domain=domain), status=status))


def _raised(resources: v1.ResourceRequirements, milli: int) -> v1.ResourceRequirements:
    """What was asked for by number grows along; what is worked out from the guest's size does so by itself."""
    def of(known: Mapping[str, Quantity]) -> Mapping[str, Quantity]:
        return {**known, "cpu": quantity.of_milli(quantity.milli(known["cpu"]) + milli)} if "cpu" in known else known

    return replace(resources, requests=of(resources.requests), limits=of(resources.limits))


def _waits(vmi: v1.VirtualMachineInstance) -> str:
    if resize.is_pending(vmi):
        return "another CPU hotplug is in progress"
    if is_under_way(vmi.status.migration_state):
        return "CPU hotplug is not allowed while VMI is migrating"
    return ""


def _stays(vmi: v1.VirtualMachineInstance) -> str:
    found = conditions.find(vmi.status.conditions, "LiveMigratable")
    if found is None or found.status == "True":
        return ""
    return f"the VM cannot leave its node: {found.message}"


def _has_failed(vmi: v1.VirtualMachineInstance) -> bool:
    found = conditions.find(vmi.status.conditions, resize.CPUS)
    return found is not None and found.status == "False"
