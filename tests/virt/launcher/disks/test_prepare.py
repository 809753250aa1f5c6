"""Claims made ready: as the claim wants it, or as large as the disk that comes from another one."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from virt.api import v1
from virt.launcher.disks.errors import DiskError
from virt.launcher.disks.prepare import Disks

MIB = 1 << 20
OLD = v1.PersistentVolumeClaimInfo(claim_name="old", requests={"storage": "4Mi"})
MOVED = v1.StorageMigratedVolumeInfo(
    volume_name="data", source_pvc_info=OLD, destination_pvc_info=v1.PersistentVolumeClaimInfo(claim_name="new"))


def vmi(*moved: v1.StorageMigratedVolumeInfo, size: int = 3 * MIB + 512) -> v1.VirtualMachineInstance:
    source = v1.PersistentVolumeClaimVolumeSource(claim_name="new")
    return v1.VirtualMachineInstance(
        spec=v1.VirtualMachineInstanceSpec(
            volumes=(v1.Volume(name="data", persistent_volume_claim=source),),
            domain=v1.DomainSpec(devices=v1.Devices(disks=(v1.Disk(name="data", disk=v1.DiskTarget()),)))),
        status=v1.VirtualMachineInstanceStatus(
            migrated_volumes=moved,
            volume_status=(v1.VolumeStatus(name="data", size=size, persistent_volume_claim_info=OLD),)),
    )


@pytest.fixture
def disks(tmp_path: Path) -> Disks:
    (tmp_path / "claims" / "data").mkdir(parents=True)
    return Disks(claims=tmp_path / "claims", devices=tmp_path / "devices")


async def test_a_claim_gets_the_size_that_it_asked_for(disks: Disks) -> None:
    source = (await disks.prepare(vmi()))["data"]
    assert (source.size, Path(source.path).stat().st_size) == (4 * MIB, 4 * MIB)


async def test_a_disk_that_comes_from_another_claim_keeps_its_size(disks: Disks) -> None:
    source = (await disks.prepare(vmi(MOVED)))["data"]
    assert (source.size, Path(source.path).stat().st_size) == (3 * MIB + 512, 3 * MIB + 512)
    assert (await disks.prepare(vmi(replace(MOVED, volume_name="other"))))["data"].size == 3 * MIB + 512, "it is there"


async def test_without_the_size_of_the_source_nothing_is_made(disks: Disks) -> None:
    with pytest.raises(DiskError, match="size of its source is not known"):
        await disks.prepare(vmi(MOVED, size=0))
    assert not list((disks.claims / "data").iterdir())


@pytest.mark.parametrize(("bus", "readonly", "known", "expected"), [
    ("sata", False, 900 << 10, 900 << 10), ("", False, 2048, 2048), ("sata", False, 0, None),
    ("virtio", False, 2048, None), ("sata", True, 2048, None),
])
async def test_a_seed_that_goes_along_has_the_size_that_it_had(
    tmp_path: Path, bus: str, readonly: bool, known: int, expected: int | None
) -> None:
    """On other buses it cannot be written to, and is not copied."""
    seed = v1.Volume(name="seed", cloud_init_no_cloud=v1.CloudInitNoCloudSource(user_data="#cloud-config"))
    disk = v1.Disk(name="seed", disk=v1.DiskTarget(bus=bus, readonly=readonly))

    def machine(size: int) -> v1.VirtualMachineInstance:
        return v1.VirtualMachineInstance(
            spec=v1.VirtualMachineInstanceSpec(
                volumes=(seed,), domain=v1.DomainSpec(devices=v1.Devices(disks=(disk,)))),
            status=v1.VirtualMachineInstanceStatus(volume_status=(v1.VolumeStatus(name="seed", size=size),)))

    plain = (await Disks(ephemeral=tmp_path / "plain", secrets=tmp_path).prepare(machine(0)))["seed"]
    found = (await Disks(ephemeral=tmp_path / "target", secrets=tmp_path).prepare(machine(known)))["seed"]
    wanted = plain.size if expected is None else expected
    assert (found.size, Path(found.path).stat().st_size) == (wanted, wanted)
