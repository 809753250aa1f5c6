"""Volumes of a launcher pod and where ``compute`` sees them. The paths are drawn in docs/architecture.md."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from virt.api import core, hotplug, names, v1
from virt.controller.vmi.pod import naming

PRIVATE: Final = "private"
_FOLDERS: Final[Mapping[str, str]] = {
    PRIVATE: names.PRIVATE_DIR,
    "public": names.PUBLIC_DIR,
    "libvirt-runtime": names.LIBVIRT_DIR,
    "ephemeral-disks": names.EPHEMERAL_DISKS_DIR,
}


@dataclass(frozen=True)
class PodVolume:
    """A volume of the pod; ``mount`` or ``device`` says where ``compute`` has it."""

    volume: core.Volume
    mount: core.VolumeMount | None = None
    device: core.VolumeDevice | None = None


def of(spec: v1.VirtualMachineInstanceSpec, claims: Mapping[str, core.PersistentVolumeClaim]) -> tuple[PodVolume, ...]:
    """``claims``: the PVCs of the VMI by name; all that its start needs have to be there. Those that are hot-plugged
    are not the launcher's: virt.controller.vmi.hotplug."""
    spec = hotplug.without(spec)
    return (*_folders(), *_disk_folders(spec), *(made for volume in spec.volumes for made in _from(volume, claims)))


def claim_names(spec: v1.VirtualMachineInstanceSpec) -> tuple[str, ...]:
    """The PVCs of a VMI, in the order of its volumes."""
    return tuple(dict.fromkeys(volume.claim for volume in spec.volumes if volume.claim))


def needed_claims(spec: v1.VirtualMachineInstanceSpec) -> tuple[str, ...]:
    """Those without which its pod cannot be made."""
    return claim_names(hotplug.without(spec))


def claims_by_name(spec: v1.VirtualMachineInstanceSpec) -> Mapping[str, str]:
    """Volume of the launcher's pod -> claim."""
    return {pod_volume(volume.name): volume.claim for volume in hotplug.without(spec).volumes if volume.claim}


def mounted(pod: core.Pod) -> Mapping[str, str]:
    """The same, as a pod has it that was made."""
    return {
        volume.name: volume.persistent_volume_claim.claim_name for volume in pod.spec.volumes
        if volume.persistent_volume_claim is not None
    }


def disk_folder(volume: str) -> core.VolumeMount:
    """The folder shared between the launcher and the container that passes this disk."""
    return core.VolumeMount(name=_disk_volume(volume), mount_path=f"{names.CONTAINER_DISKS_DIR}/{volume}")


def _disk_volume(volume: str) -> str:
    return naming.bounded(f"container-disk-{volume}")


def _folders() -> Iterator[PodVolume]:
    for name, path in _FOLDERS.items():
        yield PodVolume(_empty(name), core.VolumeMount(name=name, mount_path=path))


def _disk_folders(spec: v1.VirtualMachineInstanceSpec) -> Iterator[PodVolume]:
    shared = [volume.name for volume in spec.volumes if volume.container_disk is not None]
    if kernel_boot_of(spec) is not None:
        shared.append(names.KERNEL_BOOT_VOLUME)
    for name in shared:
        yield PodVolume(_empty(_disk_volume(name)), disk_folder(name))


def kernel_boot_of(spec: v1.VirtualMachineInstanceSpec) -> v1.KernelBootContainer | None:
    firmware = spec.domain.firmware
    return firmware.kernel_boot.container if firmware and firmware.kernel_boot else None


def _from(volume: v1.Volume, claims: Mapping[str, core.PersistentVolumeClaim]) -> Iterator[PodVolume]:
    name = pod_volume(volume.name)
    if claim := volume.claim:
        asked = volume.persistent_volume_claim
        read_only = asked is not None and asked.read_only
        source = core.Volume(name=name, persistent_volume_claim=core.PersistentVolumeClaimVolumeSource(
            claim_name=claim, read_only=read_only))
        if claims[claim].spec.volume_mode == "Block":
            yield PodVolume(source, device=core.VolumeDevice(name=name, device_path=f"/dev/{volume.name}"))
        else:
            path = f"{names.VMI_DISKS_DIR}/{volume.name}"
            mounted_read_only = read_only or volume.ephemeral is not None       # the guest writes elsewhere
            yield PodVolume(source, core.VolumeMount(name=name, mount_path=path, read_only=mounted_read_only))
    files = _files(name, volume)
    if files is not None:
        path = f"{names.CONFIG_DIR}/{volume.name}"
        yield PodVolume(files, core.VolumeMount(name=name, mount_path=path, read_only=True))
    cloud_init = volume.cloud_init_no_cloud or volume.cloud_init_config_drive
    if cloud_init is not None:
        yield from _secret(volume.name, names.USER_SECRET, cloud_init.secret_ref)
        yield from _secret(volume.name, names.NETWORK_SECRET, cloud_init.network_data_secret_ref)


def pod_volume(name: str) -> str:
    """What the VMI's volume is called in a pod."""
    return naming.bounded(f"vol-{name}")            # prefixed: users may call a volume "private"


def _files(name: str, volume: v1.Volume) -> core.Volume | None:
    """The pod's volume behind a configuration volume."""
    if (config := volume.config_map) is not None:
        return core.Volume(name=name, config_map=core.ConfigMapVolumeSource(name=config.name, optional=config.optional))
    if (secret := volume.secret) is not None:
        return core.Volume(
            name=name, secret=core.SecretVolumeSource(secret_name=secret.secret_name, optional=secret.optional))
    if volume.downward_api is not None:
        return core.Volume(name=name, downward_api=core.DownwardAPIVolumeSource(
            items=tuple(_of_compute(item) for item in volume.downward_api.fields)))
    if volume.service_account is not None:
        # What the kubelet mounts for pods with a token, but only where the launcher makes the ISO of it.
        return core.Volume(name=name, projected=core.ProjectedVolumeSource(sources=(
            core.VolumeProjection(service_account_token=core.ServiceAccountTokenProjection(path="token")),
            core.VolumeProjection(config_map=core.ProjectedItems(
                name="kube-root-ca.crt", items=(core.KeyToPath(key="ca.crt", path="ca.crt"),))),
            core.VolumeProjection(downward_api=core.DownwardAPIVolumeSource(items=(core.DownwardAPIVolumeFile(
                path="namespace", field_ref=core.ObjectFieldSelector(field_path="metadata.namespace")),))),
        )))
    return None


def _of_compute(item: core.DownwardAPIVolumeFile) -> core.DownwardAPIVolumeFile:
    """A resource field is of a container, and the guest's is ``compute``."""
    asked = item.resource_field_ref
    if asked is None or asked.container_name:
        return item
    return replace(item, resource_field_ref=replace(asked, container_name=names.COMPUTE_CONTAINER))


def service_account(spec: v1.VirtualMachineInstanceSpec) -> str:
    """The account whose token a volume gives to the guest, "" for none."""
    return next((volume.service_account.service_account_name for volume in spec.volumes if volume.service_account), "")


def _secret(volume: str, role: str, reference: core.LocalObjectReference | None) -> Iterator[PodVolume]:
    if reference is not None:
        name = naming.bounded(f"vol-{volume}-{role}")
        source = core.Volume(name=name, secret=core.SecretVolumeSource(secret_name=reference.name))
        path = f"{names.SECRETS_DIR}/{volume}/{role}"
        yield PodVolume(source, core.VolumeMount(name=name, mount_path=path, read_only=True))


def _empty(name: str) -> core.Volume:
    return core.Volume(name=name, empty_dir=core.EmptyDirVolumeSource())
