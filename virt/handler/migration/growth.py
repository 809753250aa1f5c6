"""A guest that has come is given what its VMI wants for it, before anybody is told that it is here.

So whoever sees the end of the migration sees the guest with all of it, and a handler that is restarted in between does
it again: what the guest has already it is not given twice.
"""

from virt.api import resize, v1
from virt.base import log
from virt.handler.launchers.launcher import LIVE_STATES, Launcher
from virt.kube.events import EventRecorder
from virt.rpc.errors import ConnectionLost, RpcError
from virt.rpc.messages import Request, SetMemory, SetVcpus

DEADLINE_S = 20.0
LEAST_VERSION = 4               # of the launcher's protocol
MEMORY_FAULT = "memory hotplug failed, the VM configuration is not supported"
CPUS_FAULT = "CPU hotplug failed, the VM configuration is not supported"

_logger = log.get("virt.handler.migration")


async def grown(
    vmi: v1.VirtualMachineInstance, launcher: Launcher | None, recorder: EventRecorder, now: str
) -> v1.VirtualMachineInstanceStatus:
    """The VMI's status once the guest has been given what was pending, or why it could not be. ``now``: RFC 3339.

    A guest that has ended meanwhile needs nothing any more. Raises ConnectionLost.
    """
    wanted = resize.wanted(vmi)
    if wanted is None or launcher is None or launcher.status is None or launcher.status.state not in LIVE_STATES:
        return vmi.status
    faults = {
        "cpus_fault": await _given(vmi, launcher, recorder, SetVcpus(count=wanted.vcpus)),
        "memory_fault": await _given(vmi, launcher, recorder, SetMemory(
            size=wanted.memory, at_boot=wanted.at_boot, ceiling=wanted.ceiling)) if wanted.memory else "",
    }
    return resize.settled(
        vmi, now, cpus_fault=faults["cpus_fault"] and CPUS_FAULT,
        memory_fault=faults["memory_fault"] and MEMORY_FAULT)


async def _given(
    vmi: v1.VirtualMachineInstance, launcher: Launcher, recorder: EventRecorder, request: Request
) -> str:
    """Why the guest could not be given it, "" when it was."""
    why = ""
    if launcher.version < LEAST_VERSION:
        why = "the launcher is too old for it"
    else:
        try:
            await launcher.call(request, deadline_s=DEADLINE_S)
        except ConnectionLost:
            raise
        except RpcError as error:
            why = str(error)
    if why:
        _logger.warning("not given to the guest", key=launcher.key, request=str(request), why=why)
        recorder.event(vmi, "Warning", "SyncFailed", f"the guest could not be given what it was to have: {why}")
    return why
