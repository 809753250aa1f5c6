"""The states in which a VMI accepts an action, and the codes that clients wait by."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from virt.api import core, v1
from virt.api.v1 import Condition
from virt.apiserver import preconditions
from virt.kube.http import RefusedError

PAUSED = (Condition(type="Paused", status="True"),)


def vmi(phase: str = "Running", conditions: tuple[Condition, ...] = (), **spec: Any) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="vm1", namespace="ns"), spec=v1.VirtualMachineInstanceSpec(**spec),
        status=v1.VirtualMachineInstanceStatus(phase=phase, conditions=conditions),
    )


def domain(**devices: Any) -> v1.DomainSpec:
    return v1.DomainSpec(devices=v1.Devices(**devices))


NO_ACPI = v1.DomainSpec(features=v1.Features(acpi=v1.FeatureState(enabled=False)))


@pytest.mark.parametrize(
    ("check", "instance", "code", "message"),
    [
        (preconditions.console, vmi("Scheduling"), 400, "VMI is not running"),
        (preconditions.console, vmi("Succeeded"), 400, "VMI is not running"),
        (preconditions.console, vmi("Failed"), 409, "VMI is in failed status"),
        (preconditions.console, vmi(domain=domain(autoattach_serial_console=False)), 400, "No serial consoles"),
        (preconditions.graphics, vmi(""), 400, "VMI is not running"),
        (preconditions.graphics, vmi(domain=domain(autoattach_graphics_device=False)), 400, "No graphics devices"),
        (preconditions.pause, vmi("Scheduled"), 409, "VMI is not running"),
        (preconditions.pause, vmi(conditions=PAUSED), 409, "VMI is already paused"),
        (preconditions.pause, vmi(liveness_probe=v1.Probe(tcp_socket=core.TCPSocketAction(port=1))), 403,
         "LivenessProbe"),
        (preconditions.soft_reboot, vmi(conditions=PAUSED), 409, "VMI is paused"),
        (preconditions.soft_reboot, vmi(domain=NO_ACPI), 409, "ACPI"),
        (preconditions.reset, vmi("Failed"), 400, "VMI is not running"),
        (preconditions.guest_agent, vmi(), 409, "guest agent"),
        (preconditions.port_forward, vmi(conditions=PAUSED), 409, "VMI is paused"),
        (preconditions.port_forward, vmi(), 400, "no network interfaces"),
    ],
)
def test_refused(
    check: Callable[[v1.VirtualMachineInstance], object], instance: v1.VirtualMachineInstance, code: int, message: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        check(instance)
    assert caught.value.status.code == code
    assert message in caught.value.status.message


def test_accepted() -> None:
    running = vmi()
    for check in (preconditions.console, preconditions.graphics, preconditions.pause, preconditions.reset,
                  preconditions.soft_reboot):
        check(running)
    preconditions.console(vmi(conditions=PAUSED))
    preconditions.unpause(vmi(conditions=PAUSED), None)
    preconditions.pause(vmi(liveness_probe=v1.Probe(guest_agent_ping=v1.GuestAgentPing())))


def test_a_port_is_forwarded_to_no_address_that_the_guest_chose() -> None:
    """Steps: dial a guest whose secondary network comes first, and one that has no other."""
    networks = (v1.Network(name="fast", multus=v1.MultusNetwork(network_name="fast")),
                v1.Network(name="default", pod=v1.PodNetwork()))
    told = tuple(v1.VirtualMachineInstanceNetworkInterface(name=name, ip_address=address) for name, address in (
        ("fast", "10.96.0.1"), ("", "10.96.0.2"), ("default", "10.244.1.5")))
    guest = vmi(networks=networks)
    guest = replace(guest, status=replace(guest.status, interfaces=told))
    assert preconditions.port_forward(guest) == "10.244.1.5"
    with pytest.raises(RefusedError, match="no network interfaces"):
        preconditions.port_forward(replace(guest, status=replace(guest.status, interfaces=told[:2])))


def test_no_unpause_while_a_snapshot_is_taken() -> None:
    owner = v1.VirtualMachine(status=v1.VirtualMachineStatus(snapshot_in_progress="snap"))
    with pytest.raises(RefusedError, match="snap"):
        preconditions.unpause(vmi(conditions=PAUSED), owner)


def test_only_a_taint_by_which_guests_are_moved_keeps_the_mark() -> None:
    guest = v1.VirtualMachineInstance(status=v1.VirtualMachineInstanceStatus(evacuation_node_name="a"))
    soft = core.Node(spec=core.NodeSpec(taints=(core.Taint(key="drain", effect="PreferNoSchedule"),)))
    assert preconditions.cancel_evacuation(guest, soft, "", "drain")
