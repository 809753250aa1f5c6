"""A folder for each run, held as long as its process lives."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path


def _locked(folder: Path) -> int | None:
    """A descriptor that holds the folder; None when a living process does."""
    found = os.open(folder / "held", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(found)
        return None
    return found


def new() -> tuple[Path, int]:
    """A folder for what the processes of one run tell each other, and the descriptor that holds it. Those of killed
    runs, which nobody holds any more, go."""
    every = Path(tempfile.gettempdir()) / f"functests-runs-{os.getuid()}"
    every.mkdir(exist_ok=True)
    with (every / "line").open("a") as line:
        fcntl.flock(line, fcntl.LOCK_EX)        # a new one is not held in its first moment
        for old in every.iterdir():
            if old.is_dir() and (held := _locked(old)) is not None:
                shutil.rmtree(old, ignore_errors=True)
                os.close(held)
        made = Path(tempfile.mkdtemp(dir=every))
        held = _locked(made)
    assert held is not None
    return made, held
