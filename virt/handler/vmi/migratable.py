"""Whether a VMI could be moved to another node while it runs, and if not, why. Pure.

KubeVirt: the first obstacle found is the reason of condition LiveMigratable.
"""

from virt.api import hotplug, v1
from virt.api.volumechange import destinations, is_asked

POD_BRIDGE_ANNOTATION = "kubevirt.io/allow-pod-bridge-network-live-migration"


def condition(vmi: v1.VirtualMachineInstance) -> v1.Condition:
    obstacle = _network(vmi) or _devices(vmi) or _disks(vmi)
    if obstacle is None:
        return v1.Condition(type="LiveMigratable", status="True")
    reason, message = obstacle
    return v1.Condition(type="LiveMigratable", status="False", reason=reason, message=message)


def storage_condition(vmi: v1.VirtualMachineInstance) -> v1.Condition:
    """Whether only its disks could keep it from moving: a migration that also replaces them would go."""
    obstacles = [found[1] for found in (_network(vmi), _devices(vmi)) if found is not None]
    if not obstacles:
        return v1.Condition(type="StorageLiveMigratable", status="True")
    return v1.Condition(
        type="StorageLiveMigratable", status="False", reason="NotMigratable", message="; ".join(obstacles))


def method(vmi: v1.VirtualMachineInstance) -> str:
    """BlockMigration where a disk has to be copied along, else LiveMigration."""
    is_copied = is_asked(vmi) or any(
        _is_of_the_pod(volume) and not _is_only_read(vmi, volume.name) for volume in vmi.spec.volumes)
    return "BlockMigration" if is_copied else "LiveMigration"


def copied_volumes(vmi: v1.VirtualMachineInstance) -> tuple[str, ...]:
    """Volumes whose content goes along with the guest: those of its pod that it can have written to, and those that
    get another claim. Of these the status tells, not the spec: it holds for the migration that is under way.

    What it can only read is made anew at the target, from the same image or the same seed.
    """
    volumes = {volume.name: volume for volume in vmi.spec.volumes}
    moved = destinations(vmi.status.migrated_volumes)
    return tuple(
        disk.name for disk in vmi.spec.domain.devices.disks
        if disk.name in moved or (
            disk.name in volumes and _is_of_the_pod(volumes[disk.name])
            and not _is_readonly(disk, volumes[disk.name]))
    )


def _is_of_the_pod(volume: v1.Volume) -> bool:
    return volume.is_generated or bool(volume.container_disk or volume.empty_disk or volume.ephemeral)


def _is_readonly(disk: v1.Disk, volume: v1.Volume) -> bool:
    """As the launcher makes it: a generated image is read-only but on SATA, where disks cannot be."""
    if disk.cdrom is not None or (disk.disk is not None and disk.disk.readonly):
        return True
    return volume.is_generated and disk.disk is not None and disk.disk.bus not in ("", "sata")


def _network(vmi: v1.VirtualMachineInstance) -> tuple[str, str] | None:
    on_pod = {network.name for network in vmi.spec.networks if network.pod is not None}
    for interface in vmi.spec.domain.devices.interfaces:
        if interface.name not in on_pod or interface.masquerade is not None or interface.passt_binding is not None:
            continue
        if interface.bridge is not None and POD_BRIDGE_ANNOTATION in vmi.metadata.annotations:
            continue
        return (
            "InterfaceNotLiveMigratable",
            f"interface {interface.name} holds the pod's own address, which cannot move; masquerade can",
        )
    return None


def _devices(vmi: v1.VirtualMachineInstance) -> tuple[str, str] | None:
    devices = vmi.spec.domain.devices
    bound = next(iter([*(each.name for each in devices.host_devices), *(each.name for each in devices.gpus)]), None)
    if bound is None:
        return None
    return "HostDeviceNotLiveMigratable", f"device {bound} is a piece of this node"


def _disks(vmi: v1.VirtualMachineInstance) -> tuple[str, str] | None:
    known = {status.name: status.persistent_volume_claim_info for status in vmi.status.volume_status}
    copied = destinations(vmi.status.migrated_volumes) if is_asked(vmi) else {}
    plugged = hotplug.held(vmi)
    for volume in vmi.spec.volumes:
        claim = volume.claim                    # which the target's pod would have to mount too
        if hotplug.is_hotplugged(volume) and volume.name not in plugged:
            continue                            # the guest does not have it, and may get it anywhere
        if claim and volume.name not in copied:
            info = known.get(volume.name)
            if info is None or "ReadWriteMany" not in info.access_modes:
                return (
                    "DisksNotLiveMigratable",
                    f"volume {volume.name}: claim {claim} is not shared (ReadWriteMany), so no second node may open it",
                )
        if volume.host_disk is not None and not volume.host_disk.shared:
            return "DisksNotLiveMigratable", f"volume {volume.name} is a file of this node and not marked as shared"
    reserved = next((disk.name for disk in vmi.spec.domain.devices.disks if disk.lun and disk.lun.reservation), None)
    if reserved is not None:
        return "DisksNotLiveMigratable", f"disk {reserved} uses persistent reservation"
    return None


def _is_only_read(vmi: v1.VirtualMachineInstance, name: str) -> bool:
    """By the words of the VMI: an image that is read-only for its bus alone counts as one that goes along."""
    disk = next((disk for disk in vmi.spec.domain.devices.disks if disk.name == name), None)
    if disk is None:
        return False
    is_cdrom = disk.cdrom is not None and disk.cdrom.readonly is not False
    return is_cdrom or (disk.disk is not None and disk.disk.readonly)
