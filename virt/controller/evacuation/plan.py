"""What to do about a VMI whose node is being evacuated. Pure.

A node is to be left when somebody asked to evict the VMI's pod (the webhook marks the VMI then) or when the node has
the drain taint. KubeVirt: pkg/virt-controller/watch/drain/evacuation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from virt.api import conditions, core, names, phases, v1
from virt.api.validate.eviction import DESCHEDULER, IF_POSSIBLE, LIVE_MIGRATE, NONE, is_drained
from virt.base.clock import parse_time
from virt.controller.migration.plan import FAILED, FINAL

EVICTION_REQUESTED: Final = "EvictionRequested"
CRITICAL: Final = "system-critical"             # the node is to go down
MAINTENANCE: Final = "system-maintenance"       # it would be better elsewhere
FIRST_PAUSE_S: Final = 20
_MOST_PAUSE_S: Final = 1280


@dataclass(frozen=True)
class World:
    """``migrations``: of this VMI; ``taint``: the key that says that a node is to be left; ``strategy``: of VMIs that
    have none of their own."""

    vmi: v1.VirtualMachineInstance
    node: core.Node | None
    migrations: Sequence[v1.VirtualMachineInstanceMigration] = ()
    taint: str = ""
    strategy: str = NONE

    @property
    def is_marked(self) -> bool:
        node = self.vmi.status.evacuation_node_name
        return bool(node) and node == self.vmi.status.node_name

    @property
    def is_drained(self) -> bool:
        return is_drained(self.node, self.taint)


@dataclass(frozen=True)
class Plan:
    """``migrate``: one is to be made, of that ``priority``. ``backs_off_s``: it was, but for failures a while ago.
    ``is_requested``: whether the VMI shows that its eviction was asked for."""

    migrate: bool = False
    backs_off_s: float = 0.0
    is_requested: bool = False
    priority: str = CRITICAL


def plan(world: World, now: datetime) -> Plan:
    vmi = world.vmi
    requested = world.is_marked
    strategy = vmi.spec.eviction_strategy or world.strategy
    if not requested and not world.is_drained:
        return Plan()
    if vmi.metadata.deletion_timestamp is not None or vmi.status.phase != "Running":
        return Plan(is_requested=requested)
    migratable = conditions.is_true(vmi.status.conditions, "LiveMigratable")
    if strategy not in (LIVE_MIGRATE, IF_POSSIBLE) or not migratable:
        return Plan(is_requested=requested)
    if any(migration.status.phase not in FINAL for migration in world.migrations):
        return Plan(is_requested=requested)
    left = pause_s(world.migrations, vmi.status.node_name, now)
    return Plan(
        migrate=left <= 0, backs_off_s=max(left, 0.0), is_requested=requested, priority=_priority(world))


def _priority(world: World) -> str:
    """A node with the drain taint has to be left, whoever else asked."""
    by_descheduler = world.vmi.metadata.annotations.get(names.EVICTION_SOURCE_ANNOTATION) == DESCHEDULER
    return MAINTENANCE if world.is_marked and by_descheduler and not world.is_drained else CRITICAL


def pause_s(migrations: Sequence[v1.VirtualMachineInstanceMigration], node: str, now: datetime) -> float:
    """Seconds left of the pause that failed evacuations of ``node`` have earned: 20 after the first, then double."""
    return left_of_pause_s([
        migration for migration in migrations
        if migration.metadata.annotations.get(names.EVACUATION_MIGRATION_ANNOTATION) == node], now)


def left_of_pause_s(migrations: Sequence[v1.VirtualMachineInstanceMigration], now: datetime) -> float:
    """Seconds left of the pause that failures among ``migrations``, all made for one purpose, have earned."""
    ended = sorted(
        (migration for migration in migrations if migration.status.phase in FINAL), key=_ended_at, reverse=True)
    failures = 0
    for migration in ended:
        if migration.status.phase != FAILED:
            break
        failures += 1
    if not failures:
        return 0.0
    pause = min(FIRST_PAUSE_S * 2 ** (failures - 1), _MOST_PAUSE_S)
    last = _ended_at(ended[0])
    return pause - (now - parse_time(last)).total_seconds() if last else 0.0


def _ended_at(migration: v1.VirtualMachineInstanceMigration) -> str:
    return phases.entered_at(migration.status.phase_transition_timestamps, *FINAL)
