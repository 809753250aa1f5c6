"""What is to be installed: version, images and settings, from the operator's environment and the KubeVirt object."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from virt.api import codec, core, v1

PASSED_ENV_PREFIX = "KV_IO_EXTRA_ENV_"
UNKNOWN_VERSION = "latest"


@dataclass(frozen=True)
class Images:
    """References of the components' images. All but the launcher's may be the same one."""

    operator: str
    api: str
    controller: str
    handler: str
    launcher: str


@dataclass(frozen=True)
class Environment:
    """What the operator's own pod tells it. ``version`` may be "": then the image's tag is it."""

    images: Images
    version: str = ""
    passed_env: tuple[tuple[str, str], ...] = ()


def environment(variables: Mapping[str, str]) -> Environment:
    """Raises KeyError for a variable without which nothing can be installed."""
    operator = variables["VIRT_OPERATOR_IMAGE"]
    images = Images(
        operator=operator,
        api=variables.get("VIRT_API_IMAGE") or operator,
        controller=variables.get("VIRT_CONTROLLER_IMAGE") or operator,
        handler=variables.get("VIRT_HANDLER_IMAGE") or operator,
        launcher=variables["VIRT_LAUNCHER_IMAGE"],
    )
    passed = tuple(sorted(
        (name.removeprefix(PASSED_ENV_PREFIX), value)
        for name, value in variables.items() if name.startswith(PASSED_ENV_PREFIX)
    ))
    return Environment(images, variables.get("KUBEVIRT_VERSION", ""), passed)


@dataclass(frozen=True)
class Target:
    """``nodes``: how many the cluster has, for the number of replicas. ``spec``: of the KubeVirt object."""

    namespace: str
    version: str
    registry: str
    images: Images
    spec: v1.KubeVirtSpec
    generation: int
    nodes: int
    passed_env: tuple[tuple[str, str], ...] = ()

    @property
    def pull_policy(self) -> str:
        return self.spec.image_pull_policy or "IfNotPresent"

    @property
    def controller_replicas(self) -> int:
        asked = self.spec.infra.replicas if self.spec.infra else None
        return asked or (1 if self.nodes <= 1 else 2)

    @property
    def api_replicas(self) -> int:
        asked = self.spec.infra.replicas if self.spec.infra else None
        return asked or (1 if self.nodes <= 1 else max(2, self.nodes // 10))

    @property
    def aggregates_roles(self) -> bool:
        return self.spec.configuration.role_aggregation_strategy != "Manual"

    @cached_property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Everything the deployment ID depends on: sorted names and values."""
        spec = self.spec
        found = {
            "namespace": self.namespace, "registry": self.registry, "kubeVirtVersion": self.version,
            "virtOperatorImage": self.images.operator, "virtApiImage": self.images.api,
            "virtControllerImage": self.images.controller, "virtHandlerImage": self.images.handler,
            "virtLauncherImage": self.images.launcher,
            "ImagePullPolicy": spec.image_pull_policy,
            "ImagePullSecrets": ",".join(secret.name for secret in spec.image_pull_secrets),
            "ProductName": spec.product_name, "ProductVersion": spec.product_version,
            "ProductComponent": spec.product_component,
            "MonitorNamespace": spec.monitor_namespace, "MonitorAccount": spec.monitor_account,
            "ServiceMonitorNamespace": spec.service_monitor_namespace,
            "SynchronizationPort": str(spec.synchronization_port or ""),
            **{f"env {name}": value for name, value in self.passed_env},
        }
        return tuple(sorted((name, value) for name, value in found.items() if value))

    @cached_property
    def id(self) -> str:
        """The deployment ID: hex SHA-1 over names and values of the settings."""
        hashed = hashlib.sha1(usedforsecurity=False)
        for name, value in self.settings:
            hashed.update(f"{name}\0{value}\0".encode())
        return hashed.hexdigest()

    @cached_property
    def config(self) -> str:
        """The settings as JSON text, for status.*DeploymentConfig."""
        return codec.encode({"id": self.id, **dict(self.settings)}).decode()


def target(environment: Environment, cr: v1.KubeVirt, nodes: int) -> Target:
    """What ``cr`` asks this operator to install in its namespace."""
    images = Images(**{
        name: rewritten(getattr(environment.images, name), cr.spec.image_registry, cr.spec.image_tag)
        for name in Images.__dataclass_fields__
    })
    return Target(
        namespace=cr.metadata.namespace,
        version=cr.spec.image_tag or environment.version or tag(images.operator) or UNKNOWN_VERSION,
        registry=registry(images.operator),
        images=images,
        spec=cr.spec,
        generation=cr.metadata.generation,
        nodes=nodes,
        passed_env=environment.passed_env,
    )


def rewritten(reference: str, to_registry: str, to_tag: str) -> str:
    """``reference`` with another registry and tag, where given.

    >>> rewritten("localhost:5000/virt:abc", "quay.io/kubevirt", "v1")
    'quay.io/kubevirt/virt:v1'
    >>> rewritten("localhost:5000/virt@sha256:00", "", "v1")
    'localhost:5000/virt:v1'
    """
    name = _bare(reference).rpartition("/")[2]
    place = to_registry or registry(reference)
    end = f":{to_tag}" if to_tag else reference[len(_bare(reference)):]
    return f"{place}/{name}{end}" if place else f"{name}{end}"


def registry(reference: str) -> str:
    """
    >>> registry("localhost:5000/some/virt:abc")
    'localhost:5000/some'
    """
    return _bare(reference).rpartition("/")[0]


def tag(reference: str) -> str:
    """The tag of an image reference, "" for a digest or none.

    >>> tag("localhost:5000/virt:abc"), tag("localhost:5000/virt"), tag("virt:a@sha256:00")
    ('abc', '', '')
    """
    return "" if "@" in reference else reference[len(_bare(reference)):].removeprefix(":")


def _bare(reference: str) -> str:
    """Without tag and digest. A colon before the last slash is a port."""
    before = reference.partition("@")[0]
    slash, colon = before.rfind("/"), before.rfind(":")
    return before[:colon] if colon > slash else before


def placement(config: v1.ComponentConfig | None) -> core.Placement | None:
    return config.node_placement if config else None
