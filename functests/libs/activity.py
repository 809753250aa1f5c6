"""What this process does just now, for whoever watches the run: one line in a file that FUNCTEST_ACTIVITY names."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VARIABLE = "FUNCTEST_ACTIVITY"
_stack: list[str] = []


@contextmanager
def doing(what: str) -> Iterator[None]:
    """``what`` is told while the block runs, then again what was told before."""
    _stack.append(what)
    _tell()
    try:
        yield
    finally:
        _stack.remove(what)
        _tell()


def _tell() -> None:
    file = os.environ.get(VARIABLE)
    if file:
        with suppress(OSError):
            Path(file).write_text(_stack[-1] if _stack else "")
