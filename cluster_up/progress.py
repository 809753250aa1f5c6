"""What a person sees while a long command works: steps with times, and what is waited for.

On a terminal one line moves; elsewhere every line is plain, without escape bytes. Both write a log file with times too.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn


def seconds_text(seconds: float) -> str:
    """Short for people.

    >>> seconds_text(0.26), seconds_text(42.3), seconds_text(185)
    ('0.3 s', '42 s', '3 min 05 s')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


class Reporter:
    """Steps and lines of one command. ``log`` gets every line with its time, details too."""

    def __init__(self, console: Console, log: IO[str] | None = None) -> None:
        self._console = console
        self._log = log
        self._bars: Bars | None = None

    def line(self, text: str) -> None:
        """One line for the person."""
        self.detail(text)
        self._console.print(text, markup=False, highlight=False)

    def detail(self, text: str) -> None:
        """What is being done right now: the moving line on a terminal, else the log file only."""
        if self._log is not None and not self._log.closed:
            self._log.write(f"{datetime.now().isoformat(timespec='milliseconds')} {text}\n")
            self._log.flush()
        if self._bars is not None:
            self._bars.update(self._bars.task_ids[0], waiting=escape(text.strip()[:70]))

    @contextmanager
    def step(self, title: str, last_s: float | None) -> Iterator[None]:
        """A step while it runs; ``last_s`` is how long it took the last time."""
        estimate = f"last time {seconds_text(last_s)}" if last_s else ""
        started = time.monotonic()
        if not self._console.is_terminal:
            self.line(f"- {title}" + (f" ({estimate})" if estimate else ""))
            yield
            self.line(f"  {title}: done in {seconds_text(time.monotonic() - started)}")
            return
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[estimate]}"), TextColumn("[dim]{task.fields[waiting]}"),
        )  # fmt: skip
        with Bars(*columns, console=self._console, transient=True) as self._bars:
            self._bars.add_task(title, estimate=estimate, waiting="")
            try:
                yield
            finally:
                self._bars = None
        self.line(f"✓ {title} {seconds_text(time.monotonic() - started)}")

    def skipped(self, title: str) -> None:
        mark = "✓" if self._console.is_terminal else "-"
        self.line(f"{mark} {title}: already done")


@contextmanager
def reporter(log_file: Path | None = None) -> Iterator[Reporter]:
    """A reporter on standard error, so that standard output is for results alone."""
    console = Console(stderr=True)
    if log_file is None:
        yield Reporter(console)
        return
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("a") as log:
        yield Reporter(console, log)
