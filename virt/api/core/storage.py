"""Claims, volumes, storage classes."""

from collections.abc import Mapping

from virt.api.core.container import ResourceRequirements
from virt.api.core.meta import Condition, LabelSelector, ObjectMeta, ObjectReference, TypedLocalObjectReference
from virt.api.core.scheduling import NodeSelector
from virt.api.wire import JsonObject, Quantity, Wire, always


class PersistentVolumeClaimSpec(Wire):
    """``volume_mode``: Filesystem (also when None) or Block. ``storage_class_name`` "": no class at all."""

    access_modes: tuple[str, ...] = ()
    selector: LabelSelector | None = None
    resources: ResourceRequirements = ResourceRequirements()
    volume_name: str = ""
    storage_class_name: str | None = None
    volume_mode: str | None = None
    data_source: TypedLocalObjectReference | None = None
    data_source_ref: TypedLocalObjectReference | None = None


class PersistentVolumeClaimStatus(Wire):
    """``phase``: Pending, Bound, Lost."""

    phase: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: Mapping[str, Quantity] = {}
    conditions: tuple[Condition, ...] = ()


class PersistentVolumeClaim(Wire):
    api_version: str = always("v1")
    kind: str = always("PersistentVolumeClaim")
    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()
    status: PersistentVolumeClaimStatus = PersistentVolumeClaimStatus()


class VolumeNodeAffinity(Wire):
    required: NodeSelector | None = None


class PersistentVolumeSpec(Wire):
    """The source itself (NFS, CSI ...) is left out: nobody here looks at it."""

    capacity: Mapping[str, Quantity] = {}
    access_modes: tuple[str, ...] = ()
    claim_ref: ObjectReference | None = None
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    volume_mode: str | None = None
    node_affinity: VolumeNodeAffinity | None = None


class PersistentVolumeStatus(Wire):
    phase: str = ""
    message: str = ""
    reason: str = ""


class PersistentVolume(Wire):
    api_version: str = always("v1")
    kind: str = always("PersistentVolume")
    metadata: ObjectMeta = ObjectMeta()
    spec: PersistentVolumeSpec = PersistentVolumeSpec()
    status: PersistentVolumeStatus = PersistentVolumeStatus()


class StorageClass(Wire):
    """``volume_binding_mode``: Immediate (also when None) or WaitForFirstConsumer."""

    api_version: str = always("storage.k8s.io/v1")
    kind: str = always("StorageClass")
    metadata: ObjectMeta = ObjectMeta()
    provisioner: str = ""
    parameters: Mapping[str, str] = {}
    reclaim_policy: str | None = None
    volume_binding_mode: str | None = None
    allow_volume_expansion: bool | None = None
    allowed_topologies: tuple[JsonObject, ...] = ()
