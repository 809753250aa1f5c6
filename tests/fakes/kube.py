"""An API server in memory: resource versions, watch, patches, conflicts, finalizers, owner references, injected errors.

Faithful where controllers depend on it, and held to that by tests/contracts/test_kube_client.py, which also runs on a
real server. Left out: admission, schemas, schedulers and kubelets; a bound pod is deleted in two steps
(see :meth:`FakeKube.kubelet_stopped`).
"""

import asyncio
import copy
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import msgspec

from tests.fakes import patches
from tests.fakes.patches import Json
from virt.api import jsonpatch
from virt.api.kinds import POD, Kind
from virt.base.clock import Clock, RealClock, rfc3339
from virt.kube.client import (
    ALL,
    DEFAULT_DELETE,
    ApiError,
    ApplyPatch,
    ConflictError,
    DeleteOptions,
    Event,
    ExpiredError,
    JsonPatch,
    Listing,
    MergePatch,
    NotFoundError,
    Patch,
    Selector,
)

T = TypeVar("T")
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

# Kinds whose status is written through its subresource only (and is dropped at creation), as in the real API.
WITH_STATUS = frozenset({
    "pods", "nodes", "persistentvolumeclaims", "deployments", "daemonsets", "customresourcedefinitions", "apiservices",
    "kubevirts", "virtualmachines", "virtualmachineinstancemigrations",
})


@dataclass(frozen=True)
class Call:
    """One request, for tests of how much is written. ``body`` is the object or the patch as JSON."""

    verb: str
    plural: str
    name: str
    namespace: str
    subresource: str = ""
    body: Any = None


@dataclass(frozen=True)
class _Change:
    version: int
    resource: tuple[str, str]
    type: EventType
    obj: Json
    before: Json | None


class FakeKube:
    """Implements :class:`virt.kube.client.Client`. ``writes`` has every create, patch and delete so far."""

    def __init__(self, *objects: tuple[Kind[Any], Any], clock: Clock | None = None) -> None:
        self._clock = clock or RealClock()
        self._version = 100
        self._oldest = 100
        self._objects: dict[tuple[str, str], dict[tuple[str, str], Json]] = {}
        self._history: list[_Change] = []
        self._faults: list[tuple[str, str, Exception]] = []
        self._hung_up = 0
        self._pulse = asyncio.Event()
        self.writes: list[Call] = []
        for kind, obj in objects:
            self.put(kind, obj)

    # --- what tests do to it ---

    def put(self, kind: Kind[T], obj: T) -> T:
        """Store an object as it is, status and all, and tell the watchers; uid and versions are filled in."""
        document = _json(kind, obj)
        meta = document["metadata"]
        known = self._of(kind).get((meta.get("namespace", ""), meta["name"]))
        meta.setdefault("uid", known["metadata"]["uid"] if known else str(uuid.uuid4()))
        meta.setdefault("creationTimestamp", rfc3339(self._clock.now()))
        self._store(kind, document, known)
        return _typed(kind, document)

    def fail(self, verb: str, plural: str, error: Exception, times: int = 1) -> None:
        """The next ``times`` requests of ``verb`` ("get", "patch" ...; "*" any) on ``plural`` raise ``error``."""
        self._faults += [(verb, plural, error)] * times

    def compact(self) -> None:
        """Forget history: watches from before now answer 410, and those running end."""
        self._oldest = self._version
        self.hang_up()

    def hang_up(self) -> None:
        """Close all running watches, as an API server does now and then."""
        self._hung_up += 1
        self._wake()

    def bookmark(self, kind: Kind[Any]) -> None:
        """Send a bookmark to all watchers of the kind."""
        self._version += 1
        self._change(kind, "BOOKMARK", {"metadata": {"resourceVersion": str(self._version)}}, None)

    def kubelet_stopped(self, kind: Kind[Any], namespace: str, name: str) -> None:
        """The kubelet reports that a pod being deleted has ended: it goes away."""
        document = self._found(kind, name, namespace)
        document["metadata"].pop("finalizers", None)
        self._remove(kind, document)

    def peek(self, kind: Kind[T], name: str, namespace: str | None = None) -> T | None:
        """The stored object without a request, None when there is none."""
        document = self._of(kind).get((namespace or "", name))
        return None if document is None else _typed(kind, document)

    # --- the client protocol ---

    async def get(self, kind: Kind[T], name: str, namespace: str | None = None) -> T:
        await self._meet("get", kind)
        return _typed(kind, self._found(kind, name, namespace))

    async def list(self, kind: Kind[T], namespace: str | None = None, selector: Selector = ALL) -> Listing[T]:
        await self._meet("list", kind)
        found = [
            _typed(kind, document)
            for _, document in sorted(self._of(kind).items())
            if _selects(kind, namespace, selector, document)
        ]
        return Listing(tuple(found), str(self._version))

    async def watch(
        self, kind: Kind[T], namespace: str | None, resource_version: str, selector: Selector = ALL
    ) -> AsyncIterator[Event[T]]:
        await self._meet("watch", kind)
        since, hung_up = int(resource_version or 0), self._hung_up
        if since < self._oldest:
            raise ExpiredError(410, "Expired", f"too old resource version: {since} ({self._oldest})")
        while self._hung_up == hung_up:
            pulse = self._pulse
            for change in [change for change in self._history if change.version > since]:
                since = change.version
                if change.resource == _resource(kind) and (seen := _as_seen(kind, namespace, selector, change)):
                    yield Event(seen, _typed(kind, change.obj), str(change.version))
            if pulse is self._pulse:
                await pulse.wait()

    async def create(self, kind: Kind[T], obj: T, namespace: str | None = None, *, dry_run: bool = False) -> T:
        await self._meet("create", kind)
        document = _json(kind, obj)
        meta = document["metadata"]
        meta["name"] = meta.get("name") or f"{meta.get('generateName', '')}{uuid.uuid4().hex[:5]}"
        if kind.namespaced:
            meta["namespace"] = namespace or meta.get("namespace", "")
            if not meta["namespace"]:
                raise ApiError(405, "MethodNotAllowed", f"no namespace for {kind.plural}/{meta['name']}")
        key = (meta.get("namespace", ""), meta["name"])
        if key in self._of(kind):
            raise ConflictError(409, "AlreadyExists", f'{kind.plural} "{meta["name"]}" already exists')
        if kind.plural in WITH_STATUS:
            document.pop("status", None)
        meta |= {"uid": str(uuid.uuid4()), "creationTimestamp": rfc3339(self._clock.now()), "generation": 1}
        if dry_run:
            return _typed(kind, document)
        self._note("create", kind, meta["name"], namespace, body=document)
        self._store(kind, document, None)
        return _typed(kind, document)

    async def patch(
        self, kind: Kind[T], name: str, patch: Patch, *, namespace: str | None = None, subresource: str = "",
        dry_run: bool = False,
    ) -> T:
        await self._meet("patch", kind)
        known = self._of(kind).get((namespace or "", name))
        if known is None and isinstance(patch, ApplyPatch):
            created = msgspec.convert(jsonpatch.merged(patch.document, {"metadata": {"name": name}}), kind.type)
            return await self.create(kind, created, namespace, dry_run=dry_run)
        known = self._found(kind, name, namespace)
        after, body = _patched(known, patch)
        if after["metadata"].get("resourceVersion", "") not in ("", known["metadata"]["resourceVersion"]):
            raise ConflictError(409, "Conflict", f'{kind.plural} "{name}": the object has been modified')
        if kind.plural in WITH_STATUS:
            if subresource == "status":
                after = {**known, "status": after.get("status", {})}
            else:
                after = {**after, **({"status": known["status"]} if "status" in known else {})}
                if "status" not in known:
                    after.pop("status", None)
        for fixed in ("uid", "name", "namespace", "creationTimestamp", "deletionTimestamp", "resourceVersion"):
            if fixed in known["metadata"]:
                after["metadata"][fixed] = known["metadata"][fixed]
        if dry_run:
            return _typed(kind, after)
        self._note("patch", kind, name, namespace, subresource, body)
        if after == known:
            return _typed(kind, known)          # a patch without effect makes no new version
        if after.get("spec") != known.get("spec"):
            after["metadata"]["generation"] = known["metadata"].get("generation", 1) + 1
        if after["metadata"].get("deletionTimestamp") and not after["metadata"].get("finalizers"):
            self._remove(kind, after)
        else:
            self._store(kind, after, known)
        return _typed(kind, after)

    async def delete(
        self, kind: Kind[T], name: str, namespace: str | None = None, options: DeleteOptions = DEFAULT_DELETE
    ) -> None:
        await self._meet("delete", kind)
        known = self._of(kind).get((namespace or "", name))
        if known is None:
            return
        if options.uid not in (None, known["metadata"]["uid"]):
            raise ConflictError(409, "Conflict", f"the uid of {kind.plural}/{name} is {known['metadata']['uid']}")
        self._note("delete", kind, name, namespace, body=options)
        runs_on_a_node = kind.plural == "pods" and known.get("spec", {}).get("nodeName")
        if known["metadata"].get("finalizers") or (runs_on_a_node and options.grace_period_s != 0):
            if not known["metadata"].get("deletionTimestamp"):
                marked = _copied(known)
                marked["metadata"]["deletionTimestamp"] = rfc3339(self._clock.now())
                self._store(kind, marked, known)
            return
        self._remove(kind, known)

    async def evict(self, pod: str, namespace: str, uid: str) -> None:
        """Nothing stands in its way, but for an injected error of verb "evict"."""
        await self._meet("evict", POD)
        self._note("evict", POD, pod, namespace)
        await self.delete(POD, pod, namespace, DeleteOptions(uid=uid))

    # --- inside ---

    def _of(self, kind: Kind[Any]) -> dict[tuple[str, str], Json]:
        return self._objects.setdefault(_resource(kind), {})

    def _found(self, kind: Kind[Any], name: str, namespace: str | None) -> Json:
        document = self._of(kind).get((namespace or "", name))
        if document is None:
            raise NotFoundError(404, "NotFound", f'{kind.plural} "{name}" not found')
        return document

    async def _meet(self, verb: str, kind: Kind[Any]) -> None:
        await asyncio.sleep(0)                  # a request always gives others a turn
        for number, (failing, plural, error) in enumerate(self._faults):
            if failing in ("*", verb) and plural == kind.plural:
                del self._faults[number]
                raise error

    def _note(
        self, verb: str, kind: Kind[Any], name: str, namespace: str | None, subresource: str = "", body: Any = None
    ) -> None:
        self.writes.append(Call(verb, kind.plural, name, namespace or "", subresource, copy.deepcopy(body)))

    def _store(self, kind: Kind[Any], document: Json, before: Json | None) -> None:
        self._version += 1
        meta = document["metadata"]
        meta["resourceVersion"] = str(self._version)
        self._of(kind)[(meta.get("namespace", ""), meta["name"])] = document
        self._change(kind, "MODIFIED" if before else "ADDED", document, before)

    def _remove(self, kind: Kind[Any], document: Json) -> None:
        self._version += 1
        meta = document["metadata"]
        last = {**document, "metadata": {**meta, "resourceVersion": str(self._version)}}
        del self._of(kind)[(meta.get("namespace", ""), meta["name"])]
        self._change(kind, "DELETED", last, document)
        self._collect_garbage(meta["uid"])

    def _collect_garbage(self, owner_uid: str) -> None:
        living = {document["metadata"]["uid"] for found in self._objects.values() for document in found.values()}
        for resource, found in list(self._objects.items()):
            for (namespace, name), document in list(found.items()):
                owners = [owner["uid"] for owner in document["metadata"].get("ownerReferences", ())]
                if owner_uid in owners and not living.intersection(owners) and (namespace, name) in found:
                    kind = Kind(resource[0], "", resource[1], "", bool(namespace), dict)
                    if document["metadata"].get("finalizers"):
                        marked = _copied(document)
                        marked["metadata"].setdefault("deletionTimestamp", rfc3339(self._clock.now()))
                        self._store(kind, marked, document)
                    else:
                        self._remove(kind, document)

    def _change(self, kind: Kind[Any], type_: EventType, obj: Json, before: Json | None) -> None:
        self._history.append(
            _Change(self._version, _resource(kind), type_, _copied(obj), None if before is None else _copied(before))
        )
        self._wake()

    def _wake(self) -> None:
        pulse, self._pulse = self._pulse, asyncio.Event()
        pulse.set()


def _resource(kind: Kind[Any]) -> tuple[str, str]:
    return kind.group, kind.plural


def _copied(document: Json) -> Json:
    """Definitions are large documents, and copy.deepcopy takes twenty times as long."""
    return cast("Json", msgspec.json.decode(msgspec.json.encode(document)))


def _json(kind: Kind[Any], obj: Any) -> Json:
    document = _copied(obj)      # to_builtins would keep tuples
    document.setdefault("metadata", {})
    return {"apiVersion": kind.api_version, "kind": kind.name, **document}


def _typed(kind: Kind[T], document: Json) -> T:
    return msgspec.json.decode(msgspec.json.encode(document), type=kind.type)


def _patched(known: Json, patch: Patch) -> tuple[Json, Any]:
    match patch:
        case JsonPatch(operations):
            try:
                return patches.patched(known, operations), list(operations)
            except patches.PatchRefusedError as error:
                raise ApiError(422, "Invalid", str(error)) from error
        case MergePatch(document) | ApplyPatch(document):
            return jsonpatch.merged(known, document), dict(document)


def _selects(kind: Kind[Any], namespace: str | None, selector: Selector, document: Mapping[str, Any] | None) -> bool:
    if document is None:
        return False
    meta = document["metadata"]
    return (
        (not kind.namespaced or namespace is None or meta.get("namespace") == namespace)
        and patches.labels_match(selector.labels, meta.get("labels", {}))
        and patches.fields_match(selector.fields, dict(document))
    )


def _as_seen(kind: Kind[Any], namespace: str | None, selector: Selector, change: _Change) -> EventType | None:
    """What a watcher with a selector is told: an object that leaves the selection is DELETED for it."""
    if change.type == "BOOKMARK":
        return "BOOKMARK"
    was = _selects(kind, namespace, selector, change.before)
    fits = _selects(kind, namespace, selector, change.obj) and change.type != "DELETED"
    if fits:
        return "MODIFIED" if was else "ADDED"
    return "DELETED" if was else None
