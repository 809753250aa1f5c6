"""The resources this project reads or writes: where each lives in the API and which type it has."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from virt.api import core, v1

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """``group`` is "" for core resources. ``type`` is what the client decodes into (a msgspec struct, or dict)."""

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool
    type: type[T]

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


def untyped(group: str, version: str, plural: str, name: str, *, namespaced: bool) -> Kind[dict[str, Any]]:
    """A kind whose objects are handled as plain JSON, for whatever the operator manages."""
    return Kind(group, version, plural, name, namespaced, dict[str, Any])


NAMESPACE = Kind("", "v1", "namespaces", "Namespace", False, core.Namespace)
NODE = Kind("", "v1", "nodes", "Node", False, core.Node)
POD = Kind("", "v1", "pods", "Pod", True, core.Pod)
EVENT = Kind("", "v1", "events", "Event", True, core.Event)
SECRET = Kind("", "v1", "secrets", "Secret", True, core.Secret)
CONFIG_MAP = Kind("", "v1", "configmaps", "ConfigMap", True, core.ConfigMap)
PVC = Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, core.PersistentVolumeClaim)
PERSISTENT_VOLUME = untyped("", "v1", "persistentvolumes", "PersistentVolume", namespaced=False)
RESOURCE_QUOTA = Kind("", "v1", "resourcequotas", "ResourceQuota", True, core.ResourceQuota)
NETWORK_ATTACHMENT = Kind(
    "k8s.cni.cncf.io", "v1", "network-attachment-definitions", "NetworkAttachmentDefinition", True,
    core.NetworkAttachmentDefinition,
)
LEASE = Kind("coordination.k8s.io", "v1", "leases", "Lease", True, core.Lease)
DISRUPTION_BUDGET = untyped("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", namespaced=True)
CONTROLLER_REVISION = Kind("apps", "v1", "controllerrevisions", "ControllerRevision", True, core.ControllerRevision)
SUBJECT_ACCESS_REVIEW = Kind(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", False, core.SubjectAccessReview,
)

KUBEVIRT = Kind("kubevirt.io", "v1", "kubevirts", "KubeVirt", True, v1.KubeVirt)
VM = Kind("kubevirt.io", "v1", "virtualmachines", "VirtualMachine", True, v1.VirtualMachine)
VMI = Kind("kubevirt.io", "v1", "virtualmachineinstances", "VirtualMachineInstance", True, v1.VirtualMachineInstance)
VMIM = Kind(
    "kubevirt.io", "v1", "virtualmachineinstancemigrations", "VirtualMachineInstanceMigration", True,
    v1.VirtualMachineInstanceMigration,
)
MIGRATION_POLICY = Kind(
    "migrations.kubevirt.io", "v1alpha1", "migrationpolicies", "MigrationPolicy", False, v1.MigrationPolicy,
)
