"""What is done about a VMI whose volumes are to be changed under its guest. Pure.

KubeVirt: pkg/virt-controller/watch/workload-updater. There it needs ``workloadUpdateMethods`` of the KubeVirt object;
here the VM's own strategy is enough, since nobody else asks for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from virt.api import conditions, names, v1
from virt.api.volumechange import CONDITION, is_asked
from virt.controller.evacuation.plan import left_of_pause_s
from virt.controller.migration.plan import FINAL
from virt.controller.vmi.plan import is_final

Migration = v1.VirtualMachineInstanceMigration


@dataclass(frozen=True)
class Plan:
    """``migrate``: one is to be made. ``abort``: migrations to volumes that are no longer asked for.
    ``backs_off_s``: one would be made, but for failures a while ago."""

    migrate: bool = False
    abort: tuple[Migration, ...] = ()
    backs_off_s: float = 0.0


def plan(vmi: v1.VirtualMachineInstance, migrations: Sequence[Migration], now: datetime) -> Plan:
    """``migrations``: of this VMI."""
    active = [migration for migration in migrations if migration.status.phase not in FINAL]
    ours = [migration for migration in migrations if names.VOLUME_UPDATE_LABEL in migration.metadata.labels]
    if is_final(vmi) or vmi.metadata.deletion_timestamp is not None or vmi.status.phase != "Running":
        return Plan()                               # they fail by themselves
    change = conditions.find(vmi.status.conditions, CONDITION)
    if change is None or change.status != "True" or not is_asked(vmi):
        return Plan(abort=tuple(
            migration for migration in ours
            if migration in active and migration.metadata.deletion_timestamp is None and not _has_come(vmi, migration)))
    if active or not conditions.is_true(vmi.status.conditions, "LiveMigratable"):
        return Plan()
    since = change.last_transition_time or ""
    left = left_of_pause_s(
        [migration for migration in ours if (migration.metadata.creation_timestamp or "") >= since], now)
    return Plan(migrate=left <= 0, backs_off_s=max(left, 0.0))


def _has_come(vmi: v1.VirtualMachineInstance, migration: Migration) -> bool:
    """Whether it has brought the guest already: that ends the change, a moment before it is known to have succeeded."""
    state = vmi.status.migration_state
    return state is not None and state.migration_uid == migration.metadata.uid and state.completed
