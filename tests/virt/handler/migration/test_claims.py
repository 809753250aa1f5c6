"""A guest that comes to other claims than it had: the take-over tells, whatever was asked for meanwhile."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.virt.handler.migration.test_moves import RUNNING, begun, moving, state, two_nodes
from virt.api import conditions, v1
from virt.rpc.messages import Migrate


@pytest.mark.parametrize("asked", ["new", "old"])
async def test_a_guest_comes_to_other_claims(tmp_path: Path, asked: str) -> None:
    """Also where that was taken back when it was there already: then the VMI says what the guest has."""
    info = v1.PersistentVolumeClaimInfo
    given = moving()
    moved = v1.StorageMigratedVolumeInfo(
        volume_name="d", source_pvc_info=info(claim_name="old"), destination_pvc_info=info(claim_name="new"))
    disk = v1.Disk(name="d", disk=v1.DiskTarget(bus="virtio"))
    volume = v1.Volume(name="d", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name=asked))
    domain = replace(given.spec.domain, devices=replace(given.spec.domain.devices, disks=(disk,)))
    given = replace(
        given, spec=replace(given.spec, volumes=(volume,), domain=domain),
        status=replace(
            given.status, migrated_volumes=(moved,),
            conditions=(*given.status.conditions, v1.Condition(type="VolumesChange", status="True")),
            volume_status=(v1.VolumeStatus(name="d", persistent_volume_claim_info=moved.source_pvc_info),)))
    async with two_nodes(tmp_path, given=given) as (source, target):
        leaving, coming = await begun(source, target)
        assert next(each for each in leaving.asked if isinstance(each, Migrate)).copied == ("d",)
        assert sorted(state(source).target_direct_migration_node_ports.values()) == [0, 49152, 49153]
        await coming.becomes(RUNNING)
        await target.until(lambda: state(target).completed)
        here = target.stored
        assert here.spec.volumes == (replace(
            volume, persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name="new")),)
        assert here.status.migrated_volumes == ()
        assert conditions.find(here.status.conditions, "VolumesChange") is None
        known = here.status.volume_status[0].persistent_volume_claim_info
        assert known is not None
        assert known.claim_name == "new"
