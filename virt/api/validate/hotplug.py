"""Volumes that are added to a guest while it runs, and taken out again: rule 101 of the specification.

The texts are KubeVirt's (pkg/virt-api/rest/volume-hotplug.go and the admitter of VMI updates); clients compare them.
"""

from virt.api import hotplug, v1
from virt.api.validate.causes import Causes, invalid, not_supported

BUSES = ("scsi", "virtio")


def disk_causes(path: str, spec: v1.VirtualMachineInstanceSpec) -> Causes:
    """What is wrong with the disks of hot-plugged volumes. ``path``: of the VMI's spec."""
    names = hotplug.claims(spec)
    for index, disk in enumerate(spec.domain.devices.disks):
        if disk.name in names:
            yield from disk_cause(f"{path}.domain.devices.disks[{index}]", disk)


def disk_cause(field: str, disk: v1.Disk) -> Causes:
    if disk.cdrom is not None:
        yield not_supported(f"{field}.cdrom", f"{field}: hotplug of a CD-ROM is not supported yet: {disk.name!r}")
        return
    target = disk.lun or disk.disk
    if target is None or target.bus not in BUSES:
        bus = target.bus if target is not None else ""
        yield invalid(f"{field}.disk.bus", f"hotplugged Disk {disk.name} requires bus to be 'scsi' or 'virtio', not "
                                           f"{bus!r}")


def why_not_added(volumes: tuple[v1.Volume, ...], name: str, claim: str) -> str:
    """Why a volume of this name, with this claim, cannot be put beside ``volumes``; "" when it can."""
    for volume in volumes:
        if volume.name == name:
            return f"Unable to add volume [{name}] because volume with that name already exists"
        if claim and claim in _sources(volume):
            return f"Unable to add volume source [{claim}] because it already exists"
    return ""


def why_not_removed(volumes: tuple[v1.Volume, ...], name: str) -> str:
    """Why this volume cannot be taken out; "" when it can."""
    found = next((volume for volume in volumes if volume.name == name), None)
    if found is None:
        return f"Unable to remove volume [{name}] because it does not exist"
    if not hotplug.is_hotplugged(found):
        return f"Unable to remove volume [{name}] because it is not hotpluggable"
    return ""


def _sources(volume: v1.Volume) -> tuple[str, ...]:
    """Names of the claim that the volume has."""
    claim, data = volume.persistent_volume_claim, volume.data_volume
    return (*((claim.claim_name,) if claim is not None else ()), *((data.name,) if data is not None else ()))
