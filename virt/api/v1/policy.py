"""MigrationPolicy: settings of migrations for the VMIs that its selectors choose, over those of the cluster."""

from collections.abc import Mapping

from virt.api.core.meta import ObjectMeta
from virt.api.wire import JsonObject, Quantity, Wire, always


class MigrationPolicySelectors(Wire):
    """All labels of both must be there, on the namespace and on the VMI."""

    namespace_selector: Mapping[str, str] = {}
    virtual_machine_instance_selector: Mapping[str, str] = {}


class MigrationPolicySpec(Wire):
    """None leaves the cluster's setting."""

    selectors: MigrationPolicySelectors = MigrationPolicySelectors()
    allow_auto_converge: bool | None = None
    allow_post_copy: bool | None = None
    allow_workload_disruption: bool | None = None
    bandwidth_per_migration: Quantity | None = None
    completion_timeout_per_gib: int | None = None
    max_downtime_ms: int | None = None
    experimental: JsonObject | None = None


class MigrationPolicy(Wire):
    api_version: str = always("migrations.kubevirt.io/v1alpha1")
    kind: str = always("MigrationPolicy")
    metadata: ObjectMeta = ObjectMeta()
    spec: MigrationPolicySpec = MigrationPolicySpec()
    status: JsonObject | None = None
