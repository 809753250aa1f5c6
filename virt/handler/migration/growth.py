"""A guest that has come is given what its VMI wants for it, before anybody is told that it is here.

So whoever sees the end of the migration sees the guest with all of it, and a handler that is restarted in between does
it again: what the guest has already it is not given twice.
"""

from virt.api import resize, v1
from virt.base import log
from virt.handler.launchers.launcher import LIVE_STATES, Launcher
from virt.kube.events import EventRecorder
from virt.rpc.errors import ConnectionLost, RpcError
from virt.rpc.messages import SetVcpus

DEADLINE_S = 20.0
LEAST_VERSION = 4               # of the launcher's protocol
CPUS_FAULT = "CPU hotplug failed, the VM configuration is not supported"

_logger = log.get("virt.handler.migration")


async def grown(
    vmi: v1.VirtualMachineInstance, launcher: Launcher | None, recorder: EventRecorder, now: str
) -> v1.VirtualMachineInstanceStatus:
    """The VMI's status once the guest has been given what was pending, or why it could not be. ``now``: RFC 3339.

    A guest that has ended meanwhile needs nothing any more. Raises ConnectionLost.
    """
    if not resize.is_pending(vmi):
        return vmi.status
    if launcher is None or launcher.status is None or launcher.status.state not in LIVE_STATES:
        return vmi.status
    why = await _given(launcher, resize.vcpus(vmi.spec.domain.cpu))
    if why:
        _logger.warning("processors not given to the guest", key=launcher.key, why=why)
        recorder.event(vmi, "Warning", "SyncFailed", f"the guest could not be given what it was to have: {why}")
    return resize.settled(vmi, now, fault=CPUS_FAULT if why else "")


async def _given(launcher: Launcher, count: int) -> str:
    """Why the guest could not be given so many processors, "" when it was."""
    if launcher.version < LEAST_VERSION:
        return "the launcher is too old for it"
    try:
        await launcher.call(SetVcpus(count=count), deadline_s=DEADLINE_S)
    except ConnectionLost:
        raise
    except RpcError as error:
        return str(error)
    return ""
