"""One command at a time changes a cluster. The lock dies with its holder, so a killed command blocks nobody."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from cluster_up.errors import Busy
from cluster_up.paths import state_root


@contextmanager
def held(name: str) -> Iterator[None]:
    """Hold the lock of the cluster ``name``. Raises Busy at once, with the holder's process id, when it is taken."""
    path = state_root() / f".{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise Busy(f"cluster {name!r} is busy, held by pid {handle.read().strip() or 'unknown'}") from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield
