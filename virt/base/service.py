"""A daemon is a list of named tasks that run until a signal, and an exit status that tells the truth.

Rules:

- a task of a service runs for ever; one that returns or raises ends the whole service with status 1, and the log says
  which one it was;
- SIGTERM and SIGINT cancel all tasks at once; each has until ``grace_s`` to clean up (release a lease, close sockets);
- after a clean stop by a signal the status is 0; a task that failed or overstayed while stopping makes it 1.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Mapping

from virt.base import log
from virt.base.errors import VirtError

Task = Callable[[], Awaitable[None]]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class TaskEndedError(VirtError):
    """A task of a service returned, though it should run until the service is stopped."""

    reference = "task-ended"


async def run_tasks(tasks: Mapping[str, Task], stop: asyncio.Event, *, grace_s: float = 20.0) -> None:
    """Run the tasks until ``stop`` is set or one of them ends.

    All are cancelled at once. Raises the ExceptionGroup of what failed,
    :class:`TaskEndedError` for a task that returned; TimeoutError when cleaning up took longer than ``grace_s``.
    """

    ending = asyncio.Event()

    async def guarded(name: str, task: Task) -> None:
        try:
            await task()
        except Exception:
            log.get("virt.base.service").exception("task failed", task=name)
            ending.set()
            raise
        except asyncio.CancelledError:
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                raise
            # Nobody cancelled it: it waited for something that was. A task group would let it go without a word.
        ending.set()
        raise TaskEndedError(f"task {name!r} ended by itself")

    async def stopper() -> None:
        await stop.wait()
        ending.set()
        raise _StopAsked

    async def grouped() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(stopper(), name="stop")
                for name, task in tasks.items():
                    group.create_task(guarded(name, task), name=name)
        except* _StopAsked:
            pass

    running = asyncio.create_task(grouped(), name="all tasks")
    try:
        await ending.wait()
        _done, late = await asyncio.wait({running}, timeout=grace_s)
        if late:
            raise TimeoutError(f"still cleaning up {grace_s:.0f} s after the stop")
        await running
    finally:
        running.cancel()


class _StopAsked(Exception):
    """Ends the task group without being an error; never seen outside."""


def run(name: str, tasks: Callable[[asyncio.Event], Awaitable[Mapping[str, Task]]], *, grace_s: float = 20.0) -> int:
    """Run a daemon to its end and return its exit status: ``sys.exit(service.run("virt-api", tasks))``.

    ``tasks`` is awaited once inside the loop and may open clients and sockets; it gets the event that means "stop".
    """
    log.setup(name)
    logger = log.get("virt.base.service")

    async def main() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stop.set)
        chosen = await tasks(stop)
        logger.info("started", tasks=list(chosen), pid=os.getpid())
        try:
            await run_tasks(chosen, stop, grace_s=grace_s)
        except TimeoutError as error:
            # What would not end would hold up the loop's own teardown as well: the one place for a hard exit.
            logger.error("ended", errors=[str(error)])
            os._exit(1)
        except BaseExceptionGroup as group:
            logger.error("ended", errors=[f"{type(leaf).__name__}: {leaf}" for leaf in _leaves(group)])
            return 1
        logger.info("stopped")
        return 0

    try:
        return asyncio.run(main())
    except VirtError as error:
        logger.error("could not start", errors=[str(error)], hint=error.hint, reference=error.reference)
        return 1


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
