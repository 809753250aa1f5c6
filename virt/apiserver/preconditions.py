"""What a VMI's state has to be for an action on it. Pure: each function returns nothing or raises RefusedError."""

from virt.api import conditions, core, kinds, v1
from virt.api.validate.eviction import is_drained
from virt.apiserver.refusal import bad_request, conflict, forbidden
from virt.kube.http import RefusedError

NOT_RUNNING = "VMI is not running"


def console(vmi: v1.VirtualMachineInstance) -> None:
    """Clients repeat on 400 until the guest is there; a failed VMI is 409, so that they stop."""
    if vmi.spec.domain.devices.autoattach_serial_console is False:
        raise bad_request("No serial consoles are present.")
    if vmi.status.phase == "Failed":
        raise _conflict(vmi, "VMI is in failed status")
    if vmi.status.phase != "Running":
        raise bad_request(NOT_RUNNING)


def graphics(vmi: v1.VirtualMachineInstance) -> None:
    """VNC and screenshots."""
    if vmi.spec.domain.devices.autoattach_graphics_device is False:
        raise bad_request("No graphics devices are present.")
    if vmi.status.phase != "Running":
        raise bad_request(NOT_RUNNING)


def pause(vmi: v1.VirtualMachineInstance) -> None:
    running(vmi)
    probe = vmi.spec.liveness_probe
    if probe is not None and probe.guest_agent_ping is None:
        raise forbidden(kinds.VMI, vmi.metadata.name, "Pausing VMIs with LivenessProbe is currently not supported")
    if conditions.is_true(vmi.status.conditions, "Paused"):
        raise _conflict(vmi, "VMI is already paused")


def unpause(vmi: v1.VirtualMachineInstance, vm: v1.VirtualMachine | None) -> None:
    """``vm``: the owner, if there is one."""
    running(vmi)
    if not conditions.is_true(vmi.status.conditions, "Paused"):
        raise _conflict(vmi, "VMI is not paused")
    if vm is not None and vm.status.snapshot_in_progress:
        raise _conflict(vmi, f"cannot unpause while snapshot {vm.status.snapshot_in_progress!r} is in progress")


def soft_reboot(vmi: v1.VirtualMachineInstance) -> None:
    running(vmi)
    if conditions.is_true(vmi.status.conditions, "Paused"):
        raise _conflict(vmi, "VMI is paused")
    if not vmi.spec.domain.has_acpi and not conditions.is_true(vmi.status.conditions, "AgentConnected"):
        raise _conflict(vmi, "VMI neither have the agent connected nor the ACPI feature enabled")


def reset(vmi: v1.VirtualMachineInstance) -> None:
    if vmi.status.phase != "Running":
        raise bad_request(NOT_RUNNING)


def running(vmi: v1.VirtualMachineInstance) -> None:
    if vmi.status.phase != "Running":
        raise _conflict(vmi, NOT_RUNNING)


def guest_agent(vmi: v1.VirtualMachineInstance) -> None:
    running(vmi)
    if not conditions.is_true(vmi.status.conditions, "AgentConnected"):
        raise _conflict(vmi, "VMI does not have guest agent connected")


def migrate(vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None) -> None:
    if vmi is None or vmi.status.phase != "Running":
        raise conflict(kinds.VM, vm.metadata.name, "VM is not running")


def cancel_evacuation(vmi: v1.VirtualMachineInstance, node: core.Node | None, asked: str, taint: str) -> bool:
    """Whether there is a mark to take away. ``node``: the one that is to be left; ``asked``: its name as the caller
    gave it, "" for whichever it is; ``taint``: the key that says that a node is to be left."""
    marked = vmi.status.evacuation_node_name
    if not marked:
        return False
    if asked and asked != marked:
        raise bad_request(
            f"evacuationNodeName: {asked!r} is not the node that the VMI is to leave, which is {marked!r}")
    if is_drained(node, taint):
        raise bad_request(f"node {marked} has the taint {taint}, so the VMI would be evacuated again: remove it first")
    return True


def port_forward(vmi: v1.VirtualMachineInstance) -> str:
    """The address to dial: the first of the interface on the pod network. Of others the guest itself tells its
    addresses, and could name any host that virt-api reaches and its owner does not."""
    if conditions.is_true(vmi.status.conditions, "Paused"):
        raise _conflict(vmi, "VMI is paused")
    if vmi.status.phase != "Running":
        raise bad_request(NOT_RUNNING)
    on_pod = {network.name for network in vmi.spec.networks if network.pod is not None}
    address = next((each.ip_address for each in vmi.status.interfaces if each.ip_address and each.name in on_pod), "")
    if not address:
        raise bad_request("no network interfaces are present")
    return address


def _conflict(vmi: v1.VirtualMachineInstance, why: str) -> RefusedError:
    return conflict(kinds.VMI, vmi.metadata.name, why)
