"""VirtualMachineInstance: one running (or starting, or finished) guest."""

from collections.abc import Mapping

from virt.api.core.container import ExecAction, HTTPGetAction, TCPSocketAction
from virt.api.core.meta import ObjectMeta
from virt.api.core.scheduling import Affinity, PodDNSConfig, Toleration, TopologySpreadConstraint
from virt.api.v1.domain import DomainSpec
from virt.api.v1.network import Network
from virt.api.v1.status import VirtualMachineInstanceStatus
from virt.api.v1.volume import Volume
from virt.api.wire import JsonObject, Wire, always


class GuestAgentPing(Wire):
    """The guest answers when its agent does."""


class Probe(Wire):
    """Exactly one kind. Zero numbers mean the defaults: delay 0, timeout 1, period 10, success 1, failure 3."""

    exec: ExecAction | None = None
    guest_agent_ping: GuestAgentPing | None = None
    http_get: HTTPGetAction | None = None
    tcp_socket: TCPSocketAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 0
    period_seconds: int = 0
    success_threshold: int = 0
    failure_threshold: int = 0


class AccessCredentialSecretSource(Wire):
    secret_name: str = ""


class AccessCredentialSource(Wire):
    secret: AccessCredentialSecretSource | None = None


class QemuGuestAgentPropagation(Wire):
    users: tuple[str, ...] = ()


class PropagationMethod(Wire):
    no_cloud: JsonObject | None = None
    config_drive: JsonObject | None = None
    qemu_guest_agent: QemuGuestAgentPropagation | None = None


class AccessCredentialDetail(Wire):
    """Where a key or password comes from, and how it gets into the guest."""

    source: AccessCredentialSource = AccessCredentialSource()
    propagation_method: PropagationMethod = PropagationMethod()


class AccessCredential(Wire):
    """Exactly one of the two."""

    ssh_public_key: AccessCredentialDetail | None = None
    user_password: AccessCredentialDetail | None = None


class VirtualMachineInstanceSpec(Wire):
    domain: DomainSpec = DomainSpec()
    networks: tuple[Network, ...] = ()
    volumes: tuple[Volume, ...] = ()
    node_selector: Mapping[str, str] = {}
    affinity: Affinity | None = None
    tolerations: tuple[Toleration, ...] = ()
    topology_spread_constraints: tuple[TopologySpreadConstraint, ...] = ()
    scheduler_name: str = ""
    priority_class_name: str = ""
    service_account_name: str = ""
    eviction_strategy: str | None = None
    start_strategy: str | None = None
    termination_grace_period_seconds: int | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    hostname: str = ""
    subdomain: str = ""
    dns_policy: str = ""
    dns_config: PodDNSConfig | None = None
    access_credentials: tuple[AccessCredential, ...] = ()
    architecture: str = ""
    resource_claims: tuple[JsonObject, ...] = ()
    utility_volumes: tuple[JsonObject, ...] = ()

    @property
    def grace_s(self) -> int:
        """How long the guest may take to shut down."""
        asked = self.termination_grace_period_seconds
        return 30 if asked is None else asked


class VirtualMachineInstance(Wire):
    api_version: str = always("kubevirt.io/v1")
    kind: str = always("VirtualMachineInstance")
    metadata: ObjectMeta = ObjectMeta()
    spec: VirtualMachineInstanceSpec = VirtualMachineInstanceSpec()
    status: VirtualMachineInstanceStatus = VirtualMachineInstanceStatus()
