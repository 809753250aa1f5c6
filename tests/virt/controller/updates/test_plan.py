"""Migrations for changes of a VM: when one is made, when not, and which are taken back."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from virt.api import core, names, v1
from virt.controller.updates.plan import Plan, plan

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CHANGED = "2026-01-01T11:58:00Z"
MIGRATABLE = v1.Condition(type="LiveMigratable", status="True")
CHANGE = v1.Condition(type="VolumesChange", status="True", last_transition_time=CHANGED)
MOVED = v1.StorageMigratedVolumeInfo(
    volume_name="data", source_pvc_info=v1.PersistentVolumeClaimInfo(claim_name="old"),
    destination_pvc_info=v1.PersistentVolumeClaimInfo(claim_name="new"))


def vmi(
    *told: v1.Condition, claim: str = "new", phase: str = "Running", leaving: bool = False
) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="x", deletion_timestamp=CHANGED if leaving else None),
        spec=v1.VirtualMachineInstanceSpec(volumes=(v1.Volume(
            name="data", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name=claim)),)),
        status=v1.VirtualMachineInstanceStatus(
            phase=phase, conditions=told or (CHANGE, MIGRATABLE), migrated_volumes=(MOVED,)),
    )


def migration(
    phase: str, *, ended: str = "", created: str = "2026-01-01T11:59:00Z", ours: bool = True, leaving: bool = False
) -> v1.VirtualMachineInstanceMigration:
    entered = v1.PhaseTransitionTimestamp(phase=phase, phase_transition_timestamp=ended)
    return v1.VirtualMachineInstanceMigration(
        metadata=core.ObjectMeta(
            name=f"{phase}{ended}", creation_timestamp=created, labels={names.VOLUME_UPDATE_LABEL: "x"} if ours else {},
            annotations={names.WORKLOAD_UPDATE_ANNOTATION: ""} if ours else {},
            deletion_timestamp=CHANGED if leaving else None),
        status=v1.VirtualMachineInstanceMigrationStatus(phase=phase, phase_transition_timestamps=(entered,)),
    )


@pytest.mark.parametrize(("instance", "migrations", "todo"), [
    (vmi(), (), Plan(migrate=True)),
    (vmi(CHANGE), (), Plan()),
    (vmi(CHANGE, replace(MIGRATABLE, status="False")), (), Plan()),
    (vmi(MIGRATABLE), (), Plan()),
    (vmi(replace(CHANGE, status="False"), MIGRATABLE), (), Plan()),
    (vmi(claim="old"), (), Plan()),
    (vmi(phase="Scheduled"), (), Plan()),
    (vmi(leaving=True), (), Plan()),
    (vmi(), (migration("Running", ours=False),), Plan()),
    (vmi(), (migration("Pending"),), Plan()),
])
def test_one_is_made_while_it_is_needed_and_possible(
    instance: v1.VirtualMachineInstance, migrations: tuple[Any, ...], todo: Plan
) -> None:
    assert plan(instance, migrations, NOW) == todo


def test_failures_of_this_change_are_paid_for_with_growing_pauses() -> None:
    first = migration("Failed", ended="2026-01-01T11:59:50Z")
    assert plan(vmi(), (first,), NOW) == Plan(backs_off_s=10)
    second = migration("Failed", ended="2026-01-01T11:59:55Z")
    assert plan(vmi(), (first, second), NOW) == Plan(backs_off_s=35)
    theirs = migration("Failed", ended="2026-01-01T11:59:50Z", ours=False)
    earlier = migration("Failed", ended="2026-01-01T11:59:50Z", created="2026-01-01T11:57:00Z")
    assert plan(vmi(), (theirs, earlier), NOW) == Plan(migrate=True)


def test_a_change_taken_back_takes_its_migrations_along() -> None:
    running, waiting = migration("Running"), migration("Pending")
    others = (migration("Failed"), migration("Running", ours=False), migration("Scheduled", leaving=True))
    for instance in (vmi(replace(CHANGE, status="False"), MIGRATABLE, claim="old"), vmi(claim="old")):
        assert plan(instance, (running, waiting, *others), NOW) == Plan(abort=(running, waiting))


def test_one_that_has_brought_the_guest_is_left_to_succeed() -> None:
    """Its take-over ends the change before the migration itself is known to have succeeded."""
    running = migration("Running")
    running = replace(running, metadata=replace(running.metadata, uid="m"))
    settled = vmi(MIGRATABLE)
    for uid, completed, abort in (("m", True, ()), ("m", False, (running,)), ("o", True, (running,))):
        state = v1.VirtualMachineInstanceMigrationState(migration_uid=uid, completed=completed)
        told = replace(settled, status=replace(settled.status, migrated_volumes=(), migration_state=state))
        assert plan(told, (running,), NOW) == Plan(abort=abort)


def grown(*told: v1.Condition, **annotations: str) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="x", annotations=annotations),
        status=v1.VirtualMachineInstanceStatus(phase="Running", conditions=(MIGRATABLE, *told)))


MORE = v1.Condition(type="HotVCPUChange", status="True", last_transition_time=CHANGED)


@pytest.mark.parametrize(("instance", "methods", "todo"), [
    (grown(MORE), ("LiveMigrate",), Plan(migrate=True)),
    (grown(MORE), ("LiveMigrate", "Evict"), Plan(migrate=True)),
    (grown(MORE), (), Plan()),
    (grown(MORE), ("Evict",), Plan()),
    (grown(replace(MORE, status="False")), ("LiveMigrate",), Plan()),
    (grown(), ("LiveMigrate",), Plan()),
])
def test_sizes_move_a_guest_where_the_cluster_lets_guests_be_moved(
    instance: v1.VirtualMachineInstance, methods: tuple[str, ...], todo: Plan
) -> None:
    assert plan(instance, (), NOW, methods=methods) == todo


def test_failures_for_a_size_are_paid_for_too() -> None:
    def job(phase: str, annotation: str = names.WORKLOAD_UPDATE_ANNOTATION) -> v1.VirtualMachineInstanceMigration:
        made = migration(phase, ended="2026-01-01T11:59:50Z", ours=False)
        return replace(made, metadata=replace(made.metadata, annotations={annotation: ""}))

    methods = ("LiveMigrate",)
    assert plan(grown(MORE), (job("Failed"),), NOW, methods=methods) == Plan(backs_off_s=10)
    assert plan(grown(MORE), (job("Failed", "by-hand"),), NOW, methods=methods) == Plan(migrate=True)
    assert plan(grown(MORE), (job("Running"),), NOW, methods=methods) == Plan()


def test_whoever_wants_no_such_migrations_gets_none() -> None:
    running = migration("Running")
    running = replace(running, metadata=replace(
        running.metadata, labels={}, annotations={names.WORKLOAD_UPDATE_ANNOTATION: ""}))
    by_hand = migration("Running", ours=False)
    unwilling = grown(MORE, **{names.ABORTION_ANNOTATION: ""})
    assert plan(unwilling, (running, by_hand), NOW, methods=("LiveMigrate",)) == Plan(abort=(running,))
    assert plan(unwilling, (), NOW, methods=("LiveMigrate",)) == Plan()
