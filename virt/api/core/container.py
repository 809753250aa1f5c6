"""Containers of a pod: what they run, need, mount and may do, and how they are doing."""

from collections.abc import Mapping

from virt.api.core.meta import LocalObjectReference
from virt.api.wire import IntOrString, Quantity, Wire


class ResourceRequirements(Wire):
    requests: Mapping[str, Quantity] = {}
    limits: Mapping[str, Quantity] = {}


class ObjectFieldSelector(Wire):
    api_version: str = ""
    field_path: str = ""


class ResourceFieldSelector(Wire):
    container_name: str = ""
    resource: str = ""
    divisor: Quantity = ""


class KeySelector(LocalObjectReference):
    """One key of a Secret or ConfigMap."""

    key: str = ""
    optional: bool | None = None


class EnvVarSource(Wire):
    field_ref: ObjectFieldSelector | None = None
    resource_field_ref: ResourceFieldSelector | None = None
    config_map_key_ref: KeySelector | None = None
    secret_key_ref: KeySelector | None = None


class EnvVar(Wire):
    name: str = ""
    value: str = ""
    value_from: EnvVarSource | None = None


class ContainerPort(Wire):
    name: str = ""
    container_port: int = 0
    host_port: int = 0
    protocol: str = ""


class VolumeMount(Wire):
    """``mount_propagation``: None, HostToContainer, Bidirectional."""

    name: str = ""
    mount_path: str = ""
    sub_path: str = ""
    sub_path_expr: str = ""
    read_only: bool = False
    mount_propagation: str | None = None


class VolumeDevice(Wire):
    """A block volume given to a container as the device node ``device_path``."""

    name: str = ""
    device_path: str = ""


class Capabilities(Wire):
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class SELinuxOptions(Wire):
    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class SeccompProfile(Wire):
    """``type``: RuntimeDefault, Localhost (then ``localhost_profile``), Unconfined."""

    type: str = ""
    localhost_profile: str | None = None


class SecurityContext(Wire):
    privileged: bool | None = None
    allow_privilege_escalation: bool | None = None
    capabilities: Capabilities | None = None
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_non_root: bool | None = None
    read_only_root_filesystem: bool | None = None
    seccomp_profile: SeccompProfile | None = None
    se_linux_options: SELinuxOptions | None = None


class ExecAction(Wire):
    command: tuple[str, ...] = ()


class HTTPHeader(Wire):
    name: str = ""
    value: str = ""


class HTTPGetAction(Wire):
    path: str = ""
    port: IntOrString = 0
    host: str = ""
    scheme: str = ""
    http_headers: tuple[HTTPHeader, ...] = ()


class TCPSocketAction(Wire):
    port: IntOrString = 0
    host: str = ""


class Probe(Wire):
    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 0
    period_seconds: int = 0
    success_threshold: int = 0
    failure_threshold: int = 0
    termination_grace_period_seconds: int | None = None


class LifecycleHandler(Wire):
    exec: ExecAction | None = None
    http_get: HTTPGetAction | None = None


class Lifecycle(Wire):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None


class Container(Wire):
    """``restart_policy`` "Always" on an init container makes it a sidecar."""

    name: str = ""
    image: str = ""
    image_pull_policy: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()
    volume_mounts: tuple[VolumeMount, ...] = ()
    volume_devices: tuple[VolumeDevice, ...] = ()
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    security_context: SecurityContext | None = None
    restart_policy: str | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    stdin: bool = False
    tty: bool = False


class ContainerStateWaiting(Wire):
    reason: str = ""
    message: str = ""


class ContainerStateRunning(Wire):
    started_at: str | None = None


class ContainerStateTerminated(Wire):
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None


class ContainerState(Wire):
    """At most one is set; none means waiting."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Wire):
    name: str = ""
    image: str = ""
    image_id: str = ""
    container_id: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()
