"""Claims of volumes."""

from collections.abc import Mapping

from virt.api.core.container import ResourceRequirements
from virt.api.core.meta import Condition, LabelSelector, ObjectMeta, TypedLocalObjectReference
from virt.api.wire import Quantity, Wire, always


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
