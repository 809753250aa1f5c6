"""Status of a VirtualMachineInstance."""

from collections.abc import Mapping

from virt.api.guestos import VirtualMachineInstanceGuestOSInfo
from virt.api.v1.condition import Condition, PhaseTransitionTimestamp
from virt.api.v1.domain import Machine
from virt.api.v1.migrationstate import VirtualMachineInstanceMigrationState
from virt.api.wire import JsonObject, Quantity, Wire


class VirtualMachineInstanceNetworkInterface(Wire):
    """``info_source``: comma list of domain, guest-agent, multus-status. ``ip_address``: first of ``ip_addresses``."""

    name: str = ""
    mac: str = ""
    ip_address: str = ""
    ip_addresses: tuple[str, ...] = ()
    interface_name: str = ""
    pod_interface_name: str = ""
    info_source: str = ""
    queue_count: int = 0
    link_state: str = ""


class PersistentVolumeClaimInfo(Wire):
    claim_name: str = ""
    access_modes: tuple[str, ...] = ()
    volume_mode: str | None = None
    capacity: Mapping[str, Quantity] = {}
    requests: Mapping[str, Quantity] = {}
    preallocated: bool = False
    filesystem_overhead: str | None = None


class StorageMigratedVolumeInfo(Wire):
    """A volume that is to have another claim: from its source it goes to its destination, along with the guest."""

    volume_name: str = ""
    source_pvc_info: PersistentVolumeClaimInfo | None = None
    destination_pvc_info: PersistentVolumeClaimInfo | None = None


class HotplugVolumeStatus(Wire):
    attach_pod_name: str = ""
    attach_pod_uid: str = ""


class ContainerDiskInfo(Wire):
    checksum: int = 0


class VolumeStatus(Wire):
    """``target``: device name in the guest ("vda"). ``size``: bytes, 0 when unknown."""

    name: str = ""
    target: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    size: int = 0
    persistent_volume_claim_info: PersistentVolumeClaimInfo | None = None
    hotplug_volume: HotplugVolumeStatus | None = None
    memory_dump_volume: JsonObject | None = None
    container_disk_volume: ContainerDiskInfo | None = None


class CPUTopology(Wire):
    cores: int = 0
    sockets: int = 0
    threads: int = 0


class MemoryStatus(Wire):
    guest_at_boot: Quantity | None = None
    guest_current: Quantity | None = None
    guest_requested: Quantity | None = None
    memory_overhead: Quantity | None = None


class VirtualMachineInstanceStatus(Wire):
    """``phase``: "", Pending, Scheduling, Scheduled, Running, Succeeded, Failed, WaitingForSync, Unknown.

    ``active_pods``: pod uid -> node name, of every launcher pod that is not gone.
    """

    phase: str = ""
    phase_transition_timestamps: tuple[PhaseTransitionTimestamp, ...] = ()
    reason: str = ""
    node_name: str = ""
    conditions: tuple[Condition, ...] = ()
    interfaces: tuple[VirtualMachineInstanceNetworkInterface, ...] = ()
    guest_os_info: VirtualMachineInstanceGuestOSInfo | None = None
    active_pods: Mapping[str, str] = {}
    launcher_container_image_version: str = ""
    qos_class: str | None = None
    migration_method: str = ""
    migration_transport: str = ""
    migration_state: VirtualMachineInstanceMigrationState | None = None
    evacuation_node_name: str = ""
    volume_status: tuple[VolumeStatus, ...] = ()
    machine: Machine | None = None
    current_cpu_topology: CPUTopology | None = None
    memory: MemoryStatus | None = None
    virtual_machine_revision_name: str = ""
    runtime_user: int = 0
    selinux_context: str = ""
    fs_freeze_status: str = ""
    kernel_boot_status: JsonObject | None = None
    topology_hints: JsonObject | None = None
    vsock_cid: int | None = None
    migrated_volumes: tuple[StorageMigratedVolumeInfo, ...] = ()
    changed_block_tracking: JsonObject | None = None
