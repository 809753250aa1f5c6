"""Who is at the other end of a unix socket: the process, its pod and its network namespace.

Everything is read through one open /proc/PID, so that a pid which is used again by another process cannot deceive: the
folder stays that of the process that connected, and is empty once that has ended.
"""

import contextlib
import errno
import os
import select
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from virt.base.errors import VirtError
from virt.handler.launchers.cgroup import pod_uid
from virt.rpc.framing import credentials


class UnknownProcessError(VirtError):
    """The process that connected has ended, or belongs to no pod."""

    reference = "unknown-launcher"


@dataclass(frozen=True)
class Process:
    """``death`` becomes readable when the process ends (a pidfd). Close it with :meth:`close`."""

    pid: int
    pod_uid: str
    netns: int
    death: int

    @property
    def is_alive(self) -> bool:
        return not select.select([self.death], [], [], 0)[0]

    def close(self) -> None:
        for fd in (self.netns, self.death):
            with contextlib.suppress(OSError):
                os.close(fd)


Identify = Callable[[socket.socket], Process]


def identify(sock: socket.socket, proc: Path = Path("/proc")) -> Process:
    """The process that dialled ``sock``. Raises UnknownProcessError."""
    pid, _, _ = credentials(sock)
    with contextlib.ExitStack() as opened:
        try:
            death = os.pidfd_open(pid)
            opened.callback(os.close, death)
            folder = os.open(proc / str(pid), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with open(os.open("cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)) as file:  # noqa: PTH123
                    uid = pod_uid(file.read())
                netns = os.open("ns/net", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
                opened.callback(os.close, netns)
            finally:
                os.close(folder)
        except OSError as error:
            raise UnknownProcessError(f"process {pid}, which connected, cannot be looked at: {error}") from error
        if uid is None:
            raise UnknownProcessError(f"process {pid}, which connected, belongs to no pod")
        if _has_hung_up(sock):
            raise UnknownProcessError(f"process {pid} went away while it was looked at")
        opened.pop_all()
        return Process(pid, uid, netns, death)


def pods_with_processes(proc: Path = Path("/proc")) -> frozenset[str]:
    """UIDs of the pods that have a process on this node, be it only the pause container's."""
    texts = set()
    for name in os.listdir(proc):  # noqa: PTH208  (hundreds of processes: plain calls take a third of the time)
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"{proc}/{name}/cgroup", "rb", buffering=0) as file:  # noqa: PTH123
                texts.add(file.read())
    found = (pod_uid(text.decode(errors="replace")) for text in texts)
    return frozenset(uid for uid in found if uid)


def open_in_pod(uid: str, path: Sequence[str], proc: Path = Path("/proc")) -> int:
    """A folder inside one of a pod's containers, as a descriptor that is good for paths below it and for nothing else.

    No link on the way is followed: whatever a container holds, what is opened is its own. Raises OSError.
    """
    where = "/".join(path)
    error: OSError = FileNotFoundError(errno.ENOENT, f"no container of pod {uid} is here that has /{where}")
    for name in os.listdir(proc):  # noqa: PTH208
        if name.isdecimal() and pod_of(int(name), proc) == uid:
            try:
                return _open_below(proc / name, uid, path)
            except FileNotFoundError:
                continue                    # the process has ended, or is of another container
            except OSError as refused:
                error = refused
    raise error


def _open_below(process: Path, uid: str, path: Sequence[str]) -> int:
    here = os.open(process, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(os.open("cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=here)) as file:  # noqa: PTH123
            if pod_uid(file.read()) != uid:
                raise FileNotFoundError(errno.ENOENT, "its pid is another process's by now")
        for part, how in (("root", 0), *((part, os.O_NOFOLLOW) for part in path)):      # "root" is the kernel's link
            inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | how, dir_fd=here)
            os.close(here)
            here = inner
    except BaseException:
        os.close(here)
        raise
    return here


def pod_of(pid: int, proc: Path = Path("/proc")) -> str | None:
    """The UID of a process's pod; None for one of no pod, or that has ended."""
    try:
        return pod_uid((proc / str(pid) / "cgroup").read_text())
    except OSError:
        return None


def parent(pid: int, proc: Path = Path("/proc")) -> int:
    """The process whose child ``pid`` is. Raises FileNotFoundError or ProcessLookupError when that has ended."""
    # The name before it may hold spaces and parentheses.
    return int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def family(pid: int, proc: Path = Path("/proc")) -> tuple[int, ...]:
    """``pid`` and what descends from it."""
    found = [pid]
    for parent in found:
        for task in sorted((proc / str(parent) / "task").glob("*/children")):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return tuple(found)


def _has_hung_up(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
