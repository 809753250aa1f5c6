"""Events for people: what happened to an object, as ``kubectl describe`` shows it.

The same event again raises the count of the one that is there. Recording never blocks and never fails the caller.
"""

import asyncio
import hashlib
import itertools
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec

from virt.api import core
from virt.api.kinds import EVENT
from virt.base import log
from virt.base.clock import Clock, RealClock, rfc3339
from virt.kube.client import ApiError, Client, MergePatch, NotFoundError
from virt.kube.objects import meta_of

KEPT = 4096                   # how many different events are remembered for counting
BACKLOG = 1000                # more waiting events than this are dropped: the API server is not answering

_logger = log.get("virt.kube.events")


@dataclass(frozen=True)
class _Seen:
    name: str
    namespace: str
    count: int


class EventRecorder:
    """Run :meth:`run` as a task of the service. ``component`` ("virtualmachine-controller") is shown as the source."""

    def __init__(self, client: Client, component: str, *, host: str = "", clock: Clock | None = None) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._clock = clock or RealClock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        # Two events may fall into one tick of the clock: of one recorder, or of two that tell of objects with one name.
        first = int.from_bytes(hashlib.sha256(f"{component}/{host}".encode()).digest()[:2], "big")
        self._numbers = itertools.count(first)
        self._waiting: asyncio.Queue[core.Event] = asyncio.Queue(BACKLOG)

    def event(self, obj: Any, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Note that ``reason`` happened to ``obj`` (a struct or dict with apiVersion, kind and metadata)."""
        try:
            self._waiting.put_nowait(self._made(reference_to(obj), type_, reason, message))
        except asyncio.QueueFull:
            _logger.warning("event dropped", reason=reason, message=message)

    async def run(self) -> None:
        while True:
            event = await self._waiting.get()
            try:
                await self._write(event)
            except ApiError as error:
                # The namespace may be going away; an event is not worth a second try.
                _logger.info("event not written", reason=event.reason, error=str(error))

    def _made(self, about: core.ObjectReference, type_: str, reason: str, message: str) -> core.Event:
        now = self._clock.now()
        suffix = f"{int(now.timestamp() * 1e6):x}{next(self._numbers) % 4096:03x}"
        return core.Event(
            metadata=core.ObjectMeta(name=f"{about.name[:230]}.{suffix}", namespace=about.namespace or "default"),
            involved_object=about,
            type=type_,
            reason=reason,
            message=message[:1024],
            source=core.EventSource(component=self._component, host=self._host),
            count=1,
            first_timestamp=rfc3339(now),
            last_timestamp=rfc3339(now),
            reporting_component=self._component,
        )

    async def _write(self, event: core.Event) -> None:
        identity = digest(event)
        seen = self._seen.get(identity)
        if seen is not None:
            count = seen.count + 1
            patch = MergePatch({"count": count, "lastTimestamp": event.last_timestamp})
            try:
                await self._client.patch(EVENT, seen.name, patch, namespace=seen.namespace)
                self._remember(identity, replace(seen, count=count))
                return
            except NotFoundError:
                pass                # events expire after an hour: begin a new one
        await self._client.create(EVENT, event, event.metadata.namespace)
        self._remember(identity, _Seen(event.metadata.name, event.metadata.namespace, 1))

    def _remember(self, identity: str, seen: _Seen) -> None:
        self._seen[identity] = seen
        self._seen.move_to_end(identity)
        while len(self._seen) > KEPT:
            self._seen.popitem(last=False)


def reference_to(obj: Any) -> core.ObjectReference:
    """The reference of an event to ``obj``."""
    meta = meta_of(obj)
    api_version, kind = (
        (obj.get("apiVersion", ""), obj.get("kind", "")) if isinstance(obj, dict) else (obj.api_version, obj.kind)
    )
    return core.ObjectReference(
        api_version=api_version, kind=kind, namespace=meta.namespace, name=meta.name, uid=meta.uid,
        resource_version=meta.resource_version,
    )


def digest(event: core.Event) -> str:
    """Two events with the same digest are the same event, happening again."""
    about = event.involved_object
    parts = (about.kind, about.namespace, about.name, about.uid, event.type, event.reason, event.message)
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
