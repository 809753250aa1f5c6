"""A store that follows the API server: list once, then watch; list again when the server says that it forgot.

What it promises:

- ``synced`` is set after the first full list; from then on the store holds, with some delay, what the server has;
- handlers are told each change as (before, after), also those found by listing again after a gap;
- nothing older replaces something newer, so what :meth:`Informer.learn` put in stays until the watch has caught up.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from virt.api.kinds import Kind
from virt.base import log
from virt.base.clock import Clock, RealClock
from virt.kube.client import ALL, ApiError, Client, Event, ExpiredError, Selector
from virt.kube.objects import key_of, version_number, version_of
from virt.kube.store import Index, Store

T = TypeVar("T")

Handler = Callable[[T | None, T | None], None]

RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)     # pauses after consecutive failures; the last one repeats

SHORT_WATCH_S = 1.0

_logger = log.get("virt.kube.informer")


class Informer(Generic[T]):
    """Run :meth:`run` as a task of the service; read ``store``; register handlers before running."""

    def __init__(
        self,
        client: Client,
        kind: Kind[T],
        *,
        namespace: str | None = None,
        selector: Selector = ALL,
        indexes: Mapping[str, Index[T]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.kind = kind
        self.store: Store[T] = Store(indexes)
        self.synced = asyncio.Event()
        self._client = client
        self._namespace = namespace
        self._selector = selector
        self._clock = clock or RealClock()
        self._handlers: list[Handler[T]] = []
        self._heard_since = self._clock.monotonic()
        self._version = ""        # how far list and watch have come; "" asks for a new list

    def on_change(self, handler: Handler[T]) -> None:
        """``handler(before, after)``: None stands for absent. It must not block and must not raise."""
        self._handlers.append(handler)

    def learn(self, obj: T) -> None:
        """Take in an object that this process has just written, before the watch tells of it.

        So the next reconcile sees its own write. Ignored when the watch is past it already (the object may be deleted
        again by now). Handlers are not told: the watch will.
        """
        known = self.store.get(key_of(obj))
        if version_of(obj) > max(version_number(self._version), version_of(known) if known is not None else 0):
            self.store.put(obj)

    def heard_s(self) -> float:
        """For how many seconds the server could have told us: since the start, or since it last could not."""
        return self._clock.monotonic() - self._heard_since

    async def run(self) -> None:
        """Follow the server until cancelled. Errors of the API are logged and tried again after a pause."""
        failures = 0
        while True:
            try:
                if not self._version:
                    await self._list()
                began, version = self._clock.monotonic(), self._version
                await self._watch()
                failures = 0
                if self._version == version and self._clock.monotonic() - began < SHORT_WATCH_S:
                    await self._clock.sleep(SHORT_WATCH_S)      # a server that closes at once must not be hammered
            except ExpiredError:
                self._version = ""
            except ApiError as error:
                pause = RETRY_S[min(failures, len(RETRY_S) - 1)]
                failures += 1
                self._heard_since = self._clock.monotonic()
                _logger.warning("cannot follow", kind=self.kind.plural, error=str(error), pause_s=pause)
                if 400 <= error.code < 500 and error.code != 429:
                    self._version = ""      # refused, perhaps because the kind went away: begin again with a list
                await self._clock.sleep(pause * (0.5 + random.random()))

    async def _list(self) -> None:
        listing = await self._client.list(self.kind, self._namespace, self._selector)
        changes = self.store.replace(listing.items)
        self._version = listing.resource_version
        self.synced.set()
        for before, after in changes:
            self._tell(before, after)

    async def _watch(self) -> None:
        async for event in self._client.watch(self.kind, self._namespace, self._version, self._selector):
            self._take(event)

    def _take(self, event: Event[T]) -> None:
        self._version = event.resource_version or self._version
        if event.type == "BOOKMARK":
            return
        known = self.store.get(key_of(event.obj))
        if known is not None and version_of(known) > version_number(event.resource_version):
            return                  # learnt: a newer version of our own writing is there already
        if event.type == "DELETED":
            self._tell(self.store.remove(key_of(event.obj)) or event.obj, None)
        else:
            self._tell(self.store.put(event.obj), event.obj)

    def _tell(self, before: T | None, after: T | None) -> None:
        for handler in self._handlers:
            handler(before, after)
