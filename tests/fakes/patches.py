"""JSON Patch on plain JSON, and label and field selectors, for the fake API server."""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]


class PatchRefusedError(Exception):
    """The patch does not fit the document (a failed test, a missing path)."""


def patched(document: Json, operations: Sequence[Mapping[str, Any]]) -> Json:
    """RFC 6902: add, replace, remove, test."""
    result = copy.deepcopy(document)
    for operation in operations:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        _apply(result, parts, operation)
    return result


def _apply(document: Any, parts: Sequence[str], operation: Mapping[str, Any]) -> None:
    *way, last = parts
    target = document
    for part in way:
        target = _step(target, part, operation)
    match operation["op"]:
        case "test":
            if _step(target, last, operation, missing_ok=True) != operation.get("value"):
                raise PatchRefusedError(f"test failed: {dict(operation)}")
        case "add" if isinstance(target, list):
            target.insert(len(target) if last == "-" else int(last), copy.deepcopy(operation["value"]))
        case "add":
            target[last] = copy.deepcopy(operation["value"])
        case "replace":
            _step(target, last, operation)
            target[int(last) if isinstance(target, list) else last] = copy.deepcopy(operation["value"])
        case "remove":
            _step(target, last, operation)
            del target[int(last) if isinstance(target, list) else last]
        case other:
            raise PatchRefusedError(f"unknown operation {other!r}")


def _step(target: Any, part: str, operation: Mapping[str, Any], *, missing_ok: bool = False) -> Any:
    try:
        return target[int(part)] if isinstance(target, list) else target[part]
    except (KeyError, IndexError, ValueError, TypeError):
        if missing_ok:
            return None
        raise PatchRefusedError(f"no such path: {operation['path']}") from None


def labels_match(selector: str, labels: Mapping[str, str]) -> bool:
    """``a=b``, ``a==b``, ``a!=b``, ``a``, ``!a``, ``a in (b,c)``, ``a notin (b,c)``, joined by commas."""
    return all(_requirement_holds(part.strip(), labels) for part in re.split(r",(?![^(]*\))", selector) if part.strip())


def _requirement_holds(text: str, labels: Mapping[str, str]) -> bool:
    if found := re.fullmatch(r"(\S+)\s+(in|notin)\s+\((.*)\)", text):
        key, word, values = found.groups()
        return (labels.get(key) in [value.strip() for value in values.split(",")]) == (word == "in")
    if found := re.fullmatch(r"([^!=]+)(==|=|!=)(.*)", text):
        key, operator, value = (part.strip() for part in found.groups())
        return (labels.get(key) == value) == (operator != "!=")
    return text[1:] not in labels if text.startswith("!") else text in labels


def fields_match(selector: str, document: Json) -> bool:
    """``metadata.name=x,spec.nodeName!=y``."""
    for part in filter(None, selector.split(",")):
        found = re.fullmatch(r"([^!=]+)(==|=|!=)(.*)", part)
        if found is None:
            raise ValueError(f"bad field selector {part!r}")
        path, operator, value = found.groups()
        seen: Any = document
        for name in path.split("."):
            seen = seen.get(name, "") if isinstance(seen, Mapping) else ""
        if (str(seen or "") == value) != (operator != "!="):
            return False
    return True
