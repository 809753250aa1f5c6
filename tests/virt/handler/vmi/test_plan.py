import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tests.virt.handler.world import vmi
from virt.api import v1
from virt.handler.vmi.plan import Action, Plan, Seen, has_left, phase_of, plan
from virt.rpc.messages import DomainState, DomainStatus

NOW = datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
S = DomainState
WITHOUT_ACPI = v1.DomainSpec(features=v1.Features(acpi=v1.FeatureState(enabled=False)))


def deleted(seconds_ago: float, **spec: object) -> v1.VirtualMachineInstance:
    found = vmi("Running", **spec)
    moment = (NOW - timedelta(seconds=seconds_ago)).isoformat()
    return replace(found, metadata=replace(found.metadata, deletion_timestamp=moment))


@pytest.mark.parametrize(("state", "reason", "phase", "after"), [
    (S.RUNNING, "Booted", "Scheduled", "Running"),
    (S.PAUSED, "User", "Scheduled", "Running"),
    (S.PAUSED, "PostcopyFailed", "Running", "Failed"),
    (S.SHUTDOWN, "", "Running", "Running"),
    (S.SHUTOFF, "Shutdown", "Running", "Succeeded"),
    (S.SHUTOFF, "Saved", "Running", "Succeeded"),
    (S.SHUTOFF, "Destroyed", "Running", "Failed"),
    (S.SHUTOFF, "Crashed", "Running", "Failed"),
    (S.SHUTOFF, "Failed", "Running", "Failed"),
    (S.SHUTOFF, "Migrated", "Running", "Failed"),           # in a migration that nobody knows of
    (S.SHUTOFF, "Unknown", "Running", "Failed"),
    (S.SHUTOFF, "Unknown", "Scheduled", None),
    (S.CRASHED, "Panicked", "Running", "Failed"),
])
def test_what_a_domain_state_makes_of_the_phase(
    state: DomainState, reason: str, phase: str, after: str | None
) -> None:
    assert phase_of(phase, DomainStatus(state=state, reason=reason), vmi(phase)) == after


@pytest.mark.parametrize("spec", [{"termination_grace_period_seconds": 0}, {"domain": WITHOUT_ACPI}])
def test_a_guest_that_could_not_be_asked_does_not_fail_when_it_is_destroyed(spec: dict[str, object]) -> None:
    destroyed = DomainStatus(state=S.SHUTOFF, reason="Destroyed")
    assert phase_of("Running", destroyed, vmi("Running", **spec)) == "Succeeded"


def seen(state: DomainState, reason: str = "", **more: object) -> Seen:
    return Seen(DomainStatus(state=state, reason=reason), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("phase", "what", "expected"), [
    ("Scheduling", seen(S.NONE), Plan("Scheduling", Action.START)),
    ("Scheduling", seen(S.RUNNING), Plan("Scheduling")),
    ("Scheduling", seen(S.SHUTOFF, "Shutdown"), Plan("Scheduling")),
    ("Scheduling", Seen(is_connected=False), Plan("Scheduling")),
    ("Pending", seen(S.NONE), Plan("Pending")),
    ("Scheduled", seen(S.NONE), Plan("Scheduled", Action.START)),
    ("Scheduled", Seen(None), Plan("Scheduled")),
    ("Scheduled", seen(S.RUNNING), Plan("Running")),
    ("Running", seen(S.RUNNING), Plan("Running")),
    ("Running", seen(S.NONE, connected_s=1), Plan("Running", again_s=5)),
    ("Failed", seen(S.RUNNING), Plan("Failed", Action.DESTROY)),
    ("Failed", seen(S.SHUTOFF, "Crashed"), Plan("Failed")),
    ("Succeeded", Seen(is_connected=False, is_gone=True), Plan("Succeeded")),
    ("Running", Seen(is_connected=False, silent_s=200), Plan("Running", again_s=5)),
    ("Running", seen(S.SHUTOFF, "Shutdown", is_connected=False, is_gone=True), Plan("Succeeded")),
])
def test_what_is_done_next(phase: str, what: Seen, expected: Plan) -> None:
    assert plan(vmi(phase), what, NOW) == expected


@pytest.mark.parametrize("what", [
    Seen(is_connected=False, is_gone=True),
    seen(S.RUNNING, is_connected=False, is_gone=True),
    Seen(is_connected=False, silent_s=301),
    seen(S.NONE, connected_s=61),
])
def test_a_guest_nobody_can_speak_for_has_failed(what: Seen) -> None:
    found = plan(vmi("Running"), what, NOW)
    assert found.phase == "Failed"
    assert found.why


def test_an_unexplained_shutoff_at_the_start_is_waited_out_for_five_minutes() -> None:
    off = seen(S.SHUTOFF, "")
    assert plan(vmi("Scheduled"), off, NOW) == Plan("Scheduled", again_s=5)
    assert plan(vmi("Scheduled"), off, NOW + timedelta(minutes=5)).phase == "Failed"


@pytest.mark.parametrize(("ago", "pressed_s", "spec", "action", "again_s"), [
    (0, None, {}, Action.PRESS_POWER_BUTTON, 5),
    (2, 2, {}, Action.NOTHING, 3),
    (6, 5, {}, Action.PRESS_POWER_BUTTON, 5),
    (28, 6, {}, Action.PRESS_POWER_BUTTON, 2),
    (30, 2, {}, Action.DESTROY, None),
    (0, None, {"termination_grace_period_seconds": 0}, Action.DESTROY, None),
    (31, 1, {"termination_grace_period_seconds": 600}, Action.NOTHING, 4),
])
def test_the_power_button_is_pressed_until_the_grace_is_over(
    ago: float, pressed_s: float | None, spec: dict[str, object], action: Action, again_s: float | None
) -> None:
    found = plan(deleted(ago, **spec), seen(S.RUNNING, power_button_s=pressed_s), NOW)
    assert (found.phase, found.action, found.again_s) == ("Running", action, again_s)


def test_a_deleted_vmi_that_has_no_guest_yet_gets_none() -> None:
    waiting = deleted(0)
    waiting = replace(waiting, status=replace(waiting.status, phase="Scheduled"))
    assert plan(waiting, seen(S.NONE), NOW) == Plan("Scheduled")


@pytest.mark.parametrize(("resumes", "stopped_s", "action", "again_s"), [
    (0, 0, Action.NOTHING, 10), (0, 10, Action.RESUME, 5), (1, 10, Action.NOTHING, 10), (9, 180, Action.RESUME, 5),
])
def test_a_guest_that_a_disk_stopped_is_tried_again_more_and_more_slowly(
    resumes: int, stopped_s: float, action: Action, again_s: float
) -> None:
    found = plan(vmi("Running"), seen(S.PAUSED, "IOError", resumes=resumes, stopped_s=stopped_s), NOW)
    assert (found.phase, found.action, found.again_s) == ("Running", action, again_s)
    assert plan(vmi("Running"), seen(S.PAUSED, "User", stopped_s=1000), NOW) == Plan("Running")


def test_a_guest_deleted_before_its_vmi_was_scheduled_is_brought_down() -> None:
    found = deleted(1)
    early = replace(found, status=replace(found.status, phase="Scheduling"))
    assert plan(early, seen(S.NONE), NOW) == Plan("Scheduling")
    assert plan(early, seen(S.RUNNING), NOW) == Plan("Scheduling", Action.PRESS_POWER_BUTTON, again_s=5.0)


UNDER_WAY = v1.VirtualMachineInstanceMigrationState(migration_uid="m", start_timestamp="2026-01-01T00:00:00Z")
LEFT, GONE = seen(S.SHUTOFF, "Migrated"), Seen(is_connected=False, is_gone=True)


@pytest.mark.parametrize(("state", "what", "expected"), [
    (UNDER_WAY, LEFT, True),
    (replace(UNDER_WAY, start_timestamp=None), LEFT, True),         # quicker than its start was stored
    (UNDER_WAY, GONE, True),                                        # killed in the moment of the switch-over, maybe
    (replace(UNDER_WAY, start_timestamp=None), GONE, False),
    (UNDER_WAY, seen(S.SHUTOFF, "Crashed", is_gone=True), False),
    (UNDER_WAY, seen(S.RUNNING), False),
    (replace(UNDER_WAY, completed=True), LEFT, False),
    (None, LEFT, False),
])
def test_a_guest_that_may_be_elsewhere(
    state: v1.VirtualMachineInstanceMigrationState | None, what: Seen, expected: bool
) -> None:
    found = vmi("Running")
    assert has_left(replace(found, status=replace(found.status, migration_state=state)), what) is expected


def test_the_target_has_a_minute_to_take_over() -> None:
    assert plan(vmi("Running"), dataclasses.replace(LEFT, left_s=59), NOW) == Plan("Running", again_s=5)
    assert plan(vmi("Running"), dataclasses.replace(LEFT, left_s=60), NOW).phase == "Failed"


def test_a_guest_without_a_power_button_is_left_its_grace() -> None:
    spec = {"domain": WITHOUT_ACPI, "termination_grace_period_seconds": 5}
    assert plan(deleted(1, **spec), seen(S.RUNNING), NOW) == Plan("Running", again_s=4)
    assert plan(deleted(6, **spec), seen(S.RUNNING), NOW).action is Action.DESTROY
