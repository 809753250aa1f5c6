"""How a migration stands, as kept on the VMI and copied to the migration object."""

from collections.abc import Mapping

from virt.api.wire import JsonObject, Quantity, Wire


class MigrationConfiguration(Wire):
    """Settings of migrations, of the cluster or in force for one migration. None means the default."""

    parallel_migrations_per_cluster: int | None = None
    parallel_outbound_migrations_per_node: int | None = None
    bandwidth_per_migration: Quantity | None = None
    completion_timeout_per_gib: int | None = None
    progress_timeout: int | None = None
    max_downtime_ms: int | None = None
    allow_auto_converge: bool | None = None
    allow_post_copy: bool | None = None
    allow_workload_disruption: bool | None = None
    unsafe_migration_override: bool | None = None
    disable_tls: bool | None = None
    node_drain_taint_key: str | None = None
    utility_volumes_timeout: int | None = None
    network: str | None = None
    match_se_linux_level_on_migration: bool | None = None


class VirtualMachineInstanceMigrationState(Wire):
    """``mode``: PreCopy, PostCopy, Paused. ``abort_status``: Aborting, Succeeded, Failed."""

    migration_uid: str = ""
    source_node: str = ""
    source_pod: str = ""
    target_node: str = ""
    target_pod: str = ""
    target_node_address: str = ""
    target_direct_migration_node_ports: Mapping[str, int] = {}
    target_node_domain_detected: bool = False
    target_node_domain_ready_timestamp: str | None = None
    start_timestamp: str | None = None
    end_timestamp: str | None = None
    completed: bool = False
    failed: bool = False
    failure_reason: str = ""
    abort_requested: bool = False
    abort_status: str = ""
    mode: str = ""
    migration_policy_name: str | None = None
    migration_configuration: MigrationConfiguration | None = None
    target_attachment_pod_uid: str = ""
    target_memory_overhead: Quantity | None = None
    target_cpu_set: tuple[int, ...] = ()
    target_node_topology: str = ""
    migration_network_type: str = ""
    source_state: JsonObject | None = None
    target_state: JsonObject | None = None
    source_persistent_state_pvc_name: str = ""
    target_persistent_state_pvc_name: str = ""
