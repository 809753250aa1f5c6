"""A template whose volumes name other claims than the running guest has: what is done about it. Pure.

The strategy Migration has them changed under the guest. The VM remembers what it began until that has ended, well or
by being taken back: when the guest ends on the way, its template names claims that hold half a copy, and nobody but a
person can say what is to become of it. KubeVirt: pkg/virt-controller/watch/volume-migration.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from virt.api import conditions, core, v1
from virt.api.migrationstate import is_under_way
from virt.api.volumechange import (
    CANCELLED,
    CONDITION,
    MIGRATION,
    claims,
    destinations,
    is_cancelled,
    sources,
    with_claims,
)
from virt.controller.vmi.plan import is_final
from virt.controller.vmi.status import claim_info

MANUAL_RECOVERY: Final = "ManualRecoveryRequired"
UPDATE_ERROR: Final = "VolumesUpdateError"
NOT_LIVE: Final = "a non-live-updatable field was changed in the template spec"
MISSING: Final = "One of the destination volumes doesn't exist"
MIGRATING: Final = "migrate volumes"
_ONLY_BACK: Final = "The volume can only be reverted to the previous version during the update"

Moved = tuple[v1.StorageMigratedVolumeInfo, ...]
Claims = Mapping[str, core.PersistentVolumeClaim | None]


@dataclass(frozen=True)
class Change:
    """``moved``: what the VM remembers. ``vmi``: as it is to be stored once the VM has been, None to leave it.
    ``restart``: why the change needs a restart, "" when it does not; ``fault``: condition Failure."""

    moved: Moved = ()
    vmi: v1.VirtualMachineInstance | None = None
    restart: str = ""
    fault: v1.Condition | None = None


def change(
    vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None, found: Claims, *, is_live: bool, now: str
) -> Change:
    """``found``: the claims of the template; ``is_live``: changes may be made under the running guest, and nothing but
    claims has changed; ``now``: RFC 3339."""
    remembered = remembered_by(vm)
    if vmi is None or is_final(vmi):
        return Change(remembered if _is_unfinished(vm, vmi) else ())
    if vmi.metadata.deletion_timestamp is not None:
        return Change(remembered)
    wanted = _wanted(vm)
    if vmi.status.migrated_volumes:
        return _under_way(vmi, wanted, found, now)
    live = claims(vmi.spec)
    moves = {name: claim for name, claim in wanted.items() if name in live and live[name] != claim}
    if not moves:
        return Change(vmi=_differs(vmi, _without_wait(vmi)))
    if vm.spec.update_volumes_strategy != MIGRATION or not is_live:
        return Change(vmi=_differs(vmi, _without_wait(vmi)), restart=NOT_LIVE)
    return _begun(vmi, moves, found, now)


def needs_recovery(vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None) -> bool:
    """Whether the guest ended in the middle of a change, so that a person has to say which claims it starts from."""
    return (vmi is None or is_final(vmi)) and _is_unfinished(vm, vmi)


def remembered_by(vm: v1.VirtualMachine) -> Moved:
    state = vm.status.volume_update_state
    found = state.volume_migration_state if state is not None else None
    return found.migrated_volumes if found is not None else ()


def state_of(moved: Moved) -> v1.VolumeUpdateState | None:
    if not moved:
        return None
    return v1.VolumeUpdateState(volume_migration_state=v1.VolumeMigrationState(migrated_volumes=moved))


def _is_unfinished(vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance | None) -> bool:
    """Of a guest that has ended. Taken back, or meant for a restart now, the change is nobody's trouble any more."""
    remembered = remembered_by(vm)
    if not remembered or vm.spec.update_volumes_strategy != MIGRATION or _agree(sources(remembered), _wanted(vm)):
        return False
    has_come = vmi is not None and not vmi.status.migrated_volumes and _agree(
        destinations(remembered), claims(vmi.spec))
    return not has_come


def _under_way(vmi: v1.VirtualMachineInstance, wanted: Mapping[str, str], found: Claims, now: str) -> Change:
    moved = vmi.status.migrated_volumes
    live = claims(vmi.spec)
    is_taken_back = _agree(sources(moved), wanted)
    others = any(live[name] != claim for name, claim in wanted.items()
                 if name in live and name not in destinations(moved))
    may_forget = not is_under_way(vmi.status.migration_state)       # else the nodes still have to know what is copied
    if is_cancelled(vmi):
        forgotten = replace(vmi, status=replace(vmi.status, migrated_volumes=())) if may_forget else None
        return Change(() if is_taken_back else moved, forgotten)
    if is_taken_back and not others:
        cancelled = v1.Condition(type=CONDITION, status="False", reason=CANCELLED)
        status = replace(
            vmi.status, migrated_volumes=() if may_forget else moved,
            conditions=conditions.with_condition(vmi.status.conditions, cancelled, now))
        return Change((), replace(vmi, spec=with_claims(vmi.spec, sources(moved)), status=status))
    if not others and _agree(destinations(moved), wanted):
        return Change(moved, _differs(vmi, _told(vmi, destinations(moved).values(), found, now)))
    fault = v1.Condition(
        type="Failure", status="True", reason=UPDATE_ERROR,
        message=f"Error encountered while updating the volumes of the virtual machine instance: {_ONLY_BACK}")
    return Change(moved, fault=fault)


def _begun(vmi: v1.VirtualMachineInstance, moves: Mapping[str, str], found: Claims, now: str) -> Change:
    if vmi.status.phase != "Running":
        return Change(restart=NOT_LIVE)             # its pod may be waiting for the old claim, for ever
    if is_under_way(vmi.status.migration_state):
        return Change()                             # when it stays where it is
    migratable = conditions.find(vmi.status.conditions, "StorageLiveMigratable")
    if migratable is None:
        return Change()                             # its node has not looked at it yet
    if migratable.status != "True":
        return Change(restart=f"cannot migrate the VM. It cannot leave its node: {migratable.message}")
    if refused := refusal(vmi, moves, found):
        return Change(vmi=_differs(vmi, _without_wait(vmi)), restart=refused)
    told = _told(vmi, moves.values(), found, now)
    if any(found.get(claim) is None for claim in moves.values()):
        return Change(vmi=_differs(vmi, told))
    known = {status.name: status.persistent_volume_claim_info for status in vmi.status.volume_status}
    live = claims(vmi.spec)
    moved = tuple(
        v1.StorageMigratedVolumeInfo(
            volume_name=name,
            source_pvc_info=known.get(name) or v1.PersistentVolumeClaimInfo(claim_name=live[name]),
            destination_pvc_info=claim_info(claim, found[claim]),
        )
        for name, claim in moves.items()
    )
    return Change(moved, replace(
        told, spec=with_claims(vmi.spec, moves), status=replace(told.status, migrated_volumes=moved)))


def refusal(vmi: v1.VirtualMachineInstance, moves: Mapping[str, str], found: Claims) -> str:
    """Why the guest's claims cannot be changed so while it runs, "" when they can. ``moves``: volume -> claim."""
    kinds = {
        "shareable": [disk.name for disk in vmi.spec.domain.devices.disks if disk.name in moves and disk.shareable],
        "luns": [disk.name for disk in vmi.spec.domain.devices.disks if disk.name in moves and disk.lun is not None],
        "read-only": _read_only(vmi, moves),
    }
    if any(kinds.values()):
        listed = ", ".join(f"{kind}: [{' '.join(volumes)}]" for kind, volumes in kinds.items() if volumes)
        return f"invalid volumes to update with migration: {listed}"
    live = claims(vmi.spec)
    for name, claim in moves.items():
        if claim in live.values() or list(moves.values()).count(claim) > 1:
            return f"cannot migrate the VM. The claim {claim} of volume {name} is also that of another volume"
    for status in vmi.status.volume_status:
        info = status.persistent_volume_claim_info
        if info is None:
            continue
        destination = found.get(moves[status.name]) if status.name in moves else None
        mode = (destination.spec.volume_mode or "Filesystem") if destination is not None else info.volume_mode
        if mode != info.volume_mode:
            return f"cannot migrate the VM. The volume {status.name} is of mode {info.volume_mode}, claim " \
                   f"{moves[status.name]} of mode {mode}"
        if status.name not in moves and "ReadWriteMany" not in info.access_modes:
            return f"cannot migrate the VM. The volume {status.name} is RWO and not included in the migration volumes"
    return ""


def _read_only(vmi: v1.VirtualMachineInstance, moves: Mapping[str, str]) -> list[str]:
    """Disks that the guest cannot write to: no migration copies them."""
    volumes = {volume.name: volume.persistent_volume_claim for volume in vmi.spec.volumes}
    return [
        disk.name for disk in vmi.spec.domain.devices.disks
        if disk.name in moves and (
            disk.cdrom is not None or (disk.disk is not None and disk.disk.readonly)
            or ((claim := volumes.get(disk.name)) is not None and claim.read_only))
    ]


def _told(
    vmi: v1.VirtualMachineInstance, wanted: Iterable[str], found: Claims, now: str
) -> v1.VirtualMachineInstance:
    """With the condition that has a migration made, or says what it waits for."""
    is_there = all(found.get(claim) is not None for claim in wanted)
    word, message = ("True", MIGRATING) if is_there else ("False", MISSING)
    condition = v1.Condition(type=CONDITION, status=word, message=message)
    return replace(vmi, status=replace(
        vmi.status, conditions=conditions.with_condition(vmi.status.conditions, condition, now)))


def _without_wait(vmi: v1.VirtualMachineInstance) -> v1.VirtualMachineInstance:
    """Nothing is waited for any more. That a change was cancelled stays to be seen."""
    known = conditions.find(vmi.status.conditions, CONDITION)
    if known is None or known.reason == CANCELLED:
        return vmi
    return replace(vmi, status=replace(vmi.status, conditions=conditions.without(vmi.status.conditions, CONDITION)))


def _differs(
    vmi: v1.VirtualMachineInstance, new: v1.VirtualMachineInstance
) -> v1.VirtualMachineInstance | None:
    return new if new != vmi else None


def _wanted(vm: v1.VirtualMachine) -> Mapping[str, str]:
    return claims(vm.spec.template.spec) if vm.spec.template is not None else {}


def _agree(some: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(wanted.get(name) == claim for name, claim in some.items())
