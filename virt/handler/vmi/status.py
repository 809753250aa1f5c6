"""The part of a VMI's status that the node knows: domain state and network -> status. Pure.

Only values that this module owns are touched. An unchanged world gives back an equal status, so that nothing is
written.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from virt.api import conditions, phases, v1
from virt.api.migrationstate import is_under_way
from virt.base.clock import rfc3339
from virt.handler.net.plan import pod_link_name
from virt.handler.vmi import hotplug, migratable
from virt.handler.vmi.nics import queue_count
from virt.rpc.messages import DiskTarget, DomainState, DomainStatus, GivenFunction, GuestInterface, WiredInterface

MAX_GUEST_INTERFACES = 10     # beside those of the spec: the guest decides what its agent says
MAX_ADDRESSES = 16
MAX_TEXT = 256
_MAX_MESSAGE = 1024

PAUSED_BY_USER = "PausedByUser"
_PAUSED = {"User": PAUSED_BY_USER, "IOError": "PausedIOError", "Migration": "PausedByMigrationMonitor"}
_PAUSED_MESSAGES = {
    PAUSED_BY_USER: "The guest was paused on request.",
    "PausedIOError": "The guest was paused because a disk failed.",
    "PausedByMigrationMonitor": "The guest was paused so that its migration can finish.",
}
# What the agent must be able to do, or a person is told that it is too old.
_AGENT_COMMANDS = frozenset({
    "guest-ping", "guest-get-time", "guest-info", "guest-shutdown", "guest-network-get-interfaces", "guest-get-fsinfo",
    "guest-get-host-name", "guest-get-users", "guest-get-timezone", "guest-get-osinfo",
})
SYNC_FAILED = "Synchronizing with the Domain failed."


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """What the handler knows of the pod's network: interfaces as wired, functions given for those of SR-IOV, and the
    pod's own addresses."""

    wired: tuple[WiredInterface, ...] = ()
    pod_addresses: tuple[str, ...] = ()
    functions: tuple[GivenFunction, ...] = ()


def running(
    vmi: v1.VirtualMachineInstance, domain: DomainStatus, network: Network | None, now: datetime
) -> v1.VirtualMachineInstanceStatus:
    """Status of a VMI whose guest lives; phase and errors aside. ``network`` None keeps what the status says."""
    status = vmi.status
    time = rfc3339(now)
    return replace(
        status,
        conditions=_conditions(vmi, domain, time),
        interfaces=_interfaces(vmi, network, domain.guest_interfaces),
        guest_os_info=_guest_os(domain),
        volume_status=hotplug.statuses(vmi, _volumes(status.volume_status, domain.disks), domain),
        machine=v1.Machine(type=domain.machine) if domain.machine else status.machine,
        migration_method=migratable.method(vmi),
        fs_freeze_status="frozen" if domain.frozen else "",
    )


def ended(status: v1.VirtualMachineInstanceStatus) -> v1.VirtualMachineInstanceStatus:
    """Status of a VMI whose guest is off: nothing about a running guest holds any more."""
    left = status.conditions
    for gone in ("AgentConnected", "AgentVersionNotSupported", "Paused"):
        left = conditions.without(left, gone)
    return replace(status, conditions=left, fs_freeze_status="")


def with_phase(
    status: v1.VirtualMachineInstanceStatus, phase: str, now: datetime, reason: str = ""
) -> v1.VirtualMachineInstanceStatus:
    if status.phase == phase:
        return status
    return replace(
        status, phase=phase, reason=reason or status.reason,
        phase_transition_timestamps=phases.entering(status.phase_transition_timestamps, phase, rfc3339(now)),
    )


def with_error(
    status: v1.VirtualMachineInstanceStatus, message: str, now: datetime
) -> v1.VirtualMachineInstanceStatus:
    """``message`` "" takes the condition away, if this module had set it."""
    if message:
        failed = v1.Condition(type="Synchronized", status="False", reason=SYNC_FAILED, message=message[:_MAX_MESSAGE])
        return replace(status, conditions=conditions.with_condition(status.conditions, failed, rfc3339(now)))
    known = conditions.find(status.conditions, "Synchronized")
    if known is None or known.reason != SYNC_FAILED:
        return status
    return replace(status, conditions=conditions.without(status.conditions, "Synchronized"))


def error_of(status: v1.VirtualMachineInstanceStatus) -> str:
    """What :func:`with_error` has set."""
    known = conditions.find(status.conditions, "Synchronized")
    return known.message if known is not None and known.reason == SYNC_FAILED else ""


def missing(domain: DomainStatus) -> str:
    """What people are told of network cards that the guest should have and has not, "" where it has all."""
    each = (f"interface {name} has no network card: {why}" for name, why in sorted(domain.functions_missing.items()))
    return "; ".join(each)[:_MAX_MESSAGE]


def _conditions(vmi: v1.VirtualMachineInstance, domain: DomainStatus, now: str) -> tuple[v1.Condition, ...]:
    found = conditions.with_condition(vmi.status.conditions, migratable.condition(vmi), now)
    found = conditions.with_condition(found, migratable.storage_condition(vmi), now)
    wanted = {
        "AgentConnected": v1.Condition(type="AgentConnected", status="True") if domain.agent_connected else None,
        "AgentVersionNotSupported": _agent_too_old(domain),
        "Paused": _paused(vmi, domain),
        "SoftwareEmulation": _emulation(domain),
    }
    for name, condition in wanted.items():
        if condition is None:
            found = conditions.without(found, name)
        else:
            found = conditions.with_condition(found, condition, now)
    return found


def _paused(vmi: v1.VirtualMachineInstance, domain: DomainStatus) -> v1.Condition | None:
    state = vmi.status.migration_state
    if domain.reason == "Migration" and is_under_way(state) and state is not None and state.mode != "Paused":
        return conditions.find(vmi.status.conditions, "Paused")      # the moment of the switch-over
    reason = _PAUSED.get(domain.reason) if domain.state is DomainState.PAUSED else None
    if reason is None:
        return None
    return v1.Condition(type="Paused", status="True", reason=reason, message=_PAUSED_MESSAGES[reason])


def _agent_too_old(domain: DomainStatus) -> v1.Condition | None:
    missing = sorted(_AGENT_COMMANDS.difference(domain.agent_commands))
    if not domain.agent_connected or not domain.agent_commands or not missing:
        return None
    return v1.Condition(
        type="AgentVersionNotSupported", status="True",
        reason=f"The guest agent lacks basic commands: {', '.join(missing)}",
    )


def _emulation(domain: DomainStatus) -> v1.Condition | None:
    if domain.accelerator != "tcg":
        return None
    return v1.Condition(
        type="SoftwareEmulation", status="True", reason="NoUsableKVM",
        message="The node has no KVM that runs guests, so the guest's processor is emulated in software.",
    )


def _interfaces(
    vmi: v1.VirtualMachineInstance, network: Network | None, told: Sequence[GuestInterface]
) -> tuple[v1.VirtualMachineInstanceNetworkInterface, ...]:
    known = {entry.name: entry for entry in vmi.status.interfaces if entry.name}
    macs = {entry.name: entry.mac for entry in network.wired} if network else {}
    macs |= {entry.name: entry.mac for entry in network.functions} if network else {}
    by_mac = _by_mac(told)
    networks = {entry.name: entry for entry in vmi.spec.networks}
    found = []
    for interface in vmi.spec.domain.devices.interfaces:
        if interface.state == "absent":
            continue
        before = known.get(interface.name, v1.VirtualMachineInstanceNetworkInterface())
        mac = macs.get(interface.name, before.mac)
        guest = by_mac.pop(mac.lower(), None)
        spec = networks.get(interface.name, v1.Network())
        is_secondary = spec.multus is not None and not spec.multus.default
        # On the pod network the pod's addresses lead, whatever the guest says: clients and virt-api dial the first one.
        addresses = () if is_secondary else _pod_addresses(network, before)
        if guest is not None and (is_secondary or interface.bridge is not None):
            addresses = tuple(dict.fromkeys((*addresses, *guest.ips)))[:MAX_ADDRESSES]
        found.append(v1.VirtualMachineInstanceNetworkInterface(
            name=interface.name,
            mac=mac,
            ip_address=addresses[0] if addresses else "",
            ip_addresses=addresses,
            interface_name=guest.name[:MAX_TEXT] if guest else "",
            pod_interface_name=before.pod_interface_name or pod_link_name(spec.name if is_secondary else ""),
            info_source=_source(before.info_source, has_guest=guest is not None),
            # Of a function that the guest's own driver runs, both are the guest's secret.
            queue_count=0 if interface.sriov is not None else queue_count(interface, vmi.spec.domain),
            link_state="" if interface.sriov is not None else "down" if interface.state == "down" else "up",
        ))
    for guest in list(by_mac.values())[:MAX_GUEST_INTERFACES]:
        addresses = guest.ips[:MAX_ADDRESSES]
        found.append(v1.VirtualMachineInstanceNetworkInterface(
            mac=guest.mac[:MAX_TEXT],
            ip_address=addresses[0] if addresses else "",
            ip_addresses=addresses,
            interface_name=guest.name[:MAX_TEXT],
            info_source="guest-agent",
        ))
    return tuple(found)


def _by_mac(told: Sequence[GuestInterface]) -> dict[str, GuestInterface]:
    """The guest's interfaces but loopback. A bridge has the MAC of one of its ports: of two, that with addresses
    counts."""
    found: dict[str, GuestInterface] = {}
    for entry in told:
        mac = entry.mac.lower()
        if mac and entry.name != "lo" and (mac not in found or (entry.ips and not found[mac].ips)):
            found[mac] = entry
    return found


def _pod_addresses(
    network: Network | None, before: v1.VirtualMachineInstanceNetworkInterface
) -> tuple[str, ...]:
    return network.pod_addresses if network and network.pod_addresses else before.ip_addresses


def _source(before: str, *, has_guest: bool) -> str:
    """``multus-status`` is the controller's word; it stays where it was written."""
    words = ["domain"]
    if has_guest:
        words.append("guest-agent")
    if "multus-status" in before:
        words.append("multus-status")
    return ", ".join(words)


def _guest_os(domain: DomainStatus) -> v1.VirtualMachineInstanceGuestOSInfo | None:
    if not domain.agent_connected or not domain.guest_os:
        return None
    return msgspec.convert(
        {name: text[:MAX_TEXT] for name, text in domain.guest_os.items()}, v1.VirtualMachineInstanceGuestOSInfo
    )


def _volumes(known: tuple[v1.VolumeStatus, ...], disks: Sequence[DiskTarget]) -> tuple[v1.VolumeStatus, ...]:
    targets = {disk.volume: disk for disk in disks}
    found = []
    for entry in known:
        disk = targets.pop(entry.name, None)
        found.append(
            entry if disk is None else replace(entry, target=disk.target, size=disk.size or entry.size)
        )
    found += [v1.VolumeStatus(name=disk.volume, target=disk.target, size=disk.size) for disk in targets.values()]
    return tuple(found)
