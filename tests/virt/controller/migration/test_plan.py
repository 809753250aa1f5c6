"""Each step of a migration, as a table."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from tests.virt.controller.vmi.test_plan import status as container
from virt.api import core, names, v1
from virt.api.migrationstate import ABORTED
from virt.controller.migration.plan import (
    CreateTarget,
    DeleteTarget,
    GiveUp,
    HandOver,
    Release,
    RequestAbort,
    World,
    is_clean,
    plan,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BEFORE, LONG_AGO = "2026-01-01T11:59:30Z", "2026-01-01T11:00:00Z"
State = v1.VirtualMachineInstanceMigrationState
MINE = State(migration_uid="m", source_node="a", target_node="b")


def migration(
    phase: str, *, leaving: bool = False, since: str = BEFORE, uid: str = "m", **meta: Any
) -> v1.VirtualMachineInstanceMigration:
    entered = v1.PhaseTransitionTimestamp(phase=phase, phase_transition_timestamp=since)
    return v1.VirtualMachineInstanceMigration(
        metadata=core.ObjectMeta(
            name=f"job-{uid}", namespace="n", uid=uid, creation_timestamp=BEFORE,
            deletion_timestamp=BEFORE if leaving else None, **meta),
        spec=v1.VirtualMachineInstanceMigrationSpec(vmi_name="x"),
        status=v1.VirtualMachineInstanceMigrationStatus(phase=phase, phase_transition_timestamps=(entered,)),
    )


def vmi(state: State | None = None, phase: str = "Running", **status: Any) -> v1.VirtualMachineInstance:
    labels = {names.MIGRATION_TARGET_NODE_LABEL: "b"} if state is not None else {}
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="x", namespace="n", uid="u", labels=labels),
        status=v1.VirtualMachineInstanceStatus(phase=phase, node_name="a", migration_state=state, **status),
    )


def pod(word: str = "running", *, node: str = "b", since: str = BEFORE, unschedulable: bool = False) -> core.Pod:
    phase = {"terminated": "Failed", "running": "Running"}.get(word, "Pending")
    refused = core.Condition(type="PodScheduled", status="False", reason="Unschedulable")
    return core.Pod(
        metadata=core.ObjectMeta(name="target", namespace="n", uid="p", creation_timestamp=since),
        spec=core.PodSpec(node_name=node, containers=(core.Container(name="compute"),)),
        status=core.PodStatus(
            phase=phase, container_statuses=(container("compute", word),),
            conditions=(refused,) if unschedulable else ()),
    )


UP, OVER = pod(), pod("terminated")
NOT_MIGRATABLE = (v1.Condition(type="LiveMigratable", status="False", reason="DisksNotLiveMigratable", message="m"),)


@pytest.mark.parametrize(("world", "phase", "actions", "why"), [
    (World(migration(""), vmi()), "Pending", (), ""),
    (World(migration("Pending"), vmi()), "Scheduling", (CreateTarget(),), ""),
    (World(migration("Pending"), vmi(), may_start=False), "Pending", (), ""),
    (World(migration("Pending"), vmi(phase="Scheduling")), "Pending", (), ""),
    (World(migration("Pending"), vmi(), UP), "Scheduling", (), ""),
    (World(migration("Pending"), vmi(conditions=NOT_MIGRATABLE)), "Failed", (), "DisksNotLiveMigratable: m"),
    (World(migration("Pending"), vmi(), others=(migration("Running", uid="o"),)), "Failed", (),
     "another migration job is in progress: job-o"),
    (World(migration("Pending"), vmi(), others=(migration("Pending", uid="a"),)), "Failed", (), "job-a"),
    (World(migration("Pending"), vmi(), others=(migration("Pending", uid="z"), migration("Failed", uid="f"))),
     "Scheduling", (CreateTarget(),), ""),
    (World(migration("Pending"), vmi(replace(MINE, migration_uid="o"))), "Failed", (), "in progress: o"),
    (World(migration("Scheduling"), vmi()), "Failed", (), "is gone"),
    (World(migration("Scheduling"), vmi(), pod("waiting")), "Scheduling", (), ""),
    (World(migration("Scheduling"), vmi(), OVER), "Failed", (), "has ended"),
    (World(migration("Scheduling"), vmi(), pod(node="a")), "Failed", (), "came to node a"),
    (World(migration("Scheduling"), vmi(), UP), "Scheduled", (), ""),
    (World(migration("Scheduled"), vmi(), UP), "Scheduled", (HandOver(),), ""),
    (World(migration("Scheduled"), vmi(), OVER), "Failed", (), "before the hand-over"),
    (World(migration("Scheduled"), vmi(), UP, OVER), "Failed", (), "does not run any more"),
    (World(migration("Scheduled"), vmi(MINE), UP), "PreparingTarget", (), ""),
    (World(migration("PreparingTarget"), vmi(MINE), UP), "PreparingTarget", (), ""),
    (World(migration("PreparingTarget"), vmi(MINE), OVER), "PreparingTarget",
     (GiveUp("Target pod is down: target has ended"),), ""),
    (World(migration("PreparingTarget"), vmi(MINE)), "PreparingTarget",
     (GiveUp("Target pod is down: it is gone"),), ""),
    (World(migration("PreparingTarget", since=LONG_AGO), vmi(MINE), UP), "PreparingTarget",
     (GiveUp("the target node did not get ready within 180 s"),), ""),
    (World(migration("PreparingTarget"), vmi(replace(MINE, target_node_address="1")), UP), "TargetReady", (), ""),
    (World(migration("TargetReady"), vmi(replace(MINE, start_timestamp=BEFORE)), UP), "Running", (), ""),
    (World(migration("TargetReady", since=LONG_AGO), vmi(MINE), UP), "TargetReady",
     (GiveUp("the source node did not begin within 180 s"),), ""),
    (World(migration("Running"), vmi(MINE), UP), "Running", (), ""),
    (World(migration("Running"), vmi(MINE), OVER), "Running", (), ""),
    (World(migration("Running", since=LONG_AGO), vmi(MINE), OVER), "Running",
     (GiveUp("Target pod is down: target has ended"),), ""),
    (World(migration("Running"), vmi(replace(MINE, completed=True)), UP), "Succeeded", (), ""),
    (World(migration("Running"), vmi(replace(MINE, completed=True, failed=True, failure_reason="r")), UP),
     "Failed", (), "r"),
    (World(migration("Running"), vmi(), UP), "Failed", (), "another migration"),
    # Another VMI of that name.
    (World(migration("PreparingTarget", since=LONG_AGO), vmi()), "Failed", (), "another migration"),
    (World(migration("TargetReady", since=LONG_AGO), vmi(replace(MINE, migration_uid="o"))), "Failed", (),
     "another migration"),
    # The guest has ended.
    (World(migration("Running"), vmi(MINE, phase="Succeeded"), UP), "Failed",
     (GiveUp("the VirtualMachineInstance x has Succeeded"),), "has Succeeded"),
    (World(migration("Running"), vmi(replace(MINE, completed=True), phase="Succeeded"), UP), "Succeeded", (), ""),
    (World(migration("Running"), vmi(replace(MINE, completed=True, failed=True), phase="Failed"), UP), "Failed", (),
     "has Failed"),
    (World(migration("Scheduled"), vmi(phase="Failed"), UP), "Failed", (), "has Failed"),
    (World(migration("Running"), None), "Failed", (), "is gone"),
    # deleted
    (World(migration("Scheduling", leaving=True), vmi(), UP), "Failed", (), ABORTED),
    (World(migration("Running", leaving=True), vmi(MINE), UP), "Running", (RequestAbort(),), ""),
    (World(migration("Running", leaving=True), vmi(replace(MINE, abort_requested=True)), UP), "Running", (), ""),
    (World(migration("Running", leaving=True), vmi(replace(MINE, completed=True)), UP), "Succeeded", (), ""),
    # over
    (World(migration("Failed"), vmi(MINE), UP), "Failed", (DeleteTarget(), Release()), ""),
    (World(migration("Failed"), vmi(), OVER), "Failed", (), ""),
    (World(migration("Failed"), vmi(replace(MINE, completed=True)), UP), "Failed", (Release(),), ""),
    (World(migration("Succeeded"), vmi(), UP), "Succeeded", (), ""),
])
def test_steps(world: World, phase: str, actions: tuple[object, ...], why: str) -> None:
    found = plan(world, NOW)
    assert (found.phase, found.actions) == (phase, actions)
    assert (why in found.why) if why else found.why == ""


@pytest.mark.parametrize(("target", "annotations", "expected"), [
    (pod("waiting", node="", unschedulable=True), {}, ""),
    (pod("waiting", node="", unschedulable=True, since=LONG_AGO), {}, "unschedulable pod target"),
    (pod("waiting", node="", unschedulable=True),
     {"kubevirt.io/migrationUnschedulablePodTimeoutSeconds": "20"}, "timeout period exceeded (20 s)"),
    (pod("waiting", node="", unschedulable=True),
     {"kubevirt.io/migrationUnschedulablePodTimeoutSeconds": "abc"}, ""),
    (pod("waiting"), {"kubevirt.io/migrationUnschedulablePodTimeoutSeconds": "20"}, ""),
    (pod("waiting"), {"kubevirt.io/migrationPendingPodTimeoutSeconds": "30"}, "pending pod target"),
    (pod("waiting", since=LONG_AGO), {}, "pending pod target"),
])
def test_a_pod_that_does_not_come_up_is_given_up(
    target: core.Pod, annotations: dict[str, str], expected: str
) -> None:
    found = plan(World(migration("Scheduling", annotations=annotations), vmi(), target), NOW)
    if not expected:
        assert found.phase == "Scheduling"
        return
    assert (found.phase, found.actions) == ("Failed", (DeleteTarget(found.why),))
    assert expected in found.why


def test_a_node_that_takes_no_pod_is_told_of() -> None:
    found = plan(World(migration("Scheduling"), vmi(), pod("waiting", node="", unschedulable=True)), NOW)
    assert found.is_unschedulable
    assert found.again_s is not None


def test_what_is_over_is_clean_when_nothing_is_left() -> None:
    assert not is_clean(World(migration("Failed"), vmi(), UP))
    assert is_clean(World(migration("Failed"), vmi(), OVER))
    assert not is_clean(World(migration("Running"), vmi(), UP))


MOVED = v1.StorageMigratedVolumeInfo(
    volume_name="data", source_pvc_info=v1.PersistentVolumeClaimInfo(claim_name="old"),
    destination_pvc_info=v1.PersistentVolumeClaimInfo(claim_name="new"))


def on_claim(claim: str, state: State | None = None, **status: Any) -> v1.VirtualMachineInstance:
    source = v1.PersistentVolumeClaimVolumeSource(claim_name=claim)
    return replace(vmi(state, **status), spec=v1.VirtualMachineInstanceSpec(
        volumes=(v1.Volume(name="data", persistent_volume_claim=source),)))


def with_claim(claim: str) -> core.Pod:
    source = core.PersistentVolumeClaimVolumeSource(claim_name=claim)
    return replace(UP, spec=replace(
        UP.spec, volumes=(core.Volume(name="vol-data", persistent_volume_claim=source),)))


def test_nodes_are_told_only_of_a_pod_with_the_claims_that_the_vmi_has_now() -> None:
    source = pod(node="a")
    changed = on_claim("new", migrated_volumes=(MOVED,))
    assert plan(World(migration("Scheduled"), changed, with_claim("new"), source), NOW).actions == (HandOver(),)
    refused = plan(World(migration("Scheduled"), changed, with_claim("old"), source), NOW)
    assert (refused.phase, refused.actions) == ("Failed", ())
    assert "claims were changed" in refused.why


@pytest.mark.parametrize(("state", "phase", "result", "actions"), [
    (None, "Scheduling", "Failed", ()),
    (MINE, "Running", "Running", (RequestAbort(),)),
    (replace(MINE, abort_requested=True, start_timestamp=BEFORE), "Running", "Running", ()),
    (replace(MINE, completed=True), "Running", "Succeeded", ()),
])
def test_whoever_brings_volumes_that_nobody_wants_any_more_is_aborted(
    state: State | None, phase: str, result: str, actions: tuple[Any, ...]
) -> None:
    cancelled = on_claim("old", state, migrated_volumes=(MOVED,))
    found = plan(World(migration(phase), cancelled, UP, pod(node="a")), NOW)
    assert (found.phase, found.actions) == (result, actions)


def test_a_pod_without_its_claim_is_not_made() -> None:
    found = plan(World(migration("Pending"), on_claim("new"), missing_claims=("new",)), NOW)
    assert (found.phase, found.actions, found.why) == ("Failed", (), "claim new does not exist")
