"""Volumes of a VMI: rules 69 to 81 of the specification."""

import base64
import binascii

from virt.api import v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.status import StatusCause
from virt.api.validate.causes import Causes, amount, duplicate, file_path, invalid, one_of, repeated, required
from virt.api.validate.firmware import PULL_POLICIES

MAX_ENTRIES = 256
_MAX_CLOUD_INIT_BYTES = 2048


def causes(path: str, spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> Causes:
    """``path`` is that of the VMI's spec."""
    if len(spec.volumes) > MAX_ENTRIES:
        yield invalid(f"{path}.volumes", f"{path}.volumes list exceeds the {MAX_ENTRIES} element limit in length")
        return
    devices = spec.domain.devices
    attached = {disk.name for disk in devices.disks} | {filesystem.name for filesystem in devices.filesystems}
    twice = repeated(volume.name for volume in spec.volumes)
    for index, volume in enumerate(spec.volumes):
        field = f"{path}.volumes[{index}]"
        if index in twice:
            yield duplicate(f"{field}.name",
                            f"{field} and an earlier volume must not have the same Name: {volume.name!r}")
        if volume.name not in attached and volume.memory_dump is None:
            yield invalid(f"{path}.domain.volumes[{index}].name", f"{field}.name '{volume.name}' not found.")
        given = sources(volume)
        if len(given) != 1:
            yield invalid(field, f"{field} must have exactly one source type set, but has {', '.join(given) or 'none'}")
        yield from _source(field, volume, config)
    for index, volume in enumerate(spec.volumes):
        account = volume.service_account.service_account_name if volume.service_account is not None else ""
        if account and spec.service_account_name not in ("", account):
            field = f"{path}.volumes[{index}].serviceAccount.serviceAccountName"
            yield invalid(field, f"{field} {account!r} must be the account that {path}.serviceAccountName names: "
                                 f"{spec.service_account_name!r}")
    for kind in ("serviceAccount", "downwardMetrics", "memoryDump"):
        if sum(kind in sources(volume) for volume in spec.volumes) > 1:
            yield invalid(f"{path}.volumes", f"{path}.volumes must have max one {kind} volume set")


def sources(volume: v1.Volume) -> tuple[str, ...]:
    """JSON names of the sources that a volume sets; a valid one has one."""
    return tuple(wire for wire, name in zip(volume.__struct_encode_fields__, volume.__struct_fields__, strict=True)
                 if name != "name" and getattr(volume, name) is not None)


def _source(path: str, volume: v1.Volume, config: ClusterConfig) -> Causes:
    if volume.container_disk is not None:
        yield from _container_disk(f"{path}.containerDisk", volume.container_disk)
    if volume.cloud_init_no_cloud is not None:
        yield from _cloud_init(f"{path}.cloudInitNoCloud", volume.cloud_init_no_cloud)
    if volume.cloud_init_config_drive is not None:
        yield from _cloud_init(f"{path}.cloudInitConfigDrive", volume.cloud_init_config_drive)
    if volume.empty_disk is not None:
        yield from _capacity(f"{path}.emptyDisk.capacity", volume.empty_disk.capacity)
    if volume.host_disk is not None:
        yield from _host_disk(path, volume.host_disk, config)
    names = {
        "persistentVolumeClaim.claimName": volume.persistent_volume_claim and volume.persistent_volume_claim.claim_name,
        "ephemeral.persistentVolumeClaim.claimName": volume.ephemeral and _ephemeral_claim(volume.ephemeral),
        "configMap.name": volume.config_map and volume.config_map.name,
        "secret.secretName": volume.secret and volume.secret.secret_name,
        "serviceAccount.serviceAccountName": volume.service_account and volume.service_account.service_account_name,
    }
    for name, value in names.items():
        if value == "":
            yield required(f"{path}.{name}", f"{path}.{name} is a required field")
    if volume.data_volume is not None and not volume.data_volume.name:
        yield required(f"{path}.name", "DataVolume 'name' must be set")


def _ephemeral_claim(source: v1.EphemeralVolumeSource) -> str:
    return source.persistent_volume_claim.claim_name if source.persistent_volume_claim is not None else ""


def _container_disk(path: str, disk: v1.ContainerDiskSource) -> Causes:
    if not disk.image:
        yield required(f"{path}.image", f"{path}.image is a required field")
    elif disk.image != disk.image.strip() or any(character.isspace() for character in disk.image):
        yield invalid(f"{path}.image", f"{path}.image {disk.image!r} is no image reference")
    if disk.path:
        yield from (StatusCause(reason=cause.reason, message=cause.message, field=path)
                    for cause in file_path(f"{path}.path", disk.path))
    yield from one_of(f"{path}.imagePullPolicy", disk.image_pull_policy, PULL_POLICIES, "policy")


def _capacity(path: str, capacity: str | int) -> Causes:
    if capacity == "":
        yield required(path, f"{path} is a required field")
        return
    found: list[StatusCause] = []
    size = amount(path, capacity, found)
    yield from found
    if size is not None and size <= 0:
        yield invalid(path, f"{path} must be greater than 0")


def _cloud_init(path: str, source: v1.CloudInitSource) -> Causes:
    kinds = (
        ("userData", "user data", source.user_data, source.user_data_base64, source.secret_ref),
        ("networkData", "network data", source.network_data, source.network_data_base64,
         source.network_data_secret_ref),
    )
    anything = False
    for name, words, plain, encoded, secret in kinds:
        given = sum((bool(plain), bool(encoded), secret is not None))
        anything = anything or given > 0
        if given > 1:
            yield invalid(path, f"{path} must have only one {words} source set")
        size = len(plain.encode("utf-8", "surrogatepass"))
        if encoded:
            try:
                size = len(base64.b64decode(encoded, validate=True))
            except (binascii.Error, ValueError):
                yield invalid(f"{path}.{name}Base64", f"{path}.{name}Base64 is not a valid base64 value.")
        if size > _MAX_CLOUD_INIT_BYTES:
            yield invalid(path, f"{path} {name.lower()} exceeds {_MAX_CLOUD_INIT_BYTES} byte limit. Should use a "
                                "secret for larger data.")
        if secret is not None and not secret.name:
            yield required(path, f"{path}: the secret of the {words} needs a name")
    if not anything:
        yield invalid(path, f"{path} must have at least one user data or network data source set")


def _host_disk(path: str, disk: v1.HostDisk, config: ClusterConfig) -> Causes:
    if not config.is_enabled("HostDisk"):
        yield invalid(path, "HostDisk feature gate is not enabled")
    path = f"{path}.hostDisk"
    if not disk.path:
        yield required(f"{path}.path", f"{path}.path is required for hostDisk volume")
    if disk.type not in ("Disk", "DiskOrCreate"):
        yield invalid(f"{path}.type", f"{path}.type has invalid value {disk.type!r}, use Disk or DiskOrCreate")
    if disk.type == "Disk" and disk.capacity is not None:
        yield invalid(f"{path}.capacity",
                      f"{path}.capacity is allowed to pass only with {path}.type equal to DiskOrCreate")
