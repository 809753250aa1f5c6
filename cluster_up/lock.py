"""One command at a time changes a cluster. The lock dies with its holder, so a killed command blocks nobody."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cluster_up.errors import Busy
from cluster_up.paths import cluster_folder, state_root


@contextmanager
def held(name: str) -> Iterator[None]:
    """Hold the lock of the cluster ``name``. Raises Busy at once, with the holder's process id, when it is taken.

    The lock's file goes with the cluster's folder.
    """
    path = state_root() / f".{name}.lock"
    with _locked(name, path) as handle:
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        try:
            yield
        finally:
            if not cluster_folder(name).exists():
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    state_root().rmdir()         # only when it was the last one


@contextmanager
def _locked(name: str, path: Path) -> Iterator[IO[str]]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                raise Busy(f"cluster {name!r} is busy, held by pid {handle.read().strip() or 'unknown'}") from None
            if _is_still_there(handle, path):
                yield handle
                return


def _is_still_there(handle: IO[str], path: Path) -> bool:
    """False when the last holder took the file away between our opening and our locking it."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False
