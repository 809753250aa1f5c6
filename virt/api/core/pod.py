"""Pods and their volumes."""

from collections.abc import Mapping

from virt.api.core.container import (
    Container,
    ContainerStatus,
    ObjectFieldSelector,
    ResourceFieldSelector,
    ResourceRequirements,
    SeccompProfile,
    SELinuxOptions,
)
from virt.api.core.meta import Condition, LocalObjectReference, ObjectMeta
from virt.api.core.scheduling import Affinity, PodDNSConfig, Toleration, TopologySpreadConstraint
from virt.api.core.storage import PersistentVolumeClaimSpec
from virt.api.wire import Quantity, Wire, always


class KeyToPath(Wire):
    key: str = ""
    path: str = ""
    mode: int | None = None


class EmptyDirVolumeSource(Wire):
    """``medium``: "" (disk), Memory, HugePages."""

    medium: str = ""
    size_limit: Quantity | None = None


class HostPathVolumeSource(Wire):
    path: str = ""
    type: str | None = None


class PersistentVolumeClaimVolumeSource(Wire):
    claim_name: str = ""
    read_only: bool = False


class SecretVolumeSource(Wire):
    secret_name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool | None = None


class ConfigMapVolumeSource(Wire):
    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    default_mode: int | None = None
    optional: bool | None = None


class ImageVolumeSource(Wire):
    """An OCI image as a read-only volume."""

    reference: str = ""
    pull_policy: str = ""


class DownwardAPIVolumeFile(Wire):
    path: str = ""
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    mode: int | None = None


class DownwardAPIVolumeSource(Wire):
    items: tuple[DownwardAPIVolumeFile, ...] = ()
    default_mode: int | None = None


class ProjectedItems(Wire):
    """Keys of one Secret or ConfigMap inside a projected volume."""

    name: str = ""
    items: tuple[KeyToPath, ...] = ()
    optional: bool | None = None


class ServiceAccountTokenProjection(Wire):
    path: str = ""
    audience: str = ""
    expiration_seconds: int | None = None


class VolumeProjection(Wire):
    secret: ProjectedItems | None = None
    config_map: ProjectedItems | None = None
    downward_api: DownwardAPIVolumeSource | None = None
    service_account_token: ServiceAccountTokenProjection | None = None


class ProjectedVolumeSource(Wire):
    sources: tuple[VolumeProjection, ...] = ()
    default_mode: int | None = None


class PersistentVolumeClaimTemplate(Wire):
    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()


class EphemeralVolumeSource(Wire):
    volume_claim_template: PersistentVolumeClaimTemplate | None = None


class Volume(Wire):
    """``name`` and one source."""

    name: str = ""
    empty_dir: EmptyDirVolumeSource | None = None
    host_path: HostPathVolumeSource | None = None
    persistent_volume_claim: PersistentVolumeClaimVolumeSource | None = None
    secret: SecretVolumeSource | None = None
    config_map: ConfigMapVolumeSource | None = None
    projected: ProjectedVolumeSource | None = None
    downward_api: DownwardAPIVolumeSource | None = None
    image: ImageVolumeSource | None = None
    ephemeral: EphemeralVolumeSource | None = None


class Sysctl(Wire):
    name: str = ""
    value: str = ""


class PodSecurityContext(Wire):
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    fs_group: int | None = None
    fs_group_change_policy: str | None = None
    supplemental_groups: tuple[int, ...] = ()
    seccomp_profile: SeccompProfile | None = None
    se_linux_options: SELinuxOptions | None = None
    sysctls: tuple[Sysctl, ...] = ()


class PodReadinessGate(Wire):
    condition_type: str = ""


class PodSchedulingGate(Wire):
    name: str = ""


class PodSpec(Wire):
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    node_name: str = ""
    node_selector: Mapping[str, str] = {}
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    scheduler_name: str = ""
    scheduling_gates: tuple[PodSchedulingGate, ...] = ()
    priority_class_name: str = ""
    restart_policy: str = ""
    termination_grace_period_seconds: int | None = None
    active_deadline_seconds: int | None = None
    service_account_name: str = ""
    automount_service_account_token: bool | None = None
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    enable_service_links: bool | None = None
    hostname: str = ""
    subdomain: str = ""
    dns_policy: str = ""
    dns_config: PodDNSConfig | None = None
    host_network: bool = False
    host_pid: bool = False
    host_ipc: bool = False
    host_users: bool | None = None
    share_process_namespace: bool | None = None
    security_context: PodSecurityContext | None = None
    readiness_gates: tuple[PodReadinessGate, ...] = ()
    runtime_class_name: str | None = None
    resources: ResourceRequirements | None = None


class PodIP(Wire):
    ip: str = ""


class PodStatus(Wire):
    """``phase``: Pending, Running, Succeeded, Failed, Unknown."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    pod_ip: str = ""
    pod_ips: tuple[PodIP, ...] = ()
    host_ip: str = ""
    start_time: str | None = None
    qos_class: str = ""
    nominated_node_name: str = ""
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Wire):
    api_version: str = always("v1")
    kind: str = always("Pod")
    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()
