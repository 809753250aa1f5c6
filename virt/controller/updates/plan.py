"""What is done about a VMI that has to move so that a change of its VM comes into force. Pure.

Other volumes are asked for by the VM's own strategy; for more processors the KubeVirt object has to list
LiveMigrate among its ``workloadUpdateMethods``. KubeVirt: pkg/virt-controller/watch/workload-updater.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from virt.api import conditions, names, resize, v1
from virt.api.volumechange import CONDITION, is_asked
from virt.controller.evacuation.plan import left_of_pause_s
from virt.controller.migration.plan import FINAL

LIVE_MIGRATE: Final = "LiveMigrate"
EVICT: Final = "Evict"

Migration = v1.VirtualMachineInstanceMigration


@dataclass(frozen=True)
class Plan:
    """``migrate``: one is to be made. ``abort``: those that bring what nobody asks for any more. ``backs_off_s``: one
    would be made, but for failures a while ago."""

    migrate: bool = False
    abort: tuple[Migration, ...] = ()
    backs_off_s: float = 0.0


def plan(
    vmi: v1.VirtualMachineInstance, migrations: Sequence[Migration], now: datetime, *, methods: Collection[str] = ()
) -> Plan:
    """``migrations``: of this VMI; ``methods``: what may be done to VMIs so that they are up to date."""
    active = [migration for migration in migrations if migration.status.phase not in FINAL]
    if vmi.metadata.deletion_timestamp is not None or vmi.status.phase != "Running":
        return Plan()                               # they fail by themselves
    unwanted = tuple(migration for migration in active if _is_unwanted(vmi, migration))
    since = _since(vmi, methods)
    if unwanted or not since or names.ABORTION_ANNOTATION in vmi.metadata.annotations:
        return Plan(abort=unwanted)
    if active or not conditions.is_true(vmi.status.conditions, "LiveMigratable"):
        return Plan()
    left = left_of_pause_s([
        migration for migration in migrations
        if is_ours(migration) and (migration.metadata.creation_timestamp or "") >= since], now)
    return Plan(migrate=left <= 0, backs_off_s=max(left, 0.0))


def is_ours(migration: Migration) -> bool:
    """Whether it was made so that a guest is brought up to date."""
    return names.WORKLOAD_UPDATE_ANNOTATION in migration.metadata.annotations


def changes_volumes(vmi: v1.VirtualMachineInstance) -> bool:
    """Whether the guest is to come to other claims."""
    return conditions.is_true(vmi.status.conditions, CONDITION) and is_asked(vmi)


def _since(vmi: v1.VirtualMachineInstance, methods: Collection[str]) -> str:
    """When the change was begun for which the guest has to move, "" for none; of several the first."""
    kinds = [CONDITION] if changes_volumes(vmi) else []
    if LIVE_MIGRATE in methods and resize.is_pending(vmi):
        kinds.append(resize.CPUS)
    found = [conditions.find(vmi.status.conditions, kind) for kind in kinds]
    return min((each.last_transition_time or "0" for each in found if each is not None), default="")


def _is_unwanted(vmi: v1.VirtualMachineInstance, migration: Migration) -> bool:
    """It would bring volumes that nobody asks for any more, or somebody wants no such migration of this VMI."""
    if migration.metadata.deletion_timestamp is not None or _has_come(vmi, migration):
        return False
    if is_ours(migration) and names.ABORTION_ANNOTATION in vmi.metadata.annotations:
        return True
    return names.VOLUME_UPDATE_LABEL in migration.metadata.labels and not changes_volumes(vmi)


def _has_come(vmi: v1.VirtualMachineInstance, migration: Migration) -> bool:
    """Whether it has brought the guest already: that ends the change, a moment before it is known to have succeeded."""
    state = vmi.status.migration_state
    return state is not None and state.migration_uid == migration.metadata.uid and state.completed
