"""Guests with an outdated launcher: which move, which are evicted, and when the next ones are looked at."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from virt.api import core, names, v1
from virt.api.clusterconfig import ClusterConfig, Migrations
from virt.controller.updates.outdated import Plan, World, is_outdated, is_settled, plan

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BOTH = ("LiveMigrate", "Evict")


def vmi(name: str, *, movable: bool = True, **annotations: str) -> v1.VirtualMachineInstance:
    told = v1.Condition(type="LiveMigratable", status="True" if movable else "False")
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name=name, uid=name, labels={names.OUTDATED_LABEL: ""}, annotations=annotations),
        status=v1.VirtualMachineInstanceStatus(phase="Running", conditions=(told,)))


def migration(phase: str, seconds_ago: float = 5, *, ours: bool = True) -> v1.VirtualMachineInstanceMigration:
    ended = (NOW - timedelta(seconds=seconds_ago)).isoformat().replace("+00:00", "Z")
    return v1.VirtualMachineInstanceMigration(
        metadata=core.ObjectMeta(annotations={names.WORKLOAD_UPDATE_ANNOTATION: ""} if ours else {}),
        status=v1.VirtualMachineInstanceMigrationStatus(phase=phase, phase_transition_timestamps=(
            v1.PhaseTransitionTimestamp(phase=phase, phase_transition_timestamp=ended),)))


def config(*methods: str, **more: Any) -> ClusterConfig:
    return ClusterConfig(workload_update_methods=methods, **more)


A, B, FIXED, STUCK = vmi("a"), vmi("b"), vmi("c", movable=False), vmi("d", movable=False)


@pytest.mark.parametrize(("methods", "todo"), [
    ((), Plan()),
    (("LiveMigrate",), Plan(migrate=(A, B))),
    (("Evict",), Plan(evict=(A, B, FIXED))),
    (BOTH, Plan(migrate=(A, B), evict=(FIXED,))),
])
def test_the_methods_say_what_becomes_of_each(methods: tuple[str, ...], todo: Plan) -> None:
    assert plan(World((A, B, FIXED)), config(*methods), NOW) == todo


def test_no_more_migrations_are_made_than_may_run() -> None:
    limits = Migrations(parallel_per_cluster=2)
    for under_way, moved in ((0, (A, B)), (1, (A,)), (2, ()), (7, ())):
        found = plan(World((A, B), under_way=under_way), config("LiveMigrate", migrations=limits), NOW)
        assert found.migrate == moved


def test_one_that_moves_or_has_just_failed_to_is_waited_for() -> None:
    world = World((A, B, FIXED), {"a": (migration("Running", ours=False),), "b": (migration("Failed"),)})
    assert plan(world, config(*BOTH), NOW) == Plan(evict=(FIXED,), again_s=15)
    theirs = World((A,), {"a": (migration("Failed", ours=False),)})
    assert plan(theirs, config("LiveMigrate"), NOW) == Plan(migrate=(A,))
    leaving = World((FIXED,), {"c": (migration("Pending"),)})
    assert plan(leaving, config(*BOTH), NOW) == Plan()


def test_one_that_is_to_be_left_is_not_moved() -> None:
    kept = replace(A, metadata=replace(A.metadata, annotations={names.ABORTION_ANNOTATION: ""}))
    assert plan(World((kept,)), config(*BOTH), NOW) == Plan()


def test_evictions_come_in_batches() -> None:
    by_one = config("Evict", batch_eviction_size=1, batch_eviction_interval_s=20.0)
    world = World((FIXED, STUCK))
    assert plan(world, by_one, NOW) == Plan(evict=(FIXED,), again_s=20)
    soon = replace_at(world, NOW - timedelta(seconds=15))
    assert plan(soon, by_one, NOW) == Plan(again_s=5)
    assert plan(replace_at(world, NOW - timedelta(seconds=20)), by_one, NOW).evict == (FIXED,)
    assert plan(world, config("Evict"), NOW) == Plan(evict=(FIXED, STUCK))
    assert plan(world, config("Evict", batch_eviction_size=0), NOW) == Plan()


def replace_at(world: World, evicted_at: datetime) -> World:
    return World(world.vmis, world.migrations, world.under_way, evicted_at)


def test_who_counts_as_outdated() -> None:
    assert is_outdated(A)
    assert not is_outdated(replace(A, metadata=replace(A.metadata, labels={})))
    assert not is_outdated(replace(A, metadata=replace(A.metadata, deletion_timestamp="2026-01-01T00:00:00Z")))
    assert not is_outdated(replace(A, status=replace(A.status, phase="Scheduled")))


@pytest.mark.parametrize(("phase", "target", "observed", "settled"), [
    ("Deployed", "x", "x", True), ("Deployed", "y", "x", False), ("Deploying", "x", "x", False),
    ("Deployed", "", "", False),
])
def test_guests_follow_when_the_components_are_there(phase: str, target: str, observed: str, settled: bool) -> None:
    status = v1.KubeVirtStatus(phase=phase, target_deployment_id=target, observed_deployment_id=observed)
    assert is_settled(v1.KubeVirt(status=status)) is settled
