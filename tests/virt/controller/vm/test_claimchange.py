"""A template with other claims than its running guest: each case of it, and what the VM remembers."""

from typing import Any

import pytest
from msgspec.structs import replace

from virt.api import conditions, core, v1, volumechange
from virt.controller.vm import claimchange
from virt.controller.vm.claimchange import MISSING, NOT_LIVE, Change, change, needs_recovery, state_of

NOW = "2026-01-01T12:00:00Z"
Info = v1.PersistentVolumeClaimInfo
State = v1.VirtualMachineInstanceMigrationState
UNDER_WAY = State(migration_uid="m")
MIGRATABLE = v1.Condition(type="StorageLiveMigratable", status="True")


def info(name: str, mode: str = "ReadWriteOnce") -> Info:
    return Info(claim_name=name, access_modes=(mode,), volume_mode="Filesystem")


def moved(name: str, old: str, new: str) -> v1.StorageMigratedVolumeInfo:
    return v1.StorageMigratedVolumeInfo(
        volume_name=name, source_pvc_info=info(old), destination_pvc_info=info(new))


MOVED = (moved("vol1", "p1", "p2"),)


def spec(disk: dict[str, Any] | None = None, **claims: str) -> v1.VirtualMachineInstanceSpec:
    return v1.VirtualMachineInstanceSpec(
        volumes=tuple(
            v1.Volume(name=name, persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name=claim))
            for name, claim in claims.items()),
        domain=v1.DomainSpec(devices=v1.Devices(disks=tuple(
            v1.Disk(**{"name": name, "disk": v1.DiskTarget(bus="virtio"), **(disk or {})}) for name in claims))),
    )


def vm(
    remembered: tuple[v1.StorageMigratedVolumeInfo, ...] = (), strategy: str | None = "Migration", **claims: str
) -> v1.VirtualMachine:
    return v1.VirtualMachine(
        metadata=core.ObjectMeta(name="vm"),
        spec=v1.VirtualMachineSpec(
            template=v1.VirtualMachineInstanceTemplateSpec(spec=spec(None, **claims)),
            update_volumes_strategy=strategy),
        status=v1.VirtualMachineStatus(volume_update_state=state_of(remembered)),
    )


def vmi(
    *going: v1.StorageMigratedVolumeInfo, phase: str = "Running", state: State | None = None,
    told: tuple[v1.Condition, ...] = (MIGRATABLE,), disk: dict[str, Any] | None = None, **claims: str,
) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name="vm", uid="u"), spec=spec(disk, **claims),
        status=v1.VirtualMachineInstanceStatus(
            phase=phase, conditions=told, migration_state=state, migrated_volumes=going,
            volume_status=tuple(
                v1.VolumeStatus(name=name, persistent_volume_claim_info=info(claim)) for name, claim in claims.items()),
        ),
    )


def claim(mode: str = "ReadWriteOnce", volume_mode: str | None = None) -> core.PersistentVolumeClaim:
    return core.PersistentVolumeClaim(
        spec=core.PersistentVolumeClaimSpec(access_modes=(mode,), volume_mode=volume_mode))


THERE = {"p2": claim(), "q1": claim(), "q2": claim()}


def decided(
    machine: v1.VirtualMachine, instance: v1.VirtualMachineInstance | None, *, is_live: bool = True,
    found: dict[str, core.PersistentVolumeClaim] | None = None,
) -> Change:
    return change(machine, instance, THERE if found is None else found, is_live=is_live, now=NOW)


def told(instance: v1.VirtualMachineInstance | None) -> tuple[str, str, str]:
    assert instance is not None
    condition = conditions.find(instance.status.conditions, "VolumesChange")
    return (condition.status, condition.reason, condition.message) if condition is not None else ("", "", "")


def test_a_change_begins_with_spec_and_status_at_once_and_the_vm_remembers_it() -> None:
    begun = decided(vm(vol1="p2"), vmi(vol1="p1"))
    assert begun.moved == MOVED
    assert begun.vmi is not None
    assert begun.vmi.status.migrated_volumes == MOVED
    assert volumechange.claims(begun.vmi.spec) == {"vol1": "p2"}
    assert told(begun.vmi) == ("True", "", "migrate volumes")
    assert (begun.restart, begun.fault) == ("", None)
    # And the next pass leaves it so.
    assert decided(vm(MOVED, vol1="p2"), begun.vmi) == Change(MOVED)


@pytest.mark.parametrize(("machine", "instance", "is_live", "restart"), [
    (vm(strategy=None, vol1="p2"), vmi(vol1="p1"), True, NOT_LIVE),
    (vm(strategy="Replacement", vol1="p2"), vmi(vol1="p1"), True, NOT_LIVE),
    (vm(vol1="p2"), vmi(vol1="p1"), False, NOT_LIVE),
    (vm(vol1="p2"), vmi(vol1="p1", phase="Pending"), True, NOT_LIVE),
    (vm(vol1="p2"), vmi(vol1="p1", state=UNDER_WAY), True, ""),
    (vm(vol1="p2"), vmi(vol1="p1", told=()), True, ""),
    (vm(vol1="p2"), vmi(vol1="p1", told=(replace(MIGRATABLE, status="False", message="a bridge"),)), True,
     "cannot migrate the VM. It cannot leave its node: a bridge"),
    (vm(vol1="p2", vol2="p3"), vmi(vol1="p1", vol2="p3"), True,
     "cannot migrate the VM. The volume vol2 is RWO and not included in the migration volumes"),
    (vm(vol1="p2"), vmi(vol1="p1", disk={"shareable": True}), True,
     "invalid volumes to update with migration: shareable: [vol1]"),
    (vm(vol1="p2", vol2="q2"), vmi(vol1="p1", vol2="q1", disk={"disk": None, "lun": v1.LunTarget()}), True,
     "invalid volumes to update with migration: luns: [vol1 vol2]"),
    (vm(vol1="p2"), vmi(vol1="p1", disk={"disk": None, "cdrom": v1.CDRomTarget()}), True,
     "invalid volumes to update with migration: read-only: [vol1]"),
    (vm(vol1="p2", vol2="p1"), vmi(vol1="p1", vol2="p2"), True,
     "cannot migrate the VM. The claim p2 of volume vol1 is also that of another volume"),
    (vm(vol1="p2", vol2="p2"), vmi(vol1="p1", vol2="q1"), True,
     "cannot migrate the VM. The claim p2 of volume vol1 is also that of another volume"),
])
def test_what_is_not_begun(
    machine: v1.VirtualMachine, instance: v1.VirtualMachineInstance, is_live: bool, restart: str
) -> None:
    assert decided(machine, instance, is_live=is_live) == Change(restart=restart)


def test_a_file_does_not_become_a_device() -> None:
    found = decided(vm(vol1="p2"), vmi(vol1="p1"), found={"p2": claim(volume_mode="Block")})
    assert found.restart == "cannot migrate the VM. The volume vol1 is of mode Filesystem, claim p2 of mode Block"


def test_a_shared_claim_may_stay() -> None:
    running = vmi(vol1="p1", vol2="s")
    status = tuple(
        replace(each, persistent_volume_claim_info=info("s", "ReadWriteMany")) if each.name == "vol2" else each
        for each in running.status.volume_status)
    running = replace(running, status=replace(running.status, volume_status=status))
    assert decided(vm(vol1="p2", vol2="s"), running).moved == MOVED


def test_a_missing_claim_is_told_and_waited_for() -> None:
    machine, running = vm(vol1="p2"), vmi(vol1="p1")
    waits = decided(machine, running, found={})
    assert waits.moved == ()
    assert told(waits.vmi) == ("False", "", MISSING)
    assert waits.vmi is not None
    assert (waits.vmi.spec, waits.vmi.status.migrated_volumes) == (running.spec, ())
    assert decided(machine, waits.vmi, found={}) == Change()
    assert decided(machine, waits.vmi).moved == MOVED
    given_up = decided(vm(vol1="p1"), waits.vmi)
    assert told(given_up.vmi) == ("", "", "")
    assert decided(vm(strategy=None, vol1="p2"), waits.vmi).vmi == running


def test_a_change_that_is_taken_back_is_cancelled_and_forgotten_when_nobody_copies_any_more() -> None:
    machine = vm(MOVED, vol1="p1")
    quiet = decided(machine, vmi(*MOVED, vol1="p2"))
    assert quiet.moved == ()
    assert told(quiet.vmi) == ("False", "VolumesChangeCancellation", "")
    assert quiet.vmi is not None
    assert (volumechange.claims(quiet.vmi.spec), quiet.vmi.status.migrated_volumes) == ({"vol1": "p1"}, ())
    assert decided(vm(vol1="p1"), quiet.vmi) == Change()

    busy = decided(machine, vmi(*MOVED, state=UNDER_WAY, vol1="p2")).vmi
    assert told(busy) == ("False", "VolumesChangeCancellation", "")
    assert busy is not None
    assert (volumechange.claims(busy.spec), busy.status.migrated_volumes) == ({"vol1": "p1"}, MOVED)
    assert decided(vm(vol1="p1"), busy) == Change(), "the nodes still have to know"
    ended = replace(busy, status=replace(busy.status, migration_state=replace(UNDER_WAY, failed=True)))
    forgotten = decided(vm(vol1="p1"), ended).vmi
    assert forgotten is not None
    assert forgotten.status.migrated_volumes == ()


def test_wanted_again_while_it_is_being_cancelled_it_is_remembered_until_it_can_begin_anew() -> None:
    busy = vmi(*MOVED, state=UNDER_WAY, vol1="p1")
    assert decided(vm(vol1="p2"), busy) == Change(MOVED)


@pytest.mark.parametrize("claims", [{"vol1": "p3"}, {"vol1": "p2", "vol2": "q2"}, {"vol1": "p1", "vol2": "q2"}])
def test_a_change_under_way_can_only_be_taken_back(claims: dict[str, str]) -> None:
    found = decided(vm(MOVED, **claims), vmi(*MOVED, vol1="p2", vol2="q1"))
    assert (found.moved, found.vmi, found.restart) == (MOVED, None, "")
    assert found.fault is not None
    assert (found.fault.type, found.fault.reason) == ("Failure", "VolumesUpdateError")
    assert "The volume can only be reverted to the previous version during the update" in found.fault.message


@pytest.mark.parametrize(("machine", "instance", "needed"), [
    (vm(MOVED, vol1="p2"), None, True),
    (vm(MOVED, vol1="p2"), vmi(*MOVED, phase="Failed", vol1="p2"), True),
    (vm(MOVED, vol1="p2"), vmi(phase="Failed", vol1="p1"), True),
    (vm(MOVED, vol1="p2"), vmi(phase="Succeeded", vol1="p2"), False),          # it had come
    (vm(MOVED, vol1="p2"), vmi(*MOVED, vol1="p2"), False),                     # it lives
    (vm(MOVED, vol1="p1"), None, False),
    (vm(MOVED, strategy="Replacement", vol1="p2"), None, False),
    (vm(vol1="p2"), None, False),
])
def test_a_guest_that_ended_on_the_way_needs_a_person(
    machine: v1.VirtualMachine, instance: v1.VirtualMachineInstance | None, needed: bool
) -> None:
    assert needs_recovery(machine, instance) == needed
    if instance is None or instance.status.migrated_volumes == () or needed:
        assert decided(machine, instance).moved == (MOVED if needed else ())


def test_a_guest_that_is_leaving_is_not_touched() -> None:
    leaving = vmi(*MOVED, vol1="p2")
    leaving = replace(leaving, metadata=replace(leaving.metadata, deletion_timestamp=NOW))
    assert decided(vm(MOVED, vol1="p1"), leaving) == Change(MOVED)


def test_once_it_has_come_the_vm_forgets() -> None:
    assert decided(vm(MOVED, vol1="p2"), vmi(vol1="p2")) == Change()
    assert claimchange.state_of(()) is None
