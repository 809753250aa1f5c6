"""What a VMI says of claims that are changed under its guest."""

from msgspec.structs import replace

from virt.api import conditions, v1, volumechange

Info = v1.PersistentVolumeClaimInfo
MOVED = v1.StorageMigratedVolumeInfo(
    volume_name="data", source_pvc_info=Info(claim_name="old"),
    destination_pvc_info=Info(claim_name="new", access_modes=("ReadWriteMany",)))


def volume(name: str, claim: str) -> v1.Volume:
    return v1.Volume(
        name=name, persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name=claim, read_only=True))


def vmi(claim: str, *moved: v1.StorageMigratedVolumeInfo) -> v1.VirtualMachineInstance:
    told = v1.VolumeStatus(name="data", size=7, persistent_volume_claim_info=Info(claim_name="old"))
    other = v1.VolumeStatus(name="other", persistent_volume_claim_info=Info(claim_name="kept"))
    return v1.VirtualMachineInstance(
        spec=v1.VirtualMachineInstanceSpec(volumes=(
            volume("data", claim), v1.Volume(name="root", container_disk=v1.ContainerDiskSource(image="i")))),
        status=v1.VirtualMachineInstanceStatus(
            migrated_volumes=moved, volume_status=(told, other),
            conditions=(v1.Condition(type="VolumesChange", status="True"), v1.Condition(type="Ready", status="True"))),
    )


def test_a_change_is_asked_for_as_long_as_the_spec_has_its_destinations() -> None:
    assert volumechange.is_asked(vmi("new", MOVED))
    assert not volumechange.is_asked(vmi("old", MOVED))
    assert volumechange.is_cancelled(vmi("old", MOVED))
    assert not volumechange.is_cancelled(vmi("new", MOVED))
    for quiet in (vmi("old"), vmi("new")):
        assert not volumechange.is_asked(quiet)
        assert not volumechange.is_cancelled(quiet)


def test_only_the_name_of_a_claim_is_changed() -> None:
    spec = volumechange.with_claims(vmi("old").spec, {"data": "new", "root": "no", "gone": "no"})
    assert spec.volumes == vmi("new").spec.volumes
    assert volumechange.claims(spec) == {"data": "new"}


def test_a_guest_that_has_come_has_its_destinations_whatever_was_asked_meanwhile() -> None:
    for asked in ("new", "old"):
        here = volumechange.settled(vmi(asked, MOVED))
        assert volumechange.claims(here.spec) == {"data": "new"}
        assert here.status.migrated_volumes == ()
        assert conditions.find(here.status.conditions, "VolumesChange") is None
        assert conditions.find(here.status.conditions, "Ready") is not None
        data, other = here.status.volume_status
        assert data.persistent_volume_claim_info == MOVED.destination_pvc_info
        assert data.size == 7
        assert other.persistent_volume_claim_info == Info(claim_name="kept")
    quiet = replace(vmi("old"), status=replace(vmi("old").status, conditions=()))
    assert volumechange.settled(quiet) == quiet
