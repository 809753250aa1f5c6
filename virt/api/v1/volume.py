"""Volumes of a VMI: where its disks come from."""

from virt.api.core.meta import LocalObjectReference
from virt.api.core.pod import DownwardAPIVolumeFile
from virt.api.wire import JsonObject, Quantity, Wire


class ContainerDiskSource(Wire):
    """``path``: the image file inside the container; "" means the one file under /disk."""

    image: str = ""
    image_pull_secret: str = ""
    path: str = ""
    image_pull_policy: str = ""


class CloudInitSource(Wire):
    """At most one source of user data and one of network data."""

    secret_ref: LocalObjectReference | None = None
    user_data_base64: str = ""
    user_data: str = ""
    network_data_secret_ref: LocalObjectReference | None = None
    network_data_base64: str = ""
    network_data: str = ""


class CloudInitNoCloudSource(CloudInitSource):
    """An ISO with label cidata."""


class CloudInitConfigDriveSource(CloudInitSource):
    """An ISO with label config-2."""


class EmptyDiskSource(Wire):
    capacity: Quantity = ""


class PersistentVolumeClaimVolumeSource(Wire):
    claim_name: str = ""
    read_only: bool = False
    hotpluggable: bool = False


class DataVolumeSource(Wire):
    name: str = ""
    hotpluggable: bool = False


class EphemeralVolumeSource(Wire):
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None


class HostDisk(Wire):
    """``type``: Disk or DiskOrCreate; ``capacity`` only with DiskOrCreate."""

    path: str = ""
    type: str = ""
    capacity: Quantity | None = None
    shared: bool | None = None


class ConfigMapVolumeSource(Wire):
    name: str = ""
    optional: bool | None = None
    volume_label: str = ""


class SecretVolumeSource(Wire):
    secret_name: str = ""
    optional: bool | None = None
    volume_label: str = ""


class DownwardAPIVolumeSource(Wire):
    fields: tuple[DownwardAPIVolumeFile, ...] = ()
    volume_label: str = ""


class ServiceAccountVolumeSource(Wire):
    service_account_name: str = ""


class SysprepSource(Wire):
    secret: LocalObjectReference | None = None
    config_map: LocalObjectReference | None = None


class DownwardMetricsVolumeSource(Wire):
    """An empty object switches it on."""


class MemoryDumpVolumeSource(PersistentVolumeClaimVolumeSource):
    """The claim that takes the dump."""


class Volume(Wire):
    """``name`` and exactly one source."""

    name: str = ""
    container_disk: ContainerDiskSource | None = None
    cloud_init_no_cloud: CloudInitNoCloudSource | None = None
    cloud_init_config_drive: CloudInitConfigDriveSource | None = None
    empty_disk: EmptyDiskSource | None = None
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    data_volume: DataVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None
    host_disk: HostDisk | None = None
    config_map: ConfigMapVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    downward_api: DownwardAPIVolumeSource | None = None
    service_account: ServiceAccountVolumeSource | None = None
    sysprep: SysprepSource | None = None
    downward_metrics: DownwardMetricsVolumeSource | None = None
    memory_dump: MemoryDumpVolumeSource | None = None
    container_path: JsonObject | None = None

    @property
    def claim(self) -> str:
        """The PVC behind it, "" where there is none. That of an ephemeral volume is only read."""
        source = self.ephemeral.persistent_volume_claim if self.ephemeral is not None else self.persistent_volume_claim
        if source is not None:
            return source.claim_name
        return self.data_volume.name if self.data_volume is not None else ""

    @property
    def is_generated(self) -> bool:
        """Whether the launcher makes its image, for this guest alone: then it does no harm when the guest writes."""
        return any((
            self.cloud_init_no_cloud, self.cloud_init_config_drive, self.config_map, self.secret, self.downward_api,
            self.service_account,
        ))  # fmt: skip
