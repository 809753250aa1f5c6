"""The launcher's life: libvirt up, handler greeted, one guest, its end, its own end.

Exit status: 0 when the guest ended as somebody wanted, or was never asked for before SIGTERM; 1 for a guest that
crashed, a daemon that died, or when nobody asked for a guest in time.
"""

import asyncio
import contextlib
import fcntl
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

from virt.api import names
from virt.base import log
from virt.base.errors import VirtError
from virt.launcher import capabilities
from virt.launcher.daemon import Daemon, Paths
from virt.launcher.disks.container import ContainerFiles
from virt.launcher.draft import DraftingProcess
from virt.launcher.libvirt_conn import Hypervisor
from virt.launcher.link import HandlerLink
from virt.launcher.manager import Manager
from virt.launcher.probes import Probes
from virt.rpc.messages import Event

_START_S = 240.0                # until the handler asks for a guest
_NEWS_S = 60.0                  # how long the news of the guest's end waits for a handler that is away
_logger = log.get("virt.launcher.main")


def main() -> int:
    log.setup("virt-launcher")
    try:
        with _alive():
            if os.environ.get(names.FAIL_FAST_VARIABLE):
                raise FailsFast("this launcher is to end at once")
            return asyncio.run(_live(os.environ.get("POD_UID", "")))
    except VirtError as error:
        _logger.error("ended", error=str(error), hint=error.hint)
        return 1


@contextlib.contextmanager
def _alive() -> Iterator[None]:
    """Hold the lock by which the log reader knows that the launcher lives; the kernel drops it however we end."""
    path = Path(names.LAUNCHER_ALIVE_LOCK)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def _live(pod_uid: str) -> int:
    """``pod_uid``: libvirt's host uuid, "" for a random one."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    hypervisor: asyncio.Future[Hypervisor] = loop.create_future()
    paths = Paths()
    capabilities.adopt(Path(names.LAUNCHER_CAPABILITIES_DIR), paths.cache)
    daemon = Daemon(paths)

    async def tell(event: Event) -> bool:
        return await link.tell(event)            # the two know each other; one of them has to come first

    drafts = DraftingProcess(ContainerFiles(Path(names.EPHEMERAL_DISKS_DIR) / "links"))
    manager = Manager(hypervisor, drafts, tell)
    link = HandlerLink(manager.serve, lambda: manager.status, pid=os.getpid())
    tasks = {
        asyncio.create_task(link.run(), name="link"),
        asyncio.create_task(_libvirt(daemon, drafts, pod_uid, hypervisor), name="libvirt"),
        asyncio.create_task(_start_deadline(manager), name="start deadline"),
    }
    over = asyncio.create_task(manager.over.wait(), name="over")
    stopping = asyncio.create_task(_terminate(stop, manager, link), name="stop")
    try:
        async with Probes(manager).serving(Path(names.PROBE_SOCKET)):
            done, _ = await asyncio.wait({over, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {over}:
            task.result()                        # raises why it ended
        await _bring_news(manager, link)
        await link.settle()
        return manager.guest.exit_code if manager.guest else 0
    finally:
        for task in (over, stopping, *tasks):
            task.cancel()
        await asyncio.gather(over, stopping, *tasks, return_exceptions=True)
        manager.close()
        await drafts.close()
        await daemon.stop()


async def _libvirt(
    daemon: Daemon, drafts: DraftingProcess, pod_uid: str, hypervisor: asyncio.Future[Hypervisor]
) -> None:
    libvirt, _ = await asyncio.gather(daemon.start(pod_uid), drafts.warm_up())
    hypervisor.set_result(libvirt)
    _logger.info("libvirt is up")
    await libvirt.warm_up()
    await daemon.supervise(libvirt)


async def _start_deadline(manager: Manager) -> None:
    # Partly random, so that the launchers of a node without a handler do not all end at once.
    timeout_s = _START_S + random.uniform(0, _START_S / 2)
    try:
        async with asyncio.timeout(timeout_s):
            await manager.synced.wait()
    except TimeoutError:
        raise NobodyAsked(f"virt-handler asked for no guest within {timeout_s:.0f} s") from None
    await asyncio.Event().wait()                 # for ever: the task is cancelled


class FailsFast(VirtError):
    """A test wants to see what happens to a pod whose launcher ends."""

    reference = "launcher-connection"
    hint = f"take the annotation {names.FAIL_FAST_ANNOTATION} from the VMI"


class NobodyAsked(VirtError):
    """No SyncVmi came in time."""

    reference = "launcher-connection"
    hint = "look at the log of virt-handler on this node"


async def _terminate(stop: asyncio.Event, manager: Manager, link: HandlerLink) -> None:
    await stop.wait()
    _logger.info("SIGTERM", grace_s=manager.grace_s)
    await manager.terminate(handler_leads=link.is_connected)


async def _bring_news(manager: Manager, link: HandlerLink) -> None:
    """Each connection starts with the state, so a connection is enough."""
    guest = manager.guest
    if guest is None or guest.over_was_heard:
        return
    try:
        async with asyncio.timeout(_NEWS_S):
            await link.wait_connected()
    except TimeoutError:
        _logger.warning("nobody heard of the guest's end")
