"""What a node does next about a migration: the state on the VMI and what is seen here -> a step. Pure.

The VMI's ``status.migrationState`` is the only thing that both nodes, the controller and people share. Every write to
it is guarded by the resource version, so of "it failed" and "it is here now" the first one that is stored holds, and
whoever lost the race obeys: a guest that two nodes think theirs is destroyed on the one that the VMI does not name.
"""

import enum
from dataclasses import dataclass

from msgspec.structs import replace

from virt.api.migrationstate import ABORTED, State, failed, is_under_way
from virt.handler.launchers.launcher import LIVE_STATES
from virt.rpc.messages import DomainState, DomainStatus, MigrationPhase, MigrationReport

_REPLACED = "another migration has taken its place"


# --- the node that the guest leaves ---


class SourceStep(enum.Enum):
    NOTHING = "nothing"
    START = "start"
    CANCEL = "cancel"
    CUT = "cut"                    # the connections: waiting for the other side is pointless


@dataclass(frozen=True)
class SourceSeen:
    """``domain``: as the launcher told it last, None when it is not connected. ``has_ports``: this handler joins the
    sockets of this migration."""

    domain: DomainStatus | None
    has_ports: bool


@dataclass(frozen=True)
class SourcePlan:
    """``state``: what the VMI is to say. ``uid`` and ``why``: of the migration to CANCEL."""

    state: State
    step: SourceStep = SourceStep.NOTHING
    uid: str = ""
    why: str = ""


def source(state: State, seen: SourceSeen, now: str) -> SourcePlan:
    report = seen.domain.migration if seen.domain is not None else None
    if report is not None and report.phase is MigrationPhase.RUNNING and (
        report.uid != state.migration_uid or state.failed
    ):
        return SourcePlan(state, SourceStep.CANCEL, report.uid, state.failure_reason or _REPLACED)
    if not is_under_way(state) or seen.domain is None:
        return SourcePlan(state)
    if report is None or report.uid != state.migration_uid:
        return _not_begun(state, seen, now)
    begun = replace(state, start_timestamp=state.start_timestamp or now, mode=report.mode)
    match report.phase:
        case MigrationPhase.RUNNING if state.abort_requested and not state.abort_status:
            return SourcePlan(replace(begun, abort_status="Aborting"), SourceStep.CANCEL, report.uid, ABORTED)
        case MigrationPhase.RUNNING if report.is_stuck:
            return SourcePlan(begun, SourceStep.CUT)
        case MigrationPhase.RUNNING if not seen.has_ports:
            return SourcePlan(begun, SourceStep.CANCEL, report.uid, "virt-handler of the source node was restarted")
        case MigrationPhase.FAILED | MigrationPhase.ABORTED:
            aborted = report.phase is MigrationPhase.ABORTED
            return SourcePlan(failed(begun, _reason(state, report), now, aborted=aborted))
    return SourcePlan(begun)                # it runs, or the guest has left: the target tells that it came


def _not_begun(state: State, seen: SourceSeen, now: str) -> SourcePlan:
    assert seen.domain is not None
    if state.start_timestamp:
        why = ABORTED if state.abort_requested else "the launcher of the source knows of no such migration"
        return SourcePlan(failed(state, why, now))
    if seen.has_ports:
        return SourcePlan(state)            # it was asked, and its first report is on the way
    if state.abort_requested:
        return SourcePlan(failed(state, ABORTED, now))
    if state.target_node_address and seen.domain.state in (DomainState.RUNNING, DomainState.PAUSED):
        return SourcePlan(state, SourceStep.START)
    return SourcePlan(state)


def _reason(state: State, report: MigrationReport) -> str:
    if state.abort_requested and report.phase is MigrationPhase.ABORTED:
        return ABORTED
    return report.reason or "Live migration failed"


# --- the node that the guest comes to ---


class TargetStep(enum.Enum):
    WAIT = "wait"
    PREPARE = "prepare"            # and then publish where to connect
    TAKE_OVER = "take over"
    FAIL = "fail"
    CLOSE = "close"
    DESTROY = "destroy"            # the guest came all the same, and it is not ours


@dataclass(frozen=True)
class TargetSeen:
    """``is_connected``: the target's launcher; ``is_dead``: it will never be again. ``is_listening``: this handler
    serves the ports of this migration. ``is_final``: the VMI has ended, so it cannot go on anywhere."""

    domain: DomainStatus | None
    is_connected: bool
    is_listening: bool
    is_dead: bool = False
    is_final: bool = False


@dataclass(frozen=True)
class TargetPlan:
    step: TargetStep
    why: str = ""


def target(state: State, seen: TargetSeen) -> TargetPlan:
    if seen.is_final or not is_under_way(state):
        is_refused = (seen.is_final or state.failed) and seen.is_connected
        is_here = seen.domain is not None and seen.domain.state in LIVE_STATES
        return TargetPlan(TargetStep.DESTROY if is_refused and is_here else TargetStep.CLOSE)
    # Its guest ended with it. What it said last is no longer so, and the source may have its guest back.
    is_lost = seen.is_dead and not seen.is_connected and seen.domain is not None and seen.domain.state in LIVE_STATES
    if seen.domain is not None and has_arrived(seen.domain) and not is_lost:
        return TargetPlan(TargetStep.TAKE_OVER)
    if seen.is_dead:
        return TargetPlan(TargetStep.FAIL, "the launcher of the target has ended")
    if state.abort_requested and not state.start_timestamp:
        return TargetPlan(TargetStep.FAIL, ABORTED)
    if not seen.is_connected:
        return TargetPlan(TargetStep.WAIT)
    if seen.is_listening and state.target_node_address:
        return TargetPlan(TargetStep.WAIT)
    if state.target_node_address:
        # Connections that an earlier handler joined are cut; what was published leads nowhere now.
        return TargetPlan(TargetStep.FAIL, "virt-handler of the target node was restarted")
    return TargetPlan(TargetStep.PREPARE)


def has_arrived(domain: DomainStatus) -> bool:
    """Whether the guest is here, or was so quick that it has shut down already. Of one that is still coming its
    launcher tells nothing (:mod:`virt.launcher.migration.incoming`); off for another reason, it may run elsewhere."""
    return domain.state in LIVE_STATES or (domain.state is DomainState.SHUTOFF and domain.reason == "Shutdown")
