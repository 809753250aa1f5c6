"""Runs of the functional tests against one cluster: who made what, and whether its makers are still there.

A run has a file in the cluster's own folder, which each of its processes holds locked. The kernel takes the lock back
from a process, however that ends, so a run whose file nobody holds is gone. What a run makes in the API carries its
name as a label; what it does to nodes and to objects that are not its own is written down beside its file (undo.py).
"""

import fcntl
import hashlib
import os
import secrets
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from cluster_up.config import load
from cluster_up.paths import cluster_folder

VARIABLE = "FUNCTEST_RUN"           # the file of this run, for its workers
LABEL = "functest-run"
OF_TESTS = "functest"               # label of all that tests make
_held: list[IO[str]] = []           # this process's own: open files, so locks, for as long as it lives


class About(msgspec.Struct, frozen=True):
    """What a run's file says, for people."""

    started: float
    command: str

    def __str__(self) -> str:
        return f"{time.strftime('%H:%M:%S on %d %b', time.localtime(self.started))}: {self.command}"


class Runs:
    """Those of this machine against the cluster whose folder that is. The folder is made with the first of them."""

    def __init__(self, cluster: Path) -> None:
        self.folder = cluster / "runs"
        # A name that was given elsewhere says nothing here: its file is on another machine, or another person's.
        place = f"{socket.gethostname()}:{self.folder}"
        self._place = hashlib.sha256(place.encode()).hexdigest()[:8]

    def begin(self) -> str:
        """A new run, which this process holds from now on; its workers inherit that (:func:`join`). Returns its name.

        Raises OSError where the cluster has no folder.
        """
        self.folder.mkdir(exist_ok=True)
        name = f"{self._place}.{secrets.token_hex(4)}"
        part = self.folder / f"{name}.part"
        handle = part.open("w+")
        fcntl.flock(handle, fcntl.LOCK_SH)
        handle.write(msgspec.json.encode(About(time.time(), " ".join(["pytest", *sys.argv[1:]]))).decode())
        handle.flush()
        part.rename(self.file(name))            # nobody sees it unlocked
        _held.append(handle)
        os.environ[VARIABLE] = str(self.file(name))
        return name

    def end(self, name: str) -> None:
        """The run is over. What it could not undo stays written down, for the next one."""
        os.environ.pop(VARIABLE, None)
        while _held:
            _held.pop().close()
        if not self.notes(name):
            self.file(name).unlink(missing_ok=True)

    def is_of_here(self, name: str) -> bool:
        """Whether it was begun here, so that something can be said of it."""
        return name.startswith(f"{self._place}.")

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.run"

    def notes(self, name: str) -> list[Path]:
        """What the run has written down to be undone, the newest first."""
        return sorted(self.folder.glob(f"{name}.*.undo"), reverse=True)

    def names(self) -> list[str]:
        """Of all runs that have a file."""
        return sorted(file.stem for file in self.folder.glob("*.run"))

    def about(self, name: str) -> About | None:
        """None when it has left no file: then it ended in good order, and something of it stayed all the same."""
        try:
            return msgspec.json.decode(self.file(name).read_bytes(), type=About)
        except (OSError, msgspec.DecodeError):
            return None

    @contextmanager
    def claimed(self, name: str) -> Iterator[bool]:
        """True inside the block when the run is gone: then nobody else clears up after it meanwhile.

        False for one of which some process lives, and for one that was not begun here.
        """
        if not self.is_of_here(name):
            yield False
            return
        try:
            handle = self.file(name).open()
        except FileNotFoundError:
            yield True
            return
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


def of_cluster(name: str | None = None) -> Runs:
    """Of the cluster called ``name`` (default: VIRT_CLUSTER_NAME, else the default cluster)."""
    wanted = name or os.environ.get("VIRT_CLUSTER_NAME") or None
    return Runs(cluster_folder(load.load(None, {"name": wanted}).config.name))


def join() -> None:
    """This process is one of the run that its parent began."""
    if VARIABLE in os.environ:
        handle = Path(os.environ[VARIABLE]).open()      # noqa: SIM115 - for as long as this process lives
        fcntl.flock(handle, fcntl.LOCK_SH)
        _held.append(handle)


def file() -> Path | None:
    """Of the run that this process belongs to; None outside of one, as in a benchmark."""
    return Path(os.environ[VARIABLE]) if VARIABLE in os.environ else None


def marked(labels: Mapping[str, str] | None = None) -> dict[str, str]:
    """Labels of an object that a test makes outside of its namespace, and of the namespace."""
    own = file()
    return {**(labels or {}), OF_TESTS: "true", **({LABEL: own.stem} if own is not None else {})}
