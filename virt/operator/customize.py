"""Last-minute changes of the operator's objects, as the KubeVirt object's customizeComponents asks for them. Pure.

A patch names kind and name of an object ("*": every one of that kind); one that fits nothing has no effect, since
manifests may speak of components that this release lacks. Labels and annotations that a patch brings are noted on the
object, so that they go with the patch: the operator leaves those of others alone.
"""

import json
from collections.abc import Sequence
from typing import Any

from virt.api import jsonpatch, v1
from virt.operator import patching
from virt.operator.patching import PatchError
from virt.operator.resources import Json

NOTE = "kubevirt.io/customized-metadata"
_EVERY = "*"
_IDENTITY = ("apiVersion", "kind")


def customised(document: Json, patches: Sequence[v1.CustomizeComponentsPatch]) -> Json:
    """``document`` with every patch that names it, in order. Raises PatchError, which names object and patch."""
    kind, name = document["kind"], document["metadata"]["name"]
    mine = [patch for patch in patches if patch.resource_type == kind and patch.resource_name in (name, _EVERY)]
    if not mine:
        return document
    result = document
    for patch in mine:
        try:
            result = _applied(result, patch)
        except (PatchError, ValueError, TypeError, AttributeError) as error:
            raise PatchError(f"patch of {kind} {name} does not fit: {error}: {patch.patch[:200]}") from error
    if [result.get(key) for key in _IDENTITY] + [_name(result)] != [document[key] for key in _IDENTITY] + [name]:
        raise PatchError(f"patch of {kind} {name} changes what object it is")
    return _noted(document, result)


def _applied(document: Json, patch: v1.CustomizeComponentsPatch) -> Json:
    wanted = json.loads(patch.patch)
    changed: Any
    match patch.type:
        case "json":
            changed = patching.patched(document, wanted)
        case "merge":
            changed = jsonpatch.merged(document, wanted)
        case "strategic" | "":
            changed = patching.strategic(document, wanted)
        case other:
            raise PatchError(f"{other!r} is no kind of patch, use one of json, merge, strategic")
    if not isinstance(changed, dict):
        raise PatchError("it leaves no object")
    return changed


def _name(document: Json) -> Any:
    metadata = document.get("metadata")
    return metadata.get("name") if isinstance(metadata, dict) else None


def _noted(before: Json, after: Json) -> Json:
    keys = sorted(
        f"{part}:{key}" for part in ("labels", "annotations")
        for key in after["metadata"].get(part) or {} if key not in (before["metadata"].get(part) or {})
    )
    if not keys:
        return after
    annotations = {**(after["metadata"].get("annotations") or {}), NOTE: ",".join(keys)}
    return {**after, "metadata": {**after["metadata"], "annotations": annotations}}


def noted(document: Json) -> frozenset[tuple[str, str]]:
    """What patches brought to the object's metadata: ("labels" or "annotations", key)."""
    text = str((document["metadata"].get("annotations") or {}).get(NOTE, ""))
    found = (entry.partition(":") for entry in text.split(",") if entry)
    return frozenset((part, key) for part, _, key in found if part in ("labels", "annotations"))
