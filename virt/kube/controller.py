"""Informers -> keyed queue -> ``reconcile(key)``: the loop of every controller, and the one place that decides what
follows a success, a wish to be called again, and each kind of error.

    controller = Controller("vmi", reconcile, workers=4)
    controller.watches(vmis, lambda vmi: [key_of(vmi)])
    controller.watches(pods, keys_of_owner)
    tasks = {"vmis": vmis.run, "pods": pods.run, "vmi": controller.run}
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from virt.base import log
from virt.kube.client import ApiError, ConflictError
from virt.kube.informer import Informer
from virt.kube.workqueue import WorkQueue

T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """What a reconcile wants next. ``requeue_after_s`` None: nothing until something changes."""

    requeue_after_s: float | None = None


DONE = Result()

Reconcile = Callable[[str], Awaitable[Result]]


class Controller:
    """``reconcile`` is level-triggered: it looks at the world under ``key``, and never runs twice at a time for one."""

    def __init__(self, name: str, reconcile: Reconcile, *, workers: int = 1, queue: WorkQueue | None = None) -> None:
        self.name = name
        self.queue = WorkQueue() if queue is None else queue      # an empty queue is false
        self._reconcile = reconcile
        self._workers = workers
        self._watched: list[tuple[Informer[Any], Callable[[Any], Iterable[str]]]] = []
        self._is_working = False
        self._logger = log.get(f"virt.controller.{name}")

    def watches(self, informer: Informer[T], keys: Callable[[T], Iterable[str]]) -> None:
        """Queue ``keys(obj)`` of the old and of the new object whenever one changes. Call before :meth:`run`."""

        def changed(before: T | None, after: T | None) -> None:
            if not self._is_working:
                return          # what is there when the work begins is queued then; a standby would keep all that went
            for obj in (before, after):
                if obj is not None:
                    self._queue(keys(obj))

        informer.on_change(changed)
        self._watched.append((informer, keys))

    async def run(self) -> None:
        """Wait until all watched informers have listed, then work until cancelled."""
        for informer, _ in self._watched:
            await informer.synced.wait()
        self._is_working = True
        for informer, keys in self._watched:
            for obj in informer.store:
                self._queue(keys(obj))
        self._logger.info("working", workers=self._workers)
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(), name=f"{self.name}-{number}")

    def _queue(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.queue.add(key)

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self.process(key)
            finally:
                self.queue.done(key)

    async def process(self, key: str) -> None:
        """One pass for ``key``, and what comes after it. Raises nothing but CancelledError."""
        try:
            result = await self._reconcile(key)
        except ConflictError as error:
            # A lost race: the cache is behind, and news will mend that. Nothing is wrong, so no warning.
            again_s = self.queue.add_rate_limited(key, waits_for_news=True)
            self._logger.info("conflict", key=key, error=error.message, again_s=again_s)
        except ApiError as error:
            self._logger.warning(
                "refused", key=key, error=str(error), again_s=self.queue.add_rate_limited(key)
            )
        except Exception as error:  # one broken object must not stop the controller for all others
            self._logger.exception(
                "failed", key=key, error=repr(error), again_s=self.queue.add_rate_limited(key)
            )
        else:
            self.queue.forget(key)
            if result.requeue_after_s is not None:
                self.queue.add_after(key, result.requeue_after_s)
