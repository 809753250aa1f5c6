"""Work inside a pod's network namespace.

A namespace belongs to a thread, so each piece of work gets a thread of its own that ends with it: the event loop's
thread and the shared thread pool never leave the node's namespace.
"""

import asyncio
import concurrent.futures
import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from virt.base.exec import run

T = TypeVar("T")
NODE_NETNS = Path("/proc/1/ns/net")
_CLONE_NEWNET = 0x40000000
_NFT_DEADLINE_S = 20.0
_libc = ctypes.CDLL(None, use_errno=True)


async def inside(netns_fd: int, work: Callable[[], T]) -> T:
    """Run ``work`` in the network namespace behind ``netns_fd`` (an open /proc/PID/ns/net), and return its result.

    /proc/sys/net shows that namespace too; /sys/class/net does not (it belongs to the mount). When the caller is
    cancelled the work still runs to its end, unseen: it must not depend on the caller.
    """
    own_fd = os.dup(netns_fd)
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()       # from here on a cancelled caller cannot disturb the thread

    def body() -> None:
        try:
            if _libc.setns(own_fd, _CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, f"cannot enter the network namespace: {os.strerror(number)}")
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  (all of it belongs to the caller, who waits for the future)
            future.set_exception(error)
        finally:
            os.close(own_fd)

    threading.Thread(target=body, name="netns", daemon=True).start()
    return await asyncio.wrap_future(future)


async def load_rules(netns_fd: int, rules: str) -> None:
    """Give ``rules`` to nft in that namespace. Raises RunError."""
    # By our own descriptor: the pid of whoever lives there might be another process's by now.
    namespace = f"--net=/proc/{os.getpid()}/fd/{netns_fd}"
    await run(["nsenter", namespace, "nft", "-f", "-"], input=rules, deadline_s=_NFT_DEADLINE_S)


async def on_node(work: Callable[[], T]) -> T:
    """Run ``work`` in the network namespace of the node's first process. Raises OSError where there is no way in."""
    namespace = os.open(NODE_NETNS, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return await inside(namespace, work)
    finally:
        os.close(namespace)
