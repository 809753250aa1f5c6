"""Hot-plugged volumes: which they are, how they come into a spec and leave it, and how far each one is. Pure.

A claim with ``hotpluggable`` is never a volume of the launcher's pod. A pod beside it, the attachment pod, mounts all
such claims on the node; the node's handler brings them into the launcher. ``status.volumeStatus`` tells how far that
is: the controller writes the phases up to AttachedToNode and Detaching, the handler those that follow. KubeVirt:
section "Hotplug" of its user guide, pkg/virt-controller/watch/vmi/volume-hotplug.go.
"""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from virt.api import v1

PENDING: Final = "Pending"                      # there is no claim that could be mounted
BOUND: Final = "Bound"
ATTACHED: Final = "AttachedToNode"              # the attachment pod has mounted it
MOUNTED: Final = "MountedToPod"                 # the launcher has it
READY: Final = "Ready"                          # the guest has it
DETACHING: Final = "Detaching"                  # it is to leave the guest
UNMOUNTED: Final = "UnMountedFromPod"           # the launcher has let go of it
GUESTS: Final = (MOUNTED, READY, DETACHING)     # it may be in the guest


def is_hotplugged(volume: v1.Volume) -> bool:
    claim = volume.persistent_volume_claim
    return claim is not None and claim.hotpluggable


def claims(spec: v1.VirtualMachineInstanceSpec) -> Mapping[str, str]:
    """Volume -> claim, of the hot-plugged ones."""
    return {
        volume.name: volume.persistent_volume_claim.claim_name for volume in spec.volumes
        if volume.persistent_volume_claim is not None and is_hotplugged(volume)
    }


def parts(spec: v1.VirtualMachineInstanceSpec) -> Mapping[str, tuple[v1.Volume, v1.Disk]]:
    """Volume and disk by name, of the hot-plugged ones that have both."""
    disks = {disk.name: disk for disk in spec.domain.devices.disks}
    return {
        volume.name: (volume, disks[volume.name]) for volume in spec.volumes
        if is_hotplugged(volume) and volume.name in disks
    }


def without(spec: v1.VirtualMachineInstanceSpec, names: frozenset[str] | None = None) -> v1.VirtualMachineInstanceSpec:
    """``spec`` without these volumes and their disks; None: without any that is hot-plugged."""
    gone = frozenset(claims(spec)) if names is None else names
    if not gone:
        return spec
    devices = spec.domain.devices
    kept = replace(devices, disks=tuple(disk for disk in devices.disks if disk.name not in gone))
    return replace(
        spec, domain=replace(spec.domain, devices=kept),
        volumes=tuple(volume for volume in spec.volumes if volume.name not in gone))


def added(
    spec: v1.VirtualMachineInstanceSpec, volume: v1.Volume, disk: v1.Disk
) -> v1.VirtualMachineInstanceSpec:
    devices = spec.domain.devices
    return replace(
        spec, domain=replace(spec.domain, devices=replace(devices, disks=(*devices.disks, disk))),
        volumes=(*spec.volumes, volume))


def held(vmi: v1.VirtualMachineInstance) -> Mapping[str, str]:
    """Volume -> claim, of those that may be in the guest: what a node that takes it over needs too.

    Of one that has left the spec already only the status knows the claim.
    """
    asked = claims(vmi.spec)
    found = {}
    for entry in vmi.status.volume_status:
        if entry.hotplug_volume is None or entry.phase not in GUESTS:
            continue
        info = entry.persistent_volume_claim_info
        claim = asked.get(entry.name) or (info.claim_name if info is not None else "")
        if claim:
            found[entry.name] = claim
    return found
