"""KubeVirt: the one object that says how the stack is installed and configured."""

from collections.abc import Mapping

from virt.api.core.meta import LocalObjectReference, ObjectMeta
from virt.api.core.scheduling import Placement
from virt.api.v1.condition import Condition
from virt.api.v1.configuration import KubeVirtConfiguration
from virt.api.wire import Wire, always


class ComponentConfig(Wire):
    node_placement: Placement | None = None
    replicas: int | None = None


class KubeVirtWorkloadUpdateStrategy(Wire):
    """``workload_update_methods``: LiveMigrate, Evict; empty leaves running VMIs alone."""

    workload_update_methods: tuple[str, ...] = ()
    batch_eviction_size: int | None = None
    batch_eviction_interval: str | None = None


class CertConfig(Wire):
    """Durations as text: "24h0m0s"."""

    duration: str | None = None
    renew_before: str | None = None


class KubeVirtSelfSignConfiguration(Wire):
    ca: CertConfig | None = None
    server: CertConfig | None = None
    ca_rotate_interval: str | None = None
    cert_rotate_interval: str | None = None
    ca_overlap_interval: str | None = None


class KubeVirtCertificateRotateStrategy(Wire):
    self_signed: KubeVirtSelfSignConfiguration | None = None


class CustomizeComponentsPatch(Wire):
    """``type``: json, merge, strategic."""

    resource_name: str = ""
    resource_type: str = ""
    patch: str = ""
    type: str = ""


class Flags(Wire):
    api: Mapping[str, str] = {}
    controller: Mapping[str, str] = {}
    handler: Mapping[str, str] = {}


class CustomizeComponents(Wire):
    patches: tuple[CustomizeComponentsPatch, ...] = ()
    flags: Flags | None = None


class KubeVirtSpec(Wire):
    image_tag: str = ""
    image_registry: str = ""
    image_pull_policy: str = ""
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    infra: ComponentConfig | None = None
    workloads: ComponentConfig | None = None
    workload_update_strategy: KubeVirtWorkloadUpdateStrategy = KubeVirtWorkloadUpdateStrategy()
    uninstall_strategy: str = ""
    certificate_rotate_strategy: KubeVirtCertificateRotateStrategy = KubeVirtCertificateRotateStrategy()
    product_name: str = ""
    product_version: str = ""
    product_component: str = ""
    monitor_namespace: str = ""
    monitor_account: str = ""
    service_monitor_namespace: str = ""
    customize_components: CustomizeComponents = CustomizeComponents()
    synchronization_port: int | None = None
    configuration: KubeVirtConfiguration = KubeVirtConfiguration()


class GenerationStatus(Wire):
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    last_generation: int = 0
    hash: str = ""


class KubeVirtStatus(Wire):
    """``phase``: "", Deploying, Deployed, Deleting, Deleted."""

    phase: str = ""
    conditions: tuple[Condition, ...] = ()
    operator_version: str = ""
    target_kube_virt_version: str = ""
    target_kube_virt_registry: str = ""
    target_deployment_config: str = ""
    target_deployment_id: str = ""
    observed_kube_virt_version: str = ""
    observed_kube_virt_registry: str = ""
    observed_deployment_config: str = ""
    observed_deployment_id: str = ""
    observed_generation: int | None = None
    default_architecture: str = ""
    outdated_virtual_machine_instance_workloads: int | None = None
    generations: tuple[GenerationStatus, ...] = ()


class KubeVirt(Wire):
    api_version: str = always("kubevirt.io/v1")
    kind: str = always("KubeVirt")
    metadata: ObjectMeta = ObjectMeta()
    spec: KubeVirtSpec = KubeVirtSpec()
    status: KubeVirtStatus = KubeVirtStatus()
