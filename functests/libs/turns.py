"""Who may use the cluster now: many ordinary tests at once, or one that changes the whole cluster.

Under xdist each worker takes its turn before a test and gives it back after it: ordinary tests share the lock, a test
marked ``serial`` has it alone. The file is the cluster's, so two runs against one cluster do not disturb each other.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _file() -> Path:
    name = os.environ.get("VIRT_CLUSTER_NAME") or "default"
    return Path(tempfile.gettempdir()) / f"functests-{os.getuid()}-{name}.lock"


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Waits without a limit: the test in front has a deadline of its own."""
    with _file().open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield           # closing the file gives the lock back, also when this process is killed
