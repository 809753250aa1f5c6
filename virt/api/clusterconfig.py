"""The configuration in force: spec.configuration of the KubeVirt CR with every default filled in.

What users write is in ``virt.api.v1``; code reads this. Components rebuild it whenever the CR changes. Settings that
have no effect so far are not here but in ``virt.api.unbuilt``.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeVar

from virt.api import duration, featuregates, v1
from virt.api.core import ResourceRequirements
from virt.api.wire import Quantity

T = TypeVar("T")

LIVE_UPDATE = "LiveUpdate"        # the rollout strategy under which a running guest may be changed


@dataclass(frozen=True)
class Architecture:
    """``emulated_machines``: globs of machine types that VMs may ask for."""

    machine_type: str
    emulated_machines: tuple[str, ...]

    def allows_machine(self, machine_type: str) -> bool:
        return any(fnmatchcase(machine_type, glob) for glob in self.emulated_machines)


ARCHITECTURES: Mapping[str, Architecture] = {
    "amd64": Architecture("q35", ("q35*", "pc-q35*")),
    "arm64": Architecture("virt", ("virt*",)),
    "s390x": Architecture("s390-ccw-virtio", ("s390-ccw-virtio*",)),
}


def own_architecture() -> str:
    """Kubernetes' name of the architecture that this process runs on."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


@dataclass(frozen=True)
class Migrations:
    """``completion_timeout_per_gib`` and ``progress_timeout`` in seconds; bandwidth "0" is unlimited."""

    parallel_per_cluster: int = 5
    parallel_outbound_per_node: int = 2
    bandwidth_per_migration: Quantity = "0"
    completion_timeout_per_gib: int = 150
    progress_timeout: int = 150
    max_downtime_ms: int = 900
    allow_auto_converge: bool = False
    allow_post_copy: bool = False
    allow_workload_disruption: bool = False
    unsafe_migration_override: bool = False
    disable_tls: bool = False
    node_drain_taint_key: str = "kubevirt.io/drain"
    network: str = ""


@dataclass(frozen=True)
class ClusterConfig:
    """``default_network_interface``: bridge or masquerade. ``rollout_strategy``: LiveUpdate or Stage.

    ``max_hotplug_ratio``: how many times its sockets a running guest may come to have; ``max_cpu_sockets`` (0: none)
    in place of that. ``workload_update_methods``: LiveMigrate, Evict; so many are evicted
    at a time, and then none for the interval."""

    use_emulation: bool = False
    enabled_gates: frozenset[str] = frozenset()
    disabled_gates: frozenset[str] = frozenset()
    cpu_allocation_ratio: int = 10
    memory_overcommit: int = 100
    node_selectors: Mapping[str, str] = field(default_factory=dict)
    image_pull_policy: str = "IfNotPresent"
    cpu_model: str = ""
    cpu_request: Quantity = "100m"
    eviction_strategy: str = "None"
    migrations: Migrations = Migrations()
    default_network_interface: str = "bridge"
    permit_bridge_on_pod_network: bool = True
    default_architecture: str = "amd64"
    architectures: Mapping[str, Architecture] = field(default_factory=lambda: ARCHITECTURES)
    smbios_manufacturer: str = "KubeVirt"
    smbios_product: str = "None"
    smbios_family: str = "KubeVirt"
    smbios_version: str = ""
    smbios_sku: str = ""
    support_container_resources: Mapping[str, ResourceRequirements] = field(default_factory=dict)
    mem_balloon_stats_period_s: int = 10
    rollout_strategy: str = LIVE_UPDATE
    max_hotplug_ratio: int = 4
    max_cpu_sockets: int = 0
    workload_update_methods: tuple[str, ...] = ()
    batch_eviction_size: int = 10
    batch_eviction_interval_s: float = 60.0
    free_page_reporting: bool = True
    serial_console_log: bool = True
    additional_guest_memory_overhead_ratio: str = "1"
    permitted_host_devices: v1.PermittedHostDevices = field(default_factory=v1.PermittedHostDevices)
    mediated_devices: v1.MediatedDevicesConfiguration = field(default_factory=v1.MediatedDevicesConfiguration)

    def is_enabled(self, gate: str) -> bool:
        return featuregates.is_enabled(gate, self.enabled_gates, self.disabled_gates)

    def architecture(self, name: str) -> Architecture:
        """Settings of an architecture, of the default one for "" or an unknown name."""
        return self.architectures.get(name) or self.architectures[self.default_architecture]


def effective(cr: v1.KubeVirt | None) -> ClusterConfig:
    """The configuration that ``cr`` asks for; all defaults without one."""
    if cr is None:
        return ClusterConfig()
    written = cr.spec.configuration
    developer = written.developer_configuration or v1.DeveloperConfiguration()
    network = written.network or v1.NetworkConfiguration()
    smbios = written.smbios or v1.SMBiosConfiguration()
    options = written.virtual_machine_options or v1.VirtualMachineOptions()
    live = written.live_update_configuration or v1.LiveUpdateConfiguration()
    updates = cr.spec.workload_update_strategy
    default = ClusterConfig()
    return ClusterConfig(
        use_emulation=developer.use_emulation,
        enabled_gates=frozenset(developer.feature_gates),
        disabled_gates=frozenset(developer.disabled_feature_gates),
        cpu_allocation_ratio=max(1, developer.cpu_allocation_ratio or default.cpu_allocation_ratio),
        memory_overcommit=max(10, developer.memory_overcommit or default.memory_overcommit),
        node_selectors=developer.node_selectors,
        image_pull_policy=written.image_pull_policy or default.image_pull_policy,
        cpu_model=written.cpu_model,
        cpu_request=_given(written.cpu_request, default.cpu_request),
        eviction_strategy=written.eviction_strategy or default.eviction_strategy,
        migrations=migrations(written.migrations or v1.MigrationConfiguration()),
        default_network_interface=network.default_network_interface or default.default_network_interface,
        permit_bridge_on_pod_network=_given(
            network.permit_bridge_interface_on_pod_network, default.permit_bridge_on_pod_network),
        default_architecture=_default_architecture(cr),
        architectures=_architectures(written.architecture_configuration or v1.ArchConfiguration()),
        smbios_manufacturer=smbios.manufacturer or default.smbios_manufacturer,
        smbios_product=smbios.product or default.smbios_product,
        smbios_family=smbios.family or default.smbios_family,
        smbios_version=smbios.version,
        smbios_sku=smbios.sku,
        support_container_resources={entry.type: entry.resources for entry in written.support_container_resources},
        mem_balloon_stats_period_s=_given(written.mem_balloon_stats_period, default.mem_balloon_stats_period_s),
        rollout_strategy=written.vm_rollout_strategy or default.rollout_strategy,
        max_hotplug_ratio=live.max_hotplug_ratio or default.max_hotplug_ratio,
        max_cpu_sockets=live.max_cpu_sockets or default.max_cpu_sockets,
        workload_update_methods=updates.workload_update_methods,
        batch_eviction_size=_given(updates.batch_eviction_size, default.batch_eviction_size),
        batch_eviction_interval_s=_interval_s(updates.batch_eviction_interval, default.batch_eviction_interval_s),
        free_page_reporting=options.disable_free_page_reporting is None,
        serial_console_log=options.disable_serial_console_log is None,
        additional_guest_memory_overhead_ratio=written.additional_guest_memory_overhead_ratio or "1",
        permitted_host_devices=written.permitted_host_devices or default.permitted_host_devices,
        mediated_devices=written.mediated_devices_configuration or default.mediated_devices,
    )


def migrations(written: v1.MigrationConfiguration, base: Migrations = Migrations()) -> Migrations:
    """``written`` over ``base``. Workload disruption is allowed where post-copy is, unless said otherwise."""
    post_copy = _given(written.allow_post_copy, base.allow_post_copy)
    return Migrations(
        parallel_per_cluster=_given(written.parallel_migrations_per_cluster, base.parallel_per_cluster),
        parallel_outbound_per_node=_given(
            written.parallel_outbound_migrations_per_node, base.parallel_outbound_per_node),
        bandwidth_per_migration=_given(written.bandwidth_per_migration, base.bandwidth_per_migration),
        completion_timeout_per_gib=_given(written.completion_timeout_per_gib, base.completion_timeout_per_gib),
        progress_timeout=_given(written.progress_timeout, base.progress_timeout),
        max_downtime_ms=_given(written.max_downtime_ms, base.max_downtime_ms),
        allow_auto_converge=_given(written.allow_auto_converge, base.allow_auto_converge),
        allow_post_copy=post_copy,
        allow_workload_disruption=_given(written.allow_workload_disruption, post_copy),
        unsafe_migration_override=_given(written.unsafe_migration_override, base.unsafe_migration_override),
        disable_tls=_given(written.disable_tls, base.disable_tls),
        node_drain_taint_key=written.node_drain_taint_key or base.node_drain_taint_key,
        network=written.network or base.network,
    )


def _given(value: T | None, default: T) -> T:
    return default if value is None else value


def _interval_s(written: str | None, default: float) -> float:
    """What is no length of time was refused, or is older than that rule."""
    try:
        return duration.seconds(written) if written else default
    except duration.DurationError:
        return default


def _default_architecture(cr: v1.KubeVirt) -> str:
    asked = cr.spec.configuration.architecture_configuration
    name = (asked.default_architecture if asked else "") or cr.status.default_architecture
    return name if name in ARCHITECTURES else ClusterConfig.default_architecture


def _architectures(written: v1.ArchConfiguration) -> Mapping[str, Architecture]:
    asked = {"amd64": written.amd64, "arm64": written.arm64, "s390x": written.s390x}
    return {name: _architecture(asked[name], default) for name, default in ARCHITECTURES.items()}


def _architecture(written: v1.ArchSpecificConfiguration | None, default: Architecture) -> Architecture:
    if written is None:
        return default
    return Architecture(
        machine_type=written.machine_type or default.machine_type,
        emulated_machines=written.emulated_machines or default.emulated_machines,
    )
