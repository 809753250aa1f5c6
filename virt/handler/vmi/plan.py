"""What a pass over a VMI does next: domain and launcher as seen on the node -> phase, action, next look. Pure.

KubeVirt: the state machine of a VMI's phases and the shutdown of guests in pkg/virt-handler.
"""

import enum
from dataclasses import dataclass, replace
from datetime import datetime

from virt.api import phases, v1
from virt.api.migrationstate import is_under_way
from virt.base.clock import parse_time
from virt.handler.launchers.launcher import LIVE_STATES
from virt.rpc.messages import DomainState, DomainStatus, MigrationPhase

POWER_BUTTON_EVERY_S = 5.0
LOOK_AGAIN_S = 5.0
SILENT_LAUNCHER_S = 300.0      # so long a launcher may be away while its process, or something of its pod, lives
UNKNOWN_SHUTOFF_S = 300.0
NO_DOMAIN_S = 60.0
LEFT_S = 60.0                  # until the target must have taken over a guest that has left
RESUME_S = (10.0, 20.0, 40.0, 80.0, 160.0, 180.0)      # pauses before tries after an I/O error; the last repeats

FINAL_PHASES = phases.FINAL


class Action(enum.Enum):
    NOTHING = "nothing"
    START = "start"                # wire the pod, have the domain defined and started
    PRESS_POWER_BUTTON = "press power button"
    RESUME = "resume"              # after an I/O error: the disk may work again; after a migration that failed
    DESTROY = "destroy"


@dataclass(frozen=True)
class Seen:
    """``domain`` None: not told yet. ``silent_s``: how long the launcher has not been connected; ``is_gone``: it will
    never be. ``power_button_s``: time since the last press, None before the first; ``connected_s``: age of the
    connection. ``resumes``: tries to go on after I/O errors so far; ``stopped_s``: time since the last one, or since
    the guest was first seen stopped by one. ``left_s``: since the guest was first seen gone in a migration, else None.
    """

    domain: DomainStatus | None = None
    is_connected: bool = True
    is_gone: bool = False
    silent_s: float = 0.0
    connected_s: float = 0.0
    power_button_s: float | None = None
    resumes: int = 0
    stopped_s: float = 0.0
    left_s: float | None = None


@dataclass(frozen=True)
class Plan:
    """``phase`` is what the VMI's becomes; ``why`` explains a phase that no domain state explains."""

    phase: str
    action: Action = Action.NOTHING
    again_s: float | None = None
    why: str = ""


def plan(vmi: v1.VirtualMachineInstance, seen: Seen, now: datetime) -> Plan:
    phase = vmi.status.phase
    domain = seen.domain
    is_live = seen.is_connected and domain is not None and domain.state in LIVE_STATES
    if phase in FINAL_PHASES:
        return Plan(phase, Action.DESTROY if is_live else Action.NOTHING)
    if phase == "Scheduling":
        return _early(vmi, seen, now)
    if phase not in ("Scheduled", "Running"):
        return Plan(phase)
    if seen.left_s is not None:
        return _left(phase, seen.left_s)
    if not seen.is_connected:
        return _without_launcher(phase, vmi, seen, now)
    if domain is None:
        return Plan(phase)                  # its first event is on the way
    if is_live:
        return _running(vmi, seen, now)
    if domain.state is DomainState.NONE:
        return _without_domain(phase, vmi, seen)
    return _ended(phase, vmi, domain, now)


def phase_of(phase: str, domain: DomainStatus, vmi: v1.VirtualMachineInstance) -> str | None:
    """The phase that a domain state leads to; None where it is not clear yet."""
    match domain.state, domain.reason:
        case DomainState.PAUSED, "PostcopyFailed":
            return "Failed"
        case (DomainState.RUNNING | DomainState.PAUSED), _:
            return "Running"
        case (DomainState.SHUTDOWN | DomainState.NONE), _:
            return phase
        case DomainState.SHUTOFF, ("Shutdown" | "Saved" | "FromSnapshot"):
            return "Succeeded"
        case DomainState.SHUTOFF, "Destroyed":
            # With ACPI and a grace period the guest was asked first: killed means that it did not obey in time.
            return "Failed" if vmi.spec.domain.has_acpi and vmi.spec.grace_s > 0 else "Succeeded"
        case DomainState.SHUTOFF, ("" | "Unknown") if phase == "Scheduled":
            return None
    return "Failed"


def has_left(vmi: v1.VirtualMachineInstance, seen: Seen) -> bool:
    """Whether the guest may be on the target by now, and it is for the target to say so."""
    state = vmi.status.migration_state
    if state is None or not is_under_way(state):
        return False
    if seen.domain is not None and seen.domain.state in (DomainState.SHUTOFF, DomainState.CRASHED):
        return seen.domain.reason == "Migrated"         # it may be so quick that its start is not stored yet
    return seen.is_gone and bool(state.start_timestamp)


def has_come(vmi: v1.VirtualMachineInstance) -> bool:
    """Whether the guest came to its node in a migration."""
    state = vmi.status.migration_state
    return state is not None and state.completed and not state.failed and state.target_node == vmi.status.node_name


def _early(vmi: v1.VirtualMachineInstance, seen: Seen, now: datetime) -> Plan:
    """The kubelet tells of running containers up to a second late, so a launcher that is there starts its domain.

    The phase stays: the controller says when the VMI is scheduled, and what the domain does is told after that.
    """
    if not seen.is_connected or seen.domain is None:
        return Plan("Scheduling")
    if vmi.metadata.deletion_timestamp is None:
        return Plan("Scheduling", Action.START if seen.domain.state is DomainState.NONE else Action.NOTHING)
    if seen.domain.state in LIVE_STATES:
        return replace(_running(vmi, seen, now), phase="Scheduling")
    return Plan("Scheduling")


def _without_launcher(phase: str, vmi: v1.VirtualMachineInstance, seen: Seen, now: datetime) -> Plan:
    if seen.domain is not None and seen.domain.state in (DomainState.SHUTOFF, DomainState.CRASHED):
        return _ended(phase, vmi, seen.domain, now)         # its last words
    if seen.is_gone:
        return Plan("Failed", why="the launcher has ended without saying how its guest did")
    if seen.silent_s >= SILENT_LAUNCHER_S:
        return Plan("Failed", why=f"the launcher has not answered for {seen.silent_s:.0f} s")
    return Plan(phase, again_s=LOOK_AGAIN_S)


def _left(phase: str, left_s: float) -> Plan:
    if left_s < LEFT_S:
        return Plan(phase, again_s=LOOK_AGAIN_S)
    return Plan("Failed", why=f"the guest left in a migration, and its target has not taken it over for {left_s:.0f} s")


def _without_domain(phase: str, vmi: v1.VirtualMachineInstance, seen: Seen) -> Plan:
    if phase == "Scheduled":
        if vmi.metadata.deletion_timestamp is not None:
            return Plan(phase)              # the controller takes the pod away; nothing was started
        return Plan(phase, Action.START)
    if seen.connected_s >= NO_DOMAIN_S:
        return Plan("Failed", why="the launcher has no domain any more")
    return Plan(phase, again_s=LOOK_AGAIN_S)


def _ended(phase: str, vmi: v1.VirtualMachineInstance, domain: DomainStatus, now: datetime) -> Plan:
    after = phase_of(phase, domain, vmi)
    if after is not None:
        return Plan(after)
    if _since_phase_s(vmi, now) >= UNKNOWN_SHUTOFF_S:
        return Plan("Failed", why="the guest is off and was never seen running")
    return Plan(phase, again_s=LOOK_AGAIN_S)


def _running(vmi: v1.VirtualMachineInstance, seen: Seen, now: datetime) -> Plan:
    assert seen.domain is not None
    phase = phase_of(vmi.status.phase, seen.domain, vmi) or vmi.status.phase
    if phase == "Failed":
        return Plan(phase, Action.DESTROY)
    if vmi.metadata.deletion_timestamp is None:
        return _stopped(phase, seen) if is_stopped(vmi, seen.domain) else Plan(phase)
    grace = vmi.spec.grace_s
    left = grace - (now - parse_time(vmi.metadata.deletion_timestamp)).total_seconds()
    if grace == 0 or left <= 0:
        return Plan(phase, Action.DESTROY)
    if not vmi.spec.domain.has_acpi:
        return Plan(phase, again_s=left)        # there is no button: the guest has its time all the same
    if seen.power_button_s is None or seen.power_button_s >= POWER_BUTTON_EVERY_S:
        return Plan(phase, Action.PRESS_POWER_BUTTON, again_s=min(POWER_BUTTON_EVERY_S, left))
    return Plan(phase, again_s=max(0.1, min(POWER_BUTTON_EVERY_S - seen.power_button_s, left)))


def is_stopped(vmi: v1.VirtualMachineInstance, domain: DomainStatus) -> bool:
    """Whether the guest stands still and nobody wants it: by a failing disk, or for a migration that has come to
    nothing while libvirt's daemon was away."""
    if domain.state is not DomainState.PAUSED:
        return False
    if domain.reason != "Migration":
        return domain.reason == "IOError"
    runs = domain.migration is not None and domain.migration.phase is MigrationPhase.RUNNING
    return not runs and not is_under_way(vmi.status.migration_state)


def _stopped(phase: str, seen: Seen) -> Plan:
    left = RESUME_S[min(seen.resumes, len(RESUME_S) - 1)] - seen.stopped_s
    return Plan(phase, Action.RESUME, LOOK_AGAIN_S) if left <= 0 else Plan(phase, again_s=left)


def _since_phase_s(vmi: v1.VirtualMachineInstance, now: datetime) -> float:
    entered = phases.entered_at(vmi.status.phase_transition_timestamps, vmi.status.phase)
    return (now - parse_time(entered)).total_seconds() if entered else 0.0
