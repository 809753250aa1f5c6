"""Settings in force for one migration, as the VMI holds them, in the launcher's terms. Pure."""

from virt.api import clusterconfig, hotplug, passthrough, quantity, v1
from virt.rpc.messages import MigrationLimits

# Launchers that speak an older protocol cannot migrate, or not a guest with devices of its node or hot-plugged disks.
_MIGRATION_VERSION, _DEVICES_VERSION, _HOTPLUG_VERSION = 2, 3, 4


def least_version(spec: v1.VirtualMachineInstanceSpec) -> int:
    """Least version of the protocol that both launchers have to speak."""
    if hotplug.claims(spec):
        return _HOTPLUG_VERSION
    return _DEVICES_VERSION if passthrough.has_any(spec) else _MIGRATION_VERSION


def in_clear(written: v1.MigrationConfiguration | None) -> bool:
    return written is not None and bool(written.disable_tls)


def limits(written: v1.MigrationConfiguration | None, *, is_pinned: bool = False) -> MigrationLimits:
    """A bandwidth is whole MiB/s for libvirt, at least 1: 0 would be no limit. ``is_pinned``: memory that devices lock
    cannot come piece by piece, so there is no post-copy."""
    chosen = clusterconfig.migrations(written or v1.MigrationConfiguration())
    bandwidth = quantity.integer(chosen.bandwidth_per_migration)
    return MigrationLimits(
        bandwidth_mib_s=max(1, bandwidth // quantity.MIB) if bandwidth > 0 else 0,
        max_downtime_ms=chosen.max_downtime_ms,
        timeout_per_gib_s=chosen.completion_timeout_per_gib,
        stuck_s=chosen.progress_timeout,
        auto_converge=chosen.allow_auto_converge,
        unsafe=chosen.unsafe_migration_override,
        may_pause=chosen.allow_workload_disruption,
        may_post_copy=chosen.allow_workload_disruption and chosen.allow_post_copy and not is_pinned,
    )
