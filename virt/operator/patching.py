"""Two kinds of patches of Kubernetes on plain JSON: RFC 6902 and the strategic merge. The third, RFC 7386, is
:func:`virt.api.jsonpatch.merged`. Pure.

The API server could apply them too, but the operator has to know the result before it writes: it compares.
https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from virt.base.errors import VirtError

# What tells the entries of a list apart, by the list's name; other lists are replaced as a whole.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",), "initContainers": ("name",), "env": ("name",), "volumes": ("name",),
    "volumeMounts": ("mountPath",), "ports": ("containerPort", "port"), "imagePullSecrets": ("name",),
    "webhooks": ("name",), "hostAliases": ("ip",), "topologySpreadConstraints": ("topologyKey",),
}
_DIRECTIVE = "$patch"


class PatchError(VirtError):
    """A patch does not fit the document: a path that is not there, a failed test, an unknown operation."""

    reference = "bad-component-patch"
    hint = "mend or remove the patch in spec.customizeComponents.patches of the KubeVirt object"


def strategic(document: Any, patch: Any, name: str = "") -> Any:
    """As a merge, but lists that have a key are merged by it. ``name``: of the list or map in its parent.

    ``$patch: replace`` and ``$patch: delete`` work in maps and in entries of such lists; orders are not kept.
    """
    if isinstance(patch, Mapping):
        wanted = {key: value for key, value in patch.items() if not key.startswith("$")}
        if patch.get(_DIRECTIVE) == "replace":
            return copy.deepcopy(wanted)
        result = dict(document) if isinstance(document, Mapping) else {}
        for key, value in wanted.items():
            if value is None or (isinstance(value, Mapping) and value.get(_DIRECTIVE) == "delete"):
                result.pop(key, None)
            else:
                result[key] = strategic(result.get(key), value, key)
        return result
    if isinstance(patch, list) and isinstance(document, list) and (keys := _KEYS.get(name)):
        key = next((key for key in keys if all(isinstance(entry, Mapping) and key in entry for entry in patch)), "")
        if not key:
            raise PatchError(f"every entry of {name} needs {' or '.join(keys)}")
        return _by_key(document, patch, key)
    return copy.deepcopy(patch)


def _by_key(document: list[Any], patch: list[Any], key: str) -> list[Any]:
    result = list(document)
    for entry in patch:
        place = next((index for index, old in enumerate(result) if old.get(key) == entry[key]), None)
        if entry.get(_DIRECTIVE) == "delete":
            result = [old for old in result if old.get(key) != entry[key]]
        elif place is None:
            result.append(strategic({}, entry))
        else:
            result[place] = strategic(result[place], entry)
    return result


def patched(document: Any, operations: Any) -> Any:
    """RFC 6902. Raises PatchError; the argument is left as it is."""
    if not isinstance(operations, list) or not all(isinstance(one, Mapping) for one in operations):
        raise PatchError("a JSON patch is a list of operations")
    result = copy.deepcopy(document)
    for operation in operations:
        kind, path = operation.get("op"), str(operation.get("path", ""))
        if kind in ("move", "copy"):
            source = str(operation.get("from", ""))
            value = copy.deepcopy(_found(result, source))
            if kind == "move":
                _remove(result, source)
            _add(result, path, value)
        elif kind == "add":
            _add(result, path, copy.deepcopy(operation.get("value")))
        elif kind == "remove":
            _remove(result, path)
        elif kind == "replace":
            _found(result, path)
            _remove(result, path)
            _add(result, path, copy.deepcopy(operation.get("value")))
        elif kind == "test":
            if _found(result, path) != operation.get("value"):
                raise PatchError(f"test of {path} failed")
        else:
            raise PatchError(f"unknown operation {kind!r}")
    return result


def _parts(path: str) -> list[str]:
    if not path.startswith("/"):
        raise PatchError(f"path {path!r} does not begin with a slash")
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _found(document: Any, path: str) -> Any:
    return _walk(document, _parts(path), path)


def _walk(document: Any, parts: Sequence[str], path: str) -> Any:
    for part in parts:
        try:
            document = document[int(part)] if isinstance(document, list) else document[part]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise PatchError(f"there is no path {path}") from error
    return document


def _add(document: Any, path: str, value: Any) -> None:
    *way, last = _parts(path)
    target = _walk(document, way, path)
    if isinstance(target, list):
        place = len(target) if last == "-" else int(last) if last.isdecimal() else -1
        if not 0 <= place <= len(target):
            raise PatchError(f"there is no path {path}")
        target.insert(place, value)
    elif isinstance(target, dict):
        target[last] = value
    else:
        raise PatchError(f"there is no path {path}")


def _remove(document: Any, path: str) -> None:
    *way, last = _parts(path)
    target = _walk(document, way, path)
    _walk(target, [last], path)
    del target[int(last) if isinstance(target, list) else last]
