"""Whether an object still is what the operator wants, and the patch that makes it so again. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from virt.api import jsonpatch
from virt.api.jsonpatch import Operation
from virt.operator import customize
from virt.operator.resources import DAEMON_SET, DEPLOYMENT, SERVICE, Json, Wanted

RESTARTED = "kubectl.kubernetes.io/restartedAt"         # a pod template's, by `kubectl rollout restart`
_EMPTY: tuple[Any, ...] = (None, {}, [], (), "", False, 0)
_IDENTITY = ("apiVersion", "kind", "metadata", "status")


def covers(actual: Any, wanted: Any) -> bool:
    """Whether all of ``wanted`` is in ``actual``. What the API server adds as defaults to maps does not count.

    >>> covers({"a": 1, "b": [{"x": 1, "y": 2}]}, {"b": [{"x": 1}], "c": {}})
    True
    >>> covers({"b": [1, 2]}, {"b": [1]})
    False
    """
    if actual == wanted:
        return True
    if isinstance(wanted, Mapping):
        if not isinstance(actual, Mapping):
            return actual is None and not wanted
        return all(
            covers(actual[key], value) if key in actual else value in _EMPTY for key, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return (
            isinstance(actual, Sequence) and len(actual) == len(wanted)
            and all(covers(one, other) for one, other in zip(actual, wanted, strict=True))
        )
    return False


def is_current(existing: Json, wanted: Wanted, recorded_generation: int) -> bool:
    """``recorded_generation``: the one after our last write (0: unknown). It tells of additions that ``covers`` allows.

    Objects that have no generation (roles, services ...) are compared by content alone.
    """
    generation = existing["metadata"].get("generation", 0)
    if generation not in (0, recorded_generation) or not covers(existing, wanted.document):
        return False
    return customize.noted(existing) == customize.noted(wanted.document)


def repair(existing: Json, wanted: Wanted) -> list[Operation]:
    """A JSON patch: our labels and annotations beside those of others, every other part as a whole. The restart of a
    roll-out goes on: only its mark is not ours in a pod template."""
    operations: list[Operation] = []
    for part, key in sorted(_outdated(existing, wanted)):
        operations.append(jsonpatch.remove(jsonpatch.pointer("metadata", part, key)))
    for part in ("labels", "annotations"):
        ours = wanted.document["metadata"].get(part, {})
        theirs = existing["metadata"].get(part)
        if theirs is None:
            operations.append(jsonpatch.add(f"/metadata/{part}", dict(ours)))
        else:
            operations += [
                jsonpatch.add(jsonpatch.pointer("metadata", part, key), value)
                for key, value in ours.items() if theirs.get(key) != value
            ]
    for part, value in wanted.document.items():
        if part == "spec" and wanted.kind in (DEPLOYMENT, DAEMON_SET):
            value = _with_restart(value, existing)
        if part in _IDENTITY or (part in existing and existing[part] == value):
            continue
        if wanted.kind is SERVICE and part == "spec":
            value = {**existing.get("spec", {}), **value}         # the cluster IP stays
        operations.append(jsonpatch.add(f"/{part}", value))
    return operations


def _with_restart(spec: Json, existing: Json) -> Json:
    template = spec["template"]
    there = existing.get("spec", {}).get("template", {}).get("metadata", {}).get("annotations") or {}
    if RESTARTED not in there:
        return spec
    meta = template["metadata"]
    annotations = {**meta.get("annotations", {}), RESTARTED: there[RESTARTED]}
    return {**spec, "template": {**template, "metadata": {**meta, "annotations": annotations}}}


def _outdated(existing: Json, wanted: Wanted) -> set[tuple[str, str]]:
    """Labels and annotations of a customisation that is gone, and the note about them."""
    ours = wanted.document["metadata"]
    told = {*customize.noted(existing), ("annotations", customize.NOTE)}
    return {
        (part, key) for part, key in told
        if key in (existing["metadata"].get(part) or {}) and key not in ours.get(part, {})
    }
