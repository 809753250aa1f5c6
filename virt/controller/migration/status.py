"""The migration and its VMI as a pass leaves them. Pure."""

from msgspec.structs import replace

from virt.api import conditions, core, migrationstate, names, phases, v1
from virt.api.clusterconfig import Migrations
from virt.controller.migration.plan import ABORT_REQUESTED, FINAL, PENDING, REJECTED, Plan, World


def updated(world: World, plan: Plan, now: str) -> v1.VirtualMachineInstanceMigration:
    """``now``: RFC 3339."""
    migration = world.migration
    status = migration.status
    if plan.phase != status.phase:
        status = replace(status, phase=plan.phase, phase_transition_timestamps=phases.entering(
            status.phase_transition_timestamps, plan.phase, now))
    if world.state is not None:
        status = replace(status, migration_state=world.state)
    elif plan.phase == "Failed" and plan.why and status.migration_state is None:
        own = v1.VirtualMachineInstanceMigrationState(migration_uid=world.uid)
        status = replace(status, migration_state=migrationstate.failed(own, plan.why, now))
    if plan.rejected:
        refused = v1.Condition(type=REJECTED, status="True", message=plan.rejected)
        status = replace(status, conditions=conditions.with_condition(status.conditions, refused, now))
    elif plan.phase != PENDING:             # one that waits was not tried again yet
        status = replace(status, conditions=conditions.without(status.conditions, REJECTED))
    if migration.metadata.deletion_timestamp is not None and migration.status.phase not in FINAL:
        asked = v1.Condition(type=ABORT_REQUESTED, status="True")
        status = replace(status, conditions=conditions.with_condition(status.conditions, asked, now))
    return replace(migration, status=status)


def released(migration: v1.VirtualMachineInstanceMigration) -> v1.VirtualMachineInstanceMigration:
    """Without our finalizer: nothing is left to clean up."""
    finalizers = tuple(name for name in migration.metadata.finalizers if name != names.MIGRATION_FINALIZER)
    return replace(migration, metadata=replace(migration.metadata, finalizers=finalizers))


def handed_over(
    vmi: v1.VirtualMachineInstance, world: World, pod: core.Pod, settings: Migrations, policy: str = ""
) -> v1.VirtualMachineInstance:
    """All that the nodes need to know, in one write."""
    state = v1.VirtualMachineInstanceMigrationState(
        migration_uid=world.uid,
        source_node=vmi.status.node_name,
        source_pod=world.source.metadata.name if world.source is not None else "",
        target_node=pod.spec.node_name,
        target_pod=pod.metadata.name,
        target_attachment_pod_uid=world.attachment.metadata.uid if world.attachment is not None else "",
        migration_configuration=in_force(settings),
        migration_policy_name=policy or None,
    )
    labels = {**vmi.metadata.labels, names.MIGRATION_TARGET_NODE_LABEL: pod.spec.node_name}
    return replace(
        vmi, metadata=replace(vmi.metadata, labels=labels), status=replace(vmi.status, migration_state=state))


def given_up(vmi: v1.VirtualMachineInstance, why: str, now: str) -> v1.VirtualMachineInstance:
    state = vmi.status.migration_state
    assert state is not None
    return replace(vmi, status=replace(vmi.status, migration_state=migrationstate.failed(state, why, now)))


def aborting(vmi: v1.VirtualMachineInstance) -> v1.VirtualMachineInstance:
    state = vmi.status.migration_state
    assert state is not None
    return replace(vmi, status=replace(vmi.status, migration_state=replace(state, abort_requested=True)))


def without_target(vmi: v1.VirtualMachineInstance) -> v1.VirtualMachineInstance:
    labels = {key: value for key, value in vmi.metadata.labels.items() if key != names.MIGRATION_TARGET_NODE_LABEL}
    return replace(vmi, metadata=replace(vmi.metadata, labels=labels))


def in_force(settings: Migrations) -> v1.MigrationConfiguration:
    return v1.MigrationConfiguration(
        parallel_migrations_per_cluster=settings.parallel_per_cluster,
        parallel_outbound_migrations_per_node=settings.parallel_outbound_per_node,
        bandwidth_per_migration=settings.bandwidth_per_migration,
        completion_timeout_per_gib=settings.completion_timeout_per_gib,
        progress_timeout=settings.progress_timeout,
        max_downtime_ms=settings.max_downtime_ms,
        allow_auto_converge=settings.allow_auto_converge,
        allow_post_copy=settings.allow_post_copy,
        allow_workload_disruption=settings.allow_workload_disruption,
        unsafe_migration_override=settings.unsafe_migration_override,
        disable_tls=settings.disable_tls,
        node_drain_taint_key=settings.node_drain_taint_key,
    )
