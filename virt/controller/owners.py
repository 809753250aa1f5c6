"""Owners of objects: only the controller reference counts."""

from typing import Any

from virt.api import core
from virt.api.kinds import Kind


def controller_of(meta: core.ObjectMeta) -> core.OwnerReference | None:
    return next((owner for owner in meta.owner_references if owner.controller), None)


def is_controlled_by(meta: core.ObjectMeta, uid: str) -> bool:
    owner = controller_of(meta)
    return owner is not None and owner.uid == uid


def reference(kind: Kind[Any], meta: core.ObjectMeta) -> core.OwnerReference:
    """The reference to put on what the object with ``meta`` creates: it goes when its owner goes."""
    return core.OwnerReference(
        api_version=kind.api_version, kind=kind.name, name=meta.name, uid=meta.uid, controller=True,
        block_owner_deletion=True,
    )


def owner_name(meta: core.ObjectMeta, kind_name: str) -> str:
    """The name of the controlling owner if it is of that kind, else ""."""
    owner = controller_of(meta)
    return owner.name if owner is not None and owner.kind == kind_name else ""
