"""JSON Patch documents (RFC 6902), the answer of a mutating webhook and the guarded writes of the API server; and the
merge of RFC 7386. Pure."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

Operation = Mapping[str, Any]


def difference(old: Any, new: Any) -> tuple[Operation, ...]:
    """Operations that turn ``old`` into ``new``, both parsed JSON. A shortened list is replaced as a whole."""
    return tuple(_difference(old, new, ""))


def test(path: str, value: Any) -> Operation:
    """Makes the whole patch fail unless ``path`` holds ``value`` (null also means: nothing there)."""
    return {"op": "test", "path": path, "value": value}


def add(path: str, value: Any) -> Operation:
    """Sets ``path``, whether or not it was there; its parent has to be."""
    return {"op": "add", "path": path, "value": value}


def remove(path: str) -> Operation:
    return {"op": "remove", "path": path}


def merged(document: Any, patch: Any) -> Any:
    """RFC 7386: null removes, maps are merged, anything else replaces. Both arguments are left as they are."""
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    result = dict(document) if isinstance(document, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def pointer(*parts: str | int) -> str:
    """``pointer("metadata", "labels", "a/b")`` is ``/metadata/labels/a~1b``."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _difference(old: Any, new: Any, path: str) -> Iterator[Operation]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() - new.keys()):
            yield remove(path + pointer(key))
        for key, value in new.items():
            if key in old:
                yield from _difference(old[key], value, path + pointer(key))
            else:
                yield add(path + pointer(key), value)
    elif isinstance(old, list) and isinstance(new, list) and len(old) <= len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from _difference(before, after, path + pointer(index))
        for value in new[len(old):]:
            yield add(path + "/-", value)
    elif old != new or type(old) is not type(new):
        yield {"op": "replace", "path": path, "value": new}
