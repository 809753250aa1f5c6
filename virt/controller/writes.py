"""Writes that a lost race cannot turn on something else.

A change is one JSON patch, so fields this program does not know survive. Its guard is the resource version: the API
server answers 409 to a patch that asks for another one than is stored. The guard of a deletion is the object's uid.
"""

from typing import Any, TypeVar

from virt.api import codec, jsonpatch
from virt.api.kinds import Kind
from virt.kube.client import Client, ConflictError, DeleteOptions, JsonPatch, NotFoundError, Patch
from virt.kube.informer import Informer
from virt.kube.objects import meta_of

T = TypeVar("T")


def between(old: Any, new: Any, *sections: str) -> JsonPatch | None:
    """The patch that turns ``old`` (as read) into ``new`` in the named top-level ``sections`` ("status" ...).

    None when nothing in them differs.
    """
    before, after = codec.to_json(old), codec.to_json(new)
    operations = [
        operation
        for section in sections
        for operation in _section(section, before, after)
    ]
    if not operations:
        return None
    guard = jsonpatch.add("/metadata/resourceVersion", meta_of(old).resource_version)
    return JsonPatch((guard, *operations))


async def patched(
    client: Client, informer: Informer[T], obj: T, patch: Patch, *, subresource: str = ""
) -> T | None:
    """Patch this object and teach the cache what is stored now. None when it is gone, maybe by this very write, which
    took the last finalizer: the watch will tell."""
    meta = meta_of(obj)
    try:
        stored = await client.patch(
            informer.kind, meta.name, patch, namespace=meta.namespace, subresource=subresource)
    except NotFoundError:
        return None
    after = meta_of(stored)
    if meta.finalizers and not after.finalizers and after.deletion_timestamp is not None:
        return None
    informer.learn(stored)
    return stored


async def delete(client: Client, kind: Kind[T], obj: T) -> bool:
    """Delete this object and no other. False: it has gone and another has its name, of which the watch will tell."""
    meta = meta_of(obj)
    try:
        await client.delete(kind, meta.name, meta.namespace, DeleteOptions(uid=meta.uid))
    except ConflictError:
        return False
    return True


def _section(section: str, before: dict[str, Any], after: dict[str, Any]) -> tuple[jsonpatch.Operation, ...]:
    old, new = ({section: document[section]} if section in document else {} for document in (before, after))
    return jsonpatch.difference(old, new)
