"""Which MigrationPolicy counts for a VMI, and what it changes. Pure."""

from collections.abc import Iterable, Mapping

from virt.api import clusterconfig, v1
from virt.api.clusterconfig import Migrations


def chosen(
    policies: Iterable[v1.MigrationPolicy], namespace_labels: Mapping[str, str], vmi_labels: Mapping[str, str]
) -> v1.MigrationPolicy | None:
    """The most specific of the policies that fit: most labels, then most labels of the VMI, then first by name."""
    def rank(policy: v1.MigrationPolicy) -> tuple[int, int, str]:
        of_vmi = len(policy.spec.selectors.virtual_machine_instance_selector)
        return -of_vmi - len(policy.spec.selectors.namespace_selector), -of_vmi, policy.metadata.name

    fitting = [
        policy for policy in policies
        if _fits(policy.spec.selectors.namespace_selector, namespace_labels)
        and _fits(policy.spec.selectors.virtual_machine_instance_selector, vmi_labels)
    ]
    return min(fitting, key=rank, default=None)


def _fits(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())


def applied(policy: v1.MigrationPolicy | None, base: Migrations) -> Migrations:
    """Field by field over the cluster's settings. Post-copy alone also allows disruption."""
    if policy is None:
        return base
    spec = policy.spec
    disruption = spec.allow_workload_disruption
    if disruption is None and spec.allow_post_copy is None:
        disruption = base.allow_workload_disruption
    return clusterconfig.migrations(
        v1.MigrationConfiguration(
            allow_auto_converge=spec.allow_auto_converge,
            allow_post_copy=spec.allow_post_copy,
            allow_workload_disruption=disruption,
            bandwidth_per_migration=spec.bandwidth_per_migration,
            completion_timeout_per_gib=spec.completion_timeout_per_gib,
            max_downtime_ms=spec.max_downtime_ms,
        ),
        base,
    )
