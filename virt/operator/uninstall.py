"""The order in which everything is removed. Pure: what exists in, the next actions out.

The definitions of the custom resources go first, while all components still run: deleting them deletes every VM, and
only the components can end a VM properly. Our finalizer keeps them until the last one is gone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from virt.api import core, names
from virt.api.kinds import Kind
from virt.kube.client import MergePatch
from virt.kube.objects import key_of
from virt.operator.resources import CRD, OWNED, Json, Wanted

_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"        # of kube-apiserver: it still deletes instances


@dataclass(frozen=True)
class Removal:
    """``patch`` first, where there is one; then deletion, where asked for."""

    kind: Kind[Json]
    name: str
    namespace: str
    patch: MergePatch | None = None
    delete: bool = True


@dataclass(frozen=True)
class Plan:
    """``kind`` is what is being removed now; None when nothing is left. Without removals: wait for it to go."""

    kind: Kind[Json] | None
    removals: tuple[Removal, ...] = ()


def plan(existing: Callable[[Kind[Json]], Sequence[Json]]) -> Plan:
    """``existing(kind)``: the objects of ours that are there."""
    for kind in OWNED:
        found = existing(kind)
        if not found:
            continue
        if kind is CRD:
            return Plan(kind, _definitions(found))
        return Plan(kind, tuple(
            Removal(kind, obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
            for obj in found if not obj["metadata"].get("deletionTimestamp")
        ))
    return Plan(None)


def left_over(existing: Callable[[Kind[Json]], Sequence[Json]], wanted: Iterable[Wanted]) -> tuple[Removal, ...]:
    """Objects of an earlier version that this one lacks. Never definitions: users' objects would go with them."""
    kept = {(one.kind.plural, one.key) for one in wanted}
    return tuple(
        Removal(kind, obj["metadata"]["name"], obj["metadata"].get("namespace", ""))
        for kind in OWNED if kind is not CRD
        for obj in existing(kind)
        if (kind.plural, key_of(obj)) not in kept and not obj["metadata"].get("deletionTimestamp")
    )


def _definitions(found: Sequence[Json]) -> tuple[Removal, ...]:
    living = [obj for obj in found if not obj["metadata"].get("deletionTimestamp")]
    if living:
        return tuple(
            Removal(CRD, obj["metadata"]["name"], "", _finalizers(obj, {*_held(obj), names.OPERATOR_FINALIZER}))
            for obj in living
        )
    if not all(_is_emptied(obj) for obj in found):
        return ()
    return tuple(
        Removal(
            CRD, obj["metadata"]["name"], "", _finalizers(obj, {*_held(obj)} - {names.OPERATOR_FINALIZER}),
            delete=False,
        )
        for obj in found if names.OPERATOR_FINALIZER in _held(obj)
    )


def _is_emptied(definition: Json) -> bool:
    """Whether kube-apiserver has removed all instances."""
    found: Any = definition.get("status", {}).get("conditions") or ()
    terminating = next((condition["status"] for condition in found if condition["type"] == "Terminating"), "")
    return terminating == "False" or _CLEANUP not in _held(definition)


def _held(obj: Json) -> list[str]:
    return obj["metadata"].get("finalizers") or []


def _finalizers(obj: Json, wanted: set[str]) -> MergePatch | None:
    """A patch of the finalizers, guarded by the resource version: a list is replaced as a whole."""
    if wanted == set(_held(obj)):
        return None
    meta = obj["metadata"]
    return MergePatch({"metadata": {"resourceVersion": meta["resourceVersion"], "finalizers": sorted(wanted)}})


def is_ours(key: str) -> bool:
    """Whether a label or annotation of a node comes from us.

    >>> is_ours("kubevirt.io/schedulable"), is_ours("cpu-model.node.kubevirt.io/Nehalem"), is_ours("kubernetes.io/os")
    (True, True, False)
    """
    prefix = key.partition("/")[0] if "/" in key else ""
    return prefix == names.GROUP or prefix.endswith(f".{names.GROUP}")


def node_cleaning(node: core.Node) -> MergePatch | None:
    """A patch that takes our labels and annotations off a node, None when it has none."""
    found = {
        part: {key: None for key in values if is_ours(key)}
        for part, values in (("labels", node.metadata.labels), ("annotations", node.metadata.annotations))
    }
    changes = {part: keys for part, keys in found.items() if keys}
    return MergePatch({"metadata": changes}) if changes else None
