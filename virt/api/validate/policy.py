"""MigrationPolicies: rule 114 of the specification."""

from virt.api import v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.status import StatusCause
from virt.api.validate.causes import Causes, amount, invalid

DOWNTIME_GATE = "MigrationDowntimeTuning"
STALL_GATE = "MigrationStallDetection"
_MOST_DOWNTIME_MS = 2_000_000


def causes(policy: v1.MigrationPolicy, config: ClusterConfig) -> tuple[StatusCause, ...]:
    """What is wrong with a policy, new or changed."""
    def found() -> Causes:
        spec = policy.spec
        if spec.completion_timeout_per_gib is not None and spec.completion_timeout_per_gib < 0:
            yield invalid("spec.completionTimeoutPerGiB", "spec.completionTimeoutPerGiB must not be negative")
        problems: list[StatusCause] = []
        bandwidth = amount("spec.bandwidthPerMigration", spec.bandwidth_per_migration, problems)
        yield from problems
        if bandwidth is not None and bandwidth < 0:
            yield invalid("spec.bandwidthPerMigration", "spec.bandwidthPerMigration must not be negative")
        if spec.max_downtime_ms is not None:
            if not config.is_enabled(DOWNTIME_GATE):
                yield invalid("spec.maxDowntimeMs", f"spec.maxDowntimeMs needs the feature gate {DOWNTIME_GATE}")
            if not 0 < spec.max_downtime_ms <= _MOST_DOWNTIME_MS:
                yield invalid("spec.maxDowntimeMs", f"spec.maxDowntimeMs must be from 1 to {_MOST_DOWNTIME_MS}")
        if spec.experimental is not None and not config.is_enabled(STALL_GATE):
            yield invalid("spec.experimental", f"spec.experimental needs the feature gate {STALL_GATE}")
    return tuple(found())
