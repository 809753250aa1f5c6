"""spec.configuration of the KubeVirt CR, as written; ``virt.api.clusterconfig`` fills in the defaults."""

from collections.abc import Mapping

from virt.api.core.container import ResourceRequirements
from virt.api.core.meta import LabelSelector
from virt.api.v1.migrationstate import MigrationConfiguration
from virt.api.wire import JsonObject, Quantity, Wire


class LogVerbosity(Wire):
    virt_api: int = 0
    virt_controller: int = 0
    virt_handler: int = 0
    virt_launcher: int = 0
    virt_operator: int = 0
    node_verbosity: Mapping[str, int] = {}


class DiskVerification(Wire):
    memory_limit: Quantity | None = None


class DeveloperConfiguration(Wire):
    use_emulation: bool = False
    feature_gates: tuple[str, ...] = ()
    disabled_feature_gates: tuple[str, ...] = ()
    cpu_allocation_ratio: int = 0
    memory_overcommit: int = 0
    node_selectors: Mapping[str, str] = {}
    pvc_tolerate_less_space_up_to_percent: int | None = None
    minimum_reserve_pvc_bytes: int | None = None
    disk_verification: DiskVerification | None = None
    log_verbosity: LogVerbosity | None = None
    minimum_cluster_tsc_frequency: int | None = None
    cluster_profiler: bool = False


class NetworkConfiguration(Wire):
    default_network_interface: str = ""
    permit_bridge_interface_on_pod_network: bool | None = None
    binding: Mapping[str, JsonObject] = {}


class ArchSpecificConfiguration(Wire):
    machine_type: str = ""
    emulated_machines: tuple[str, ...] = ()
    ovmf_path: str = ""


class ArchConfiguration(Wire):
    amd64: ArchSpecificConfiguration | None = None
    arm64: ArchSpecificConfiguration | None = None
    s390x: ArchSpecificConfiguration | None = None
    default_architecture: str = ""


class SMBiosConfiguration(Wire):
    manufacturer: str = ""
    product: str = ""
    version: str = ""
    sku: str = ""
    family: str = ""


class SupportContainerResources(Wire):
    """``type``: hotplug-disk, container-disk, virtiofs, sidecar, vmexport, guest-console-log."""

    type: str = ""
    resources: ResourceRequirements = ResourceRequirements()


class LiveUpdateConfiguration(Wire):
    max_hotplug_ratio: int = 0
    max_cpu_sockets: int | None = None
    max_guest: Quantity | None = None


class EmptySwitch(Wire):
    """An empty object that switches something on."""


class VirtualMachineOptions(Wire):
    disable_free_page_reporting: EmptySwitch | None = None
    disable_serial_console_log: EmptySwitch | None = None


class InstancetypeConfiguration(Wire):
    """``reference_policy``: reference, expand, expandAll."""

    reference_policy: str | None = None


class CommonInstancetypesDeployment(Wire):
    enabled: bool | None = None


class TokenBucketRateLimiter(Wire):
    qps: float = 0.0
    burst: int = 0


class RateLimiter(Wire):
    token_bucket_rate_limiter: TokenBucketRateLimiter | None = None


class RESTClientConfiguration(Wire):
    rate_limiter: RateLimiter | None = None


class ReloadableComponentConfiguration(Wire):
    rest_client: RESTClientConfiguration | None = None


class TLSConfiguration(Wire):
    min_tls_version: str = ""
    ciphers: tuple[str, ...] = ()


class PciHostDevice(Wire):
    """PCI devices that VMs may have. ``pci_vendor_selector``: "vendor:device", four hexadecimal digits each.
    ``external_resource_provider``: another device plugin serves the resource."""

    pci_vendor_selector: str = ""
    resource_name: str = ""
    external_resource_provider: bool = False


class MediatedHostDevice(Wire):
    """``mdev_name_selector``: the name of a type of mediated devices."""

    mdev_name_selector: str = ""
    resource_name: str = ""
    external_resource_provider: bool = False


class USBSelector(Wire):
    """Four hexadecimal digits each."""

    vendor: str = ""
    product: str = ""


class USBHostDevice(Wire):
    """USB devices that make one resource together: one of each selector."""

    resource_name: str = ""
    selectors: tuple[USBSelector, ...] = ()
    external_resource_provider: bool = False


class PermittedHostDevices(Wire):
    """What hostDevices and gpus of a VM may name; nothing else may be named."""

    pci_host_devices: tuple[PciHostDevice, ...] = ()
    mediated_devices: tuple[MediatedHostDevice, ...] = ()
    usb: tuple[USBHostDevice, ...] = ()


class NodeMediatedDeviceTypes(Wire):
    """``mediated_devices_types``: the older name of the same list."""

    node_selector: Mapping[str, str] = {}
    mediated_device_types: tuple[str, ...] = ()
    mediated_devices_types: tuple[str, ...] = ()


class MediatedDevicesConfiguration(Wire):
    """Types of mediated devices that nodes make. Nodes that an entry of ``node_mediated_device_types`` fits make those
    of all such entries, and no others."""

    mediated_device_types: tuple[str, ...] = ()
    mediated_devices_types: tuple[str, ...] = ()
    node_mediated_device_types: tuple[NodeMediatedDeviceTypes, ...] = ()


class KubeVirtConfiguration(Wire):
    developer_configuration: DeveloperConfiguration | None = None
    image_pull_policy: str = ""
    cpu_model: str = ""
    cpu_request: Quantity | None = None
    eviction_strategy: str | None = None
    migrations: MigrationConfiguration | None = None
    network: NetworkConfiguration | None = None
    architecture_configuration: ArchConfiguration | None = None
    smbios: SMBiosConfiguration | None = None
    support_container_resources: tuple[SupportContainerResources, ...] = ()
    mem_balloon_stats_period: int | None = None
    live_update_configuration: LiveUpdateConfiguration | None = None
    vm_rollout_strategy: str | None = None
    virtual_machine_options: VirtualMachineOptions | None = None
    instancetype: InstancetypeConfiguration | None = None
    common_instancetypes_deployment: CommonInstancetypesDeployment | None = None
    api_configuration: ReloadableComponentConfiguration | None = None
    webhook_configuration: ReloadableComponentConfiguration | None = None
    controller_configuration: ReloadableComponentConfiguration | None = None
    handler_configuration: ReloadableComponentConfiguration | None = None
    virtual_machine_instances_per_node: int | None = None
    permitted_host_devices: PermittedHostDevices | None = None
    mediated_devices_configuration: MediatedDevicesConfiguration | None = None
    tls_configuration: TLSConfiguration | None = None
    default_runtime_class: str = ""
    selinux_launcher_type: str = ""
    seccomp_configuration: JsonObject | None = None
    vm_state_storage_class: str = ""
    ksm_configuration: JsonObject | None = None
    obsolete_cpu_models: Mapping[str, bool] = {}
    auto_cpu_limit_namespace_label_selector: LabelSelector | None = None
    additional_guest_memory_overhead_ratio: str | None = None
    hypervisors: tuple[JsonObject, ...] = ()
    role_aggregation_strategy: str | None = None
    changed_block_tracking_label_selectors: JsonObject | None = None
    confidential_compute: JsonObject | None = None
    virt_template_deployment: JsonObject | None = None
