"""Claims that are changed under a running guest: what its VMI says of that, for all who read it. Pure.

The controller writes the new claims into the VMI's spec and, in the same write, each source and destination into
``status.migratedVolumes``. The guest has the sources until a migration has brought it to the destinations; the node
that takes it over clears the list in the write that makes the guest its own. From the hand-over of a migration to its
end nobody else touches the list, so it always tells which disks that migration copies.
"""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from virt.api import conditions, v1

CONDITION: Final = "VolumesChange"
CANCELLED: Final = "VolumesChangeCancellation"
MIGRATION: Final = "Migration"              # the strategy by which a VM wants its claims changed so


def claims(spec: v1.VirtualMachineInstanceSpec) -> Mapping[str, str]:
    """Volume -> the claim whose content is the disk. Of an ephemeral volume the claim is only read."""
    return {
        volume.name: volume.persistent_volume_claim.claim_name for volume in spec.volumes
        if volume.persistent_volume_claim is not None
    }


def with_claims(
    spec: v1.VirtualMachineInstanceSpec, wanted: Mapping[str, str]
) -> v1.VirtualMachineInstanceSpec:
    """``spec`` with other claims in volumes that have one."""
    return replace(spec, volumes=tuple(
        volume if volume.persistent_volume_claim is None or volume.name not in wanted else replace(
            volume, persistent_volume_claim=replace(
                volume.persistent_volume_claim, claim_name=wanted[volume.name]))
        for volume in spec.volumes
    ))


def sources(moved: tuple[v1.StorageMigratedVolumeInfo, ...]) -> Mapping[str, str]:
    """Volume -> the claim that it comes from."""
    return {each.volume_name: each.source_pvc_info.claim_name for each in moved if each.source_pvc_info is not None}


def destinations(moved: tuple[v1.StorageMigratedVolumeInfo, ...]) -> Mapping[str, str]:
    """Volume -> the claim that it goes to."""
    return {
        each.volume_name: each.destination_pvc_info.claim_name for each in moved
        if each.destination_pvc_info is not None
    }


def is_asked(vmi: v1.VirtualMachineInstance) -> bool:
    """Whether a migration is to bring the guest to other claims."""
    return bool(vmi.status.migrated_volumes) and not is_cancelled(vmi)


def is_cancelled(vmi: v1.VirtualMachineInstance) -> bool:
    """Whether a change has begun that the spec does not ask for any more."""
    return not _holds(destinations(vmi.status.migrated_volumes), claims(vmi.spec))


def settled(vmi: v1.VirtualMachineInstance) -> v1.VirtualMachineInstance:
    """The VMI whose guest has come to the destinations, whatever its spec asked for meanwhile."""
    moved = {each.volume_name: each.destination_pvc_info for each in vmi.status.migrated_volumes}
    if not moved:
        return vmi
    status = replace(
        vmi.status,
        migrated_volumes=(),
        conditions=conditions.without(vmi.status.conditions, CONDITION),
        volume_status=tuple(
            replace(known, persistent_volume_claim_info=moved[known.name]) if known.name in moved else known
            for known in vmi.status.volume_status
        ),
    )
    spec = with_claims(vmi.spec, destinations(vmi.status.migrated_volumes))
    return replace(vmi, spec=spec, status=status)


def _holds(wanted: Mapping[str, str], found: Mapping[str, str]) -> bool:
    return all(found.get(name) == claim for name, claim in wanted.items())
