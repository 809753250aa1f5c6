"""Guest images that a first login does not need: built after ``up`` by a background process, which ``down`` ends.

These are further guests, and ``tiny`` with its own kernel, which then replaces ``tiny`` with Debian's kernel.
It holds the cluster's lock only while it writes the new references into the state.
"""

import contextlib
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from cluster_up import exec as host
from cluster_up import lock, paths
from cluster_up import state as states
from cluster_up.errors import Busy, ClusterError
from cluster_up.exec import Log
from cluster_up.images import guests
from cluster_up.state import State
from virt.base import waiting

_LOCK_S = 3600.0          # another command may be at work for long
_END_S = 15.0


def missing(state: State) -> list[str]:
    """Images that the cluster lacks, or has only in their quick form; in the order in which they are built."""
    return [
        name for group in guests.LATER for name in group
        if state.guest_images.get(name, {}).get("reference") != guests.reference(name, state.registry, best=True)
    ]  # fmt: skip


def start(state: State) -> bool:
    """Start the process unless it runs or has nothing to do; returns whether it was started."""
    if not missing(state) or _running(state.name):
        return False
    argv = [sys.executable, "-m", "cluster_up", "guests", "--name", state.name]
    pid = host.start_daemon(argv, log=paths.cluster_folder(state.name) / "guests.log")
    _pid_file(state.name).write_text(str(pid))
    return True


def stop(name: str) -> None:
    """End the process and what it started, if it runs."""
    pid = _running(name)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):       # it may end by itself at any moment
        os.kill(pid, signal.SIGTERM)
        try:
            waiting.wait_for(lambda: _running(name), lambda left: left is None, deadline_s=_END_S, what="its end")
        except waiting.WaitTimeout:
            os.kill(pid, signal.SIGKILL)


def make(state: State, log: Log) -> None:
    """Make and push what is missing. A cluster that is gone by then is left alone. SIGTERM ends it cleanly.

    Raises the first group's ClusterError when all have been tried.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    wanted = missing(state)
    context = guests.Context(registry=state.registry, log=log)
    failures: list[ClusterError] = []
    for group in guests.LATER:
        names = [name for name in group if name in wanted]
        if not names:
            continue
        try:
            made = guests.build(names, context, best=True)
        except ClusterError as error:
            log(f"{', '.join(names)} failed: {error}")
            failures.append(error)
            continue
        remember = partial(_remember, state.name, made)
        waiting.wait_for(remember, bool, deadline_s=_LOCK_S, what="the cluster's lock")
    if failures:
        raise failures[0]


def _remember(name: str, made: dict[str, dict[str, Any]]) -> bool:
    try:
        with lock.held(name):
            newest = states.read(name)
            if newest is not None:
                states.write(msgspec.structs.replace(newest, guest_images={**newest.guest_images, **made}))
            return True
    except Busy:
        return False


def _pid_file(name: str) -> Path:
    return paths.cluster_folder(name) / "guests.pid"


def _running(name: str) -> int | None:
    """The process id, if it is still the process that was started."""
    try:
        pid = int(_pid_file(name).read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    if words == [b""] and state != "Z":
        return pid              # between exec and its first instruction a process has no words yet
    return pid if b"guests" in words and name.encode() in words else None
