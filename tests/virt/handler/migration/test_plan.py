from typing import Any

import pytest
from msgspec.structs import replace

from virt.api.migrationstate import ABORTED, State, is_under_way
from virt.handler.migration.plan import (
    SourceSeen,
    SourceStep,
    TargetSeen,
    TargetStep,
    has_arrived,
    source,
    target,
)
from virt.rpc.messages import DomainState, DomainStatus, MigrationPhase, MigrationReport

NOW, BEFORE = "2026-01-01T12:00:00Z", "2026-01-01T11:59:00Z"
HANDED = State(migration_uid="m", source_node="a", target_node="b")
READY = replace(HANDED, target_node_address="10.0.0.2")
BEGUN = replace(READY, start_timestamp=BEFORE, mode="PreCopy")
OVER = replace(BEGUN, completed=True)


def domain(phase: MigrationPhase | None = None, uid: str = "m", reason: str = "") -> DomainStatus:
    report = None if phase is None else MigrationReport(uid=uid, phase=phase, reason=reason)
    return DomainStatus(state=DomainState.RUNNING, migration=report)


RUNNING, FAILED = domain(MigrationPhase.RUNNING), domain(MigrationPhase.FAILED, reason="r")
PAUSED_FOR_IT = replace(RUNNING, migration=MigrationReport(uid="m", phase=MigrationPhase.RUNNING, mode="Paused"))
ABORTED_NOW = domain(MigrationPhase.ABORTED, reason="x")
HERE = DomainStatus(state=DomainState.RUNNING)
STUCK = replace(RUNNING, migration=MigrationReport(uid="m", phase=MigrationPhase.RUNNING, is_stuck=True))
OFF = DomainStatus(state=DomainState.SHUTOFF, reason="Shutdown")


@pytest.mark.parametrize(("state", "told", "has_ports", "step", "changes"), [
    (HANDED, HERE, False, SourceStep.NOTHING, {}),                              # the target is not ready
    (READY, None, False, SourceStep.NOTHING, {}),
    (READY, DomainStatus(state=DomainState.SHUTOFF), False, SourceStep.NOTHING, {}),
    (READY, HERE, False, SourceStep.START, {}),
    (READY, domain(MigrationPhase.FAILED, uid="earlier"), False, SourceStep.START, {}),
    (READY, domain(MigrationPhase.RUNNING, uid="earlier"), False, SourceStep.CANCEL, {}),
    (READY, HERE, True, SourceStep.NOTHING, {}),                                # asked, and its report is on the way
    (replace(READY, abort_requested=True), HERE, True, SourceStep.NOTHING, {}),     # cancelled once it is told
    (READY, RUNNING, True, SourceStep.NOTHING, {"start_timestamp": NOW, "mode": "PreCopy"}),
    (BEGUN, RUNNING, True, SourceStep.NOTHING, {}),
    (BEGUN, PAUSED_FOR_IT, True, SourceStep.NOTHING, {"mode": "Paused"}),
    (BEGUN, RUNNING, False, SourceStep.CANCEL, {}),                             # a new handler
    (BEGUN, STUCK, True, SourceStep.CUT, {}),
    (BEGUN, STUCK, False, SourceStep.CUT, {}),
    (replace(BEGUN, abort_requested=True), RUNNING, True, SourceStep.CANCEL, {"abort_status": "Aborting"}),
    (replace(BEGUN, abort_requested=True, abort_status="Aborting"), RUNNING, True, SourceStep.NOTHING, {}),
    (replace(READY, abort_requested=True), HERE, False, SourceStep.NOTHING,
     {"failed": True, "completed": True, "failure_reason": ABORTED, "end_timestamp": NOW, "abort_status": "Succeeded"}),
    (replace(BEGUN, abort_requested=True), ABORTED_NOW, True, SourceStep.NOTHING,
     {"failed": True, "completed": True, "failure_reason": ABORTED, "end_timestamp": NOW, "abort_status": "Succeeded"}),
    (BEGUN, ABORTED_NOW, True, SourceStep.NOTHING,                              # by a time-out
     {"failed": True, "completed": True, "failure_reason": "x", "end_timestamp": NOW, "abort_status": "Succeeded"}),
    (BEGUN, FAILED, True, SourceStep.NOTHING,
     {"failed": True, "completed": True, "failure_reason": "r", "end_timestamp": NOW}),
    (READY, FAILED, True, SourceStep.NOTHING,
     {"start_timestamp": NOW, "mode": "PreCopy", "failed": True, "completed": True, "failure_reason": "r",
      "end_timestamp": NOW}),
    (BEGUN, HERE, True, SourceStep.NOTHING,
     {"failed": True, "completed": True, "end_timestamp": NOW,
      "failure_reason": "the launcher of the source knows of no such migration"}),
    (BEGUN, domain(MigrationPhase.SUCCEEDED), True, SourceStep.NOTHING, {}),
    (OVER, domain(MigrationPhase.SUCCEEDED), True, SourceStep.NOTHING, {}),
    (replace(OVER, failed=True), RUNNING, True, SourceStep.CANCEL, {}),         # the controller gave it up
    (OVER, FAILED, True, SourceStep.NOTHING, {}),                               # whoever wrote first is right
])
def test_the_node_that_the_guest_leaves(
    state: State, told: DomainStatus | None, has_ports: bool, step: SourceStep, changes: dict[str, Any]
) -> None:
    found = source(state, SourceSeen(told, has_ports), NOW)
    assert (found.step, found.state) == (step, replace(state, **changes))


@pytest.mark.parametrize(("state", "seen", "step"), [
    (HANDED, TargetSeen(None, is_connected=False, is_listening=False), TargetStep.WAIT),
    (HANDED, TargetSeen(None, is_connected=True, is_listening=False), TargetStep.PREPARE),
    (READY, TargetSeen(None, is_connected=True, is_listening=True), TargetStep.WAIT),
    (READY, TargetSeen(None, is_connected=True, is_listening=False), TargetStep.FAIL),       # a new handler
    (HANDED, TargetSeen(None, is_connected=True, is_listening=True), TargetStep.PREPARE),    # the write was lost
    (BEGUN, TargetSeen(HERE, is_connected=True, is_listening=True), TargetStep.TAKE_OVER),
    (BEGUN, TargetSeen(HERE, is_connected=True, is_listening=False), TargetStep.TAKE_OVER),
    (BEGUN, TargetSeen(None, is_connected=False, is_listening=True, is_dead=True), TargetStep.FAIL),
    # It died with the guest that had just come.
    (BEGUN, TargetSeen(HERE, is_connected=False, is_listening=True, is_dead=True), TargetStep.FAIL),
    (BEGUN, TargetSeen(HERE, is_connected=False, is_listening=True), TargetStep.TAKE_OVER),
    (BEGUN, TargetSeen(OFF, is_connected=False, is_listening=True, is_dead=True), TargetStep.TAKE_OVER),
    (replace(READY, abort_requested=True), TargetSeen(None, is_connected=True, is_listening=True), TargetStep.FAIL),
    (replace(BEGUN, abort_requested=True), TargetSeen(None, is_connected=True, is_listening=True), TargetStep.WAIT),
    (OVER, TargetSeen(HERE, is_connected=True, is_listening=True), TargetStep.CLOSE),
    (replace(OVER, failed=True), TargetSeen(None, is_connected=True, is_listening=True), TargetStep.CLOSE),
    # It came all the same: two nodes must not run it.
    (replace(OVER, failed=True), TargetSeen(HERE, is_connected=True, is_listening=True), TargetStep.DESTROY),
    (replace(OVER, failed=True), TargetSeen(HERE, is_connected=False, is_listening=True), TargetStep.CLOSE),
    (replace(OVER, failed=True), TargetSeen(OFF, is_connected=True, is_listening=True), TargetStep.CLOSE),
    (BEGUN, TargetSeen(HERE, is_connected=True, is_listening=True, is_final=True), TargetStep.DESTROY),
    (BEGUN, TargetSeen(None, is_connected=True, is_listening=True, is_final=True), TargetStep.CLOSE),
    (BEGUN, TargetSeen(OFF, is_connected=True, is_listening=True, is_dead=True), TargetStep.TAKE_OVER),
    (State(), TargetSeen(None, is_connected=True, is_listening=False), TargetStep.CLOSE),
])
def test_the_node_that_the_guest_comes_to(state: State, seen: TargetSeen, step: TargetStep) -> None:
    assert target(state, seen).step is step


@pytest.mark.parametrize(("state", "reason", "expected"), [
    (DomainState.NONE, "", False),
    (DomainState.SHUTOFF, "Migrated", False),
    (DomainState.SHUTOFF, "Failed", False),
    (DomainState.CRASHED, "", False),
    (DomainState.PAUSED, "User", True),
    (DomainState.PAUSED, "Crashed", True),
    (DomainState.RUNNING, "", True),
    (DomainState.SHUTDOWN, "", True),
    (DomainState.SHUTOFF, "Shutdown", True),                    # it was quick
])
def test_when_a_guest_has_arrived(state: DomainState, reason: str, expected: bool) -> None:
    assert has_arrived(DomainStatus(state=state, reason=reason)) is expected


def test_what_is_under_way() -> None:
    assert [is_under_way(state) for state in (None, State(), HANDED, BEGUN, OVER, replace(BEGUN, failed=True))] == [
        False, False, True, True, False, False]
