"""The kinds of objects that the operator owns, as plain JSON, and how to name them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec

from virt.api.kinds import DISRUPTION_BUDGET, Kind, untyped
from virt.kube.objects import key_for

Json = dict[str, Any]

CRD: Final = untyped(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
DEPLOYMENT: Final = untyped("apps", "v1", "deployments", "Deployment", namespaced=True)
DAEMON_SET: Final = untyped("apps", "v1", "daemonsets", "DaemonSet", namespaced=True)
VALIDATING_WEBHOOK: Final = untyped(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration",
    namespaced=False,
)
MUTATING_WEBHOOK: Final = untyped(
    "admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration",
    namespaced=False,
)
API_SERVICE: Final = untyped("apiregistration.k8s.io", "v1", "apiservices", "APIService", namespaced=False)
SERVICE: Final = untyped("", "v1", "services", "Service", namespaced=True)
CLUSTER_ROLE_BINDING: Final = untyped(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
CLUSTER_ROLE: Final = untyped("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)
ROLE_BINDING: Final = untyped("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", namespaced=True)
ROLE: Final = untyped("rbac.authorization.k8s.io", "v1", "roles", "Role", namespaced=True)
SERVICE_ACCOUNT: Final = untyped("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
SECRET: Final = untyped("", "v1", "secrets", "Secret", namespaced=True)
CONFIG_MAP: Final = untyped("", "v1", "configmaps", "ConfigMap", namespaced=True)

# In the order of removal.
OWNED: Final = (
    CRD, DAEMON_SET, DISRUPTION_BUDGET, DEPLOYMENT, VALIDATING_WEBHOOK, MUTATING_WEBHOOK, API_SERVICE, SERVICE,
    CLUSTER_ROLE_BINDING, CLUSTER_ROLE, ROLE_BINDING, ROLE, SERVICE_ACCOUNT, SECRET, CONFIG_MAP,
)
# Kinds with objects in other namespaces than the operator's (kube-system).
EVERYWHERE: Final = frozenset({ROLE, ROLE_BINDING})

_BY_NAME: Final = {(kind.api_version, kind.name): kind for kind in OWNED}


def kind_of(document: Mapping[str, Any]) -> Kind[Json]:
    """The kind of a document of ours. Raises KeyError for one that the operator does not own."""
    return _BY_NAME[document["apiVersion"], document["kind"]]


@dataclass(frozen=True)
class Wanted:
    """An object as it should be. ``document`` is shared and never changed."""

    document: Json

    @cached_property
    def kind(self) -> Kind[Json]:
        return kind_of(self.document)

    @property
    def name(self) -> str:
        return str(self.document["metadata"]["name"])

    @property
    def namespace(self) -> str | None:
        """None for what is cluster-scoped."""
        found: str | None = self.document["metadata"].get("namespace")
        return found

    @property
    def key(self) -> str:
        return key_for(self.namespace or "", self.name)

    @cached_property
    def digest(self) -> str:
        return digest(self.document)

    def __str__(self) -> str:
        return f"{self.kind.name} {self.key}"


def digest(value: object) -> str:
    """A short hash of any JSON value, the same for equal values."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:16]
