"""Guests whose launchers are of another image than new ones: which of them are moved or evicted now. Pure.

KubeVirt: pkg/virt-controller/watch/workload-updater. Guests that can move do so, as many at a time as the limits for
migrations let; those that cannot, and all where moving is not listed, are evicted in batches, so that their VMs start
them anew.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from virt.api import conditions, names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.controller.evacuation.plan import left_of_pause_s
from virt.controller.migration.plan import FINAL
from virt.controller.updates.plan import EVICT, LIVE_MIGRATE, is_ours

Migration = v1.VirtualMachineInstanceMigration


@dataclass(frozen=True)
class World:
    """``vmis``: that run with an outdated launcher; ``migrations``: of each, by the VMI's uid; ``under_way``:
    migrations of any VMI that are not over; ``evicted_at``: when the last batch was evicted."""

    vmis: Sequence[v1.VirtualMachineInstance]
    migrations: Mapping[str, Sequence[Migration]] = field(default_factory=dict)
    under_way: int = 0
    evicted_at: datetime | None = None


@dataclass(frozen=True)
class Plan:
    """``again_s``: look again then, whatever happens; None where only news can change anything."""

    migrate: tuple[v1.VirtualMachineInstance, ...] = ()
    evict: tuple[v1.VirtualMachineInstance, ...] = ()
    again_s: float | None = None


def is_outdated(vmi: v1.VirtualMachineInstance) -> bool:
    """Of a VMI whose guest runs and is to go on."""
    return (
        names.OUTDATED_LABEL in vmi.metadata.labels and vmi.status.phase == "Running"
        and vmi.metadata.deletion_timestamp is None
    )


def is_settled(kubevirt: v1.KubeVirt) -> bool:
    """Whether all components are those that the KubeVirt object asks for: only then guests follow."""
    status = kubevirt.status
    return (
        status.phase == "Deployed" and bool(status.target_deployment_id)
        and status.target_deployment_id == status.observed_deployment_id
    )


def plan(world: World, config: ClusterConfig, now: datetime) -> Plan:
    methods = config.workload_update_methods
    moving = [vmi for vmi in world.vmis if LIVE_MIGRATE in methods and _may_move(vmi)]
    ready, pauses = _ready(moving, world.migrations, now)
    room = max(config.migrations.parallel_per_cluster - world.under_way, 0)
    evicted, wait_s = _evicted(
        [vmi for vmi in world.vmis if vmi not in moving and _is_idle(world.migrations.get(vmi.metadata.uid, ()))],
        methods, config, world.evicted_at, now)
    waits = [*pauses, *([wait_s] if wait_s else [])]
    return Plan(tuple(ready[:room]), evicted, min(waits, default=None))


def _may_move(vmi: v1.VirtualMachineInstance) -> bool:
    return conditions.is_true(vmi.status.conditions, "LiveMigratable")


def _ready(
    vmis: Sequence[v1.VirtualMachineInstance], migrations: Mapping[str, Sequence[Migration]], now: datetime
) -> tuple[list[v1.VirtualMachineInstance], list[float]]:
    """Those that may be moved now, and the pauses that are left of those whose last migrations failed."""
    ready, pauses = [], []
    for vmi in vmis:
        known = migrations.get(vmi.metadata.uid, ())
        if not _is_idle(known) or names.ABORTION_ANNOTATION in vmi.metadata.annotations:
            continue
        left = left_of_pause_s([migration for migration in known if is_ours(migration)], now)
        if left > 0:
            pauses.append(left)
        else:
            ready.append(vmi)
    return ready, pauses


def _evicted(
    vmis: Sequence[v1.VirtualMachineInstance], methods: Collection[str], config: ClusterConfig,
    evicted_at: datetime | None, now: datetime,
) -> tuple[tuple[v1.VirtualMachineInstance, ...], float]:
    """Those of the next batch, and the seconds until there may be another."""
    if EVICT not in methods or not vmis or config.batch_eviction_size < 1:
        return (), 0.0
    interval = timedelta(seconds=config.batch_eviction_interval_s)
    if evicted_at is not None and (left := evicted_at + interval - now) > timedelta():
        return (), left.total_seconds()
    batch = tuple(vmis[:config.batch_eviction_size])
    return batch, interval.total_seconds() if len(vmis) > len(batch) else 0.0


def _is_idle(migrations: Sequence[Migration]) -> bool:
    return all(migration.status.phase in FINAL for migration in migrations)
