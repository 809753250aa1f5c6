"""The folder of one failure: items written side by side, each on its own, all before one deadline.

What cannot be had is written down as such. Nothing here raises, so collecting cannot hide the failure it is about.
"""

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

# Many of the items wait for a docker exec; the engine takes that number at once on two cores.
AT_ONCE = 8


def clear(root: Path) -> None:
    """The folders of earlier failures go, nothing else that is in ``root``."""
    for file in root.glob("*/rerun.txt"):
        shutil.rmtree(file.parent, ignore_errors=True)


class Folder:
    """``problems`` says what could not be had. ``item`` and ``job`` may be called from jobs too."""

    def __init__(self, root: Path, test_id: str, deadline_s: float) -> None:
        self.path = root / re.sub(r"[^A-Za-z0-9_.-]+", "-", test_id).strip("-")[-150:]
        self.path.mkdir(parents=True, exist_ok=True)
        for old in self.path.iterdir():         # of the last failure of this test
            if old.is_file():
                old.unlink()
        self.problems: list[str] = []
        self._begun = time.monotonic()
        self._end = self._begun + deadline_s
        self._pool = ThreadPoolExecutor(AT_ONCE, "evidence")
        self._pending: dict[Future[None], str] = {}
        self._change = threading.Lock()
        self._over = False

    def item(self, name: str, read: Callable[[], str | bytes]) -> None:
        """A file called ``name`` with what ``read`` returns."""

        def write() -> None:
            data = read()
            with self._change:
                if not self._over:
                    (self.path / name).write_bytes(data if isinstance(data, bytes) else data.encode())

        self.job(name, write)

    def job(self, name: str, work: Callable[[], None]) -> None:
        """Work that finds out which items there are."""

        def noted() -> None:
            with self.noted(name):
                work()

        with self._change:
            if not self._over:
                self._pending[self._pool.submit(noted)] = name

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Whatever goes wrong inside is written down and goes no further."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - one unreadable item must not cost the others
            self.problems.append(f"{name}: {type(error).__name__}: {error}")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def finish(self) -> None:
        """Wait for all items, also for those that jobs add, until the deadline."""
        while True:
            with self._change:
                open_ = [future for future in self._pending if not future.done()]
                left_s = self._end - time.monotonic()
                self._over = not open_ or left_s <= 0
                if self._over:
                    break
            wait(open_, timeout=left_s, return_when=FIRST_COMPLETED)
        self.problems += [f"{self._pending[future]}: no time left" for future in open_]
        self._pool.shutdown(wait=False, cancel_futures=True)
