"""What a person asked for is looked at before anything starts: each mistake is one line that says what to write.

Workers would find most of these too, but each for itself, as a crash.
"""

from collections.abc import Iterable
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression

from functests.scheduling.lanes import LANES

FLAKE = "make functest-flake TEST=functests/console/test_console.py N=20"


def check(config: pytest.Config) -> None:
    """Raises UsageError, which pytest shows without a traceback."""
    faults = [
        lane(config.getoption("lane")), repeat(config.getoption("repeat")), keyword(config.getoption("keyword")),
        paths(config.args, config.invocation_params.dir),
    ]
    for fault in filter(None, faults):
        raise pytest.UsageError(fault)


def lane(name: str | None) -> str:
    if name is None or name in LANES:
        return ""
    return f"LANE={name} (--lane): there is no such lane; there are {', '.join(LANES)}"


def repeat(text: str) -> str:
    if text.isdecimal() and int(text):
        return ""
    return f"N={text} (--repeat): that is no number from 1 on, such as in {FLAKE}"


def keyword(text: str) -> str:
    if not text.strip():
        return ""
    try:
        Expression.compile(text)
    except SyntaxError as error:
        return f"FILTER={text} (-k): {error.msg}; write words joined by and, or, not: FILTER='console and not stream'"
    return ""


def paths(arguments: Iterable[str], folder: Path) -> str:
    for argument in arguments:
        path = argument.split("::", maxsplit=1)[0]
        if not (folder / path).exists():
            return f"there is no {path}: TEST takes test files, folders or ids of tests, as {FLAKE}"
    return ""
