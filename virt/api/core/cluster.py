"""Kubernetes' other kinds: nodes, events, configuration, leases."""

from collections.abc import Mapping

from virt.api.core.meta import Condition, ObjectMeta, ObjectReference
from virt.api.core.scheduling import Taint
from virt.api.wire import JsonObject, Quantity, Wire, always


class NodeSpec(Wire):
    pod_cidr: str = ""
    provider_id: str = ""
    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()


class NodeAddress(Wire):
    """``type``: InternalIP, Hostname ..."""

    type: str = ""
    address: str = ""


class NodeSystemInfo(Wire):
    architecture: str = ""
    operating_system: str = ""
    kernel_version: str = ""
    kubelet_version: str = ""
    container_runtime_version: str = ""
    os_image: str = ""


class NodeStatus(Wire):
    capacity: Mapping[str, Quantity] = {}
    allocatable: Mapping[str, Quantity] = {}
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    node_info: NodeSystemInfo = NodeSystemInfo()


class Node(Wire):
    api_version: str = always("v1")
    kind: str = always("Node")
    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class NamespaceStatus(Wire):
    """``phase``: Active or Terminating."""

    phase: str = ""


class Namespace(Wire):
    api_version: str = always("v1")
    kind: str = always("Namespace")
    metadata: ObjectMeta = ObjectMeta()
    status: NamespaceStatus = NamespaceStatus()


class EventSource(Wire):
    component: str = ""
    host: str = ""


class Event(Wire):
    """An event of core/v1. ``type``: Normal or Warning."""

    api_version: str = always("v1")
    kind: str = always("Event")
    metadata: ObjectMeta = ObjectMeta()
    involved_object: ObjectReference = ObjectReference()
    type: str = ""
    reason: str = ""
    message: str = ""
    source: EventSource = EventSource()
    count: int = 0
    first_timestamp: str | None = None
    last_timestamp: str | None = None
    event_time: str | None = None
    action: str = ""
    reporting_component: str = ""
    reporting_instance: str = ""


class Secret(Wire):
    """Values of ``data`` are base64 text; ``string_data`` is write-only plain text."""

    api_version: str = always("v1")
    kind: str = always("Secret")
    metadata: ObjectMeta = ObjectMeta()
    type: str = ""
    data: Mapping[str, str] = {}
    string_data: Mapping[str, str] = {}
    immutable: bool | None = None


class ConfigMap(Wire):
    """Values of ``binary_data`` are base64 text."""

    api_version: str = always("v1")
    kind: str = always("ConfigMap")
    metadata: ObjectMeta = ObjectMeta()
    data: Mapping[str, str] = {}
    binary_data: Mapping[str, str] = {}
    immutable: bool | None = None


class LeaseSpec(Wire):
    """Times have microseconds: "2026-08-01T12:00:00.000000Z"."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Wire):
    api_version: str = always("coordination.k8s.io/v1")
    kind: str = always("Lease")
    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


class ControllerRevision(Wire):
    """``data`` is any object, immutable once stored."""

    api_version: str = always("apps/v1")
    kind: str = always("ControllerRevision")
    metadata: ObjectMeta = ObjectMeta()
    data: JsonObject = {}
    revision: int = always(0)


class ResourceQuotaSpec(Wire):
    hard: Mapping[str, Quantity] = {}
    scopes: tuple[str, ...] = ()


class ResourceQuotaStatus(Wire):
    hard: Mapping[str, Quantity] = {}
    used: Mapping[str, Quantity] = {}


class ResourceQuota(Wire):
    api_version: str = always("v1")
    kind: str = always("ResourceQuota")
    metadata: ObjectMeta = ObjectMeta()
    spec: ResourceQuotaSpec = ResourceQuotaSpec()
    status: ResourceQuotaStatus = ResourceQuotaStatus()
