"""Who may use the cluster now: many ordinary tests at once, or one that changes the whole cluster.

Under xdist each worker takes its turn before a test and gives it back after it: ordinary tests share the lock, a test
marked ``serial`` has it alone. The files are the cluster's, so two runs against one cluster do not disturb each other.

A lock that many share is never free while they take turns at it. So everybody queues at a gate first, and one who wants
to be alone keeps the gate shut while the others finish.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster_up.config import load


def _file(what: str) -> Path:
    name = load.load(None, {}).config.name         # as everybody finds the cluster, whether it was named or not
    return Path(tempfile.gettempdir()) / f"functests-{os.getuid()}-{name}.{what}"


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Waits without a limit: the test in front has a deadline of its own."""
    with _file("lock").open("a") as lock:
        with _file("gate").open("a") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield           # closing the file gives the lock back, also when this process is killed
