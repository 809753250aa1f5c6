from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from virt.api import core, names, v1
from virt.controller.evacuation.plan import Plan, World, pause_s, plan

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MIGRATABLE = (v1.Condition(type="LiveMigratable", status="True"),)
KEY = "kubevirt.io/drain"


def vmi(
    strategy: str | None = "LiveMigrate", *, marked: str = "a", phase: str = "Running", migratable: bool = True
) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="x", namespace="n", uid="u"),
        spec=v1.VirtualMachineInstanceSpec(eviction_strategy=strategy),
        status=v1.VirtualMachineInstanceStatus(
            phase=phase, node_name="a", evacuation_node_name=marked, conditions=MIGRATABLE if migratable else ()),
    )


def node(*keys: str, effect: str = "NoSchedule") -> core.Node:
    return core.Node(
        metadata=core.ObjectMeta(name="a"),
        spec=core.NodeSpec(taints=tuple(core.Taint(key=key, effect=effect) for key in keys)))


def migration(phase: str, minute: int = 0, second: int = 0, node: str = "a") -> v1.VirtualMachineInstanceMigration:
    entered = v1.PhaseTransitionTimestamp(
        phase=phase, phase_transition_timestamp=f"2026-01-01T11:{minute:02}:{second:02}Z")
    return v1.VirtualMachineInstanceMigration(
        metadata=core.ObjectMeta(annotations={names.EVACUATION_MIGRATION_ANNOTATION: node}),
        status=v1.VirtualMachineInstanceMigrationStatus(phase=phase, phase_transition_timestamps=(entered,)))


@pytest.mark.parametrize(("world", "expected"), [
    (World(vmi(), None), Plan(migrate=True, is_requested=True)),
    (World(vmi(marked=""), None), Plan()),
    (World(vmi(marked="b"), None), Plan()),                     # it has moved since
    (World(vmi(marked=""), node(KEY), taint=KEY), Plan(migrate=True)),
    (World(vmi(marked=""), node("other"), taint=KEY), Plan()),
    (World(vmi(marked=""), node(KEY, effect="NoExecute"), taint=KEY), Plan()),
    (World(vmi("None"), node(KEY), taint=KEY), Plan(is_requested=True)),
    (World(vmi(None), None, strategy="LiveMigrate"), Plan(migrate=True, is_requested=True)),
    (World(vmi("External"), None), Plan(is_requested=True)),
    (World(vmi("LiveMigrateIfPossible"), None), Plan(migrate=True, is_requested=True)),
    (World(vmi(migratable=False), None), Plan(is_requested=True)),
    (World(vmi(phase="Scheduling"), None), Plan(is_requested=True)),
    (World(vmi(phase="Succeeded"), None), Plan(is_requested=True)),
    (World(vmi(), None, (migration("Running"),)), Plan(is_requested=True)),
    (World(vmi(), None, (migration("Failed", 59, 50),)), Plan(backs_off_s=10.0, is_requested=True)),
    (World(vmi(), None, (migration("Failed", 59, 30),)), Plan(migrate=True, is_requested=True)),
])
def test_what_is_done(world: World, expected: Plan) -> None:
    assert plan(world, NOW) == expected


def test_what_the_descheduler_asks_for_may_wait() -> None:
    asked = vmi()
    asked = replace(asked, metadata=replace(
        asked.metadata, annotations={names.EVICTION_SOURCE_ANNOTATION: "descheduler"}))
    moved = replace(asked, status=replace(asked.status, evacuation_node_name=""))
    assert plan(World(asked, None), NOW).priority == "system-maintenance"
    assert plan(World(asked, node(KEY), taint=KEY), NOW).priority == "system-critical"
    assert plan(World(moved, node(KEY), taint=KEY), NOW).priority == "system-critical"
    assert plan(World(vmi(), None), NOW).priority == "system-critical"


def test_pauses_double_and_a_success_forgets() -> None:
    failures = [migration("Failed", minute) for minute in (40, 50, 58)]
    assert pause_s(failures, "a", NOW) == 80 - 120
    assert pause_s([*failures, migration("Failed", 59, 59)], "a", NOW) == 160 - 1
    assert pause_s([*failures, migration("Succeeded", 59)], "a", NOW) == 0
    assert pause_s(failures, "b", NOW) == 0
