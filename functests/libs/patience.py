"""How long the tests wait: multiples of one boot as measured on this machine, never bare seconds.

One boot is the time from creating a VMI to its shell. The first test that needs a namespace measures it, once per run
(functests/fixtures/calibration.py); without a measurement a slow machine is assumed. FUNCTEST_BOOT_S sets it by hand.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from functests.libs import activity, retries
from functests.libs.retries import Unanswered
from functests.libs.showing import shown
from virt.base import waiting

T = TypeVar("T")

VARIABLE = "FUNCTEST_BOOT_S"
ASSUMED_BOOT_S = 25.0
LEAST_S = 60.0


def boot_s() -> float:
    return float(os.environ.get(VARIABLE, ASSUMED_BOOT_S))


def calibrate(file: Path, measure: Callable[[], float]) -> None:
    """Set the length of a boot for this process: as ``file`` says, or by ``measure``, which then writes the file.

    Workers of one run share the file; whoever comes first measures and the others wait for it.
    """
    if VARIABLE in os.environ:
        return
    with file.open("a+") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        known = shared.read()
        if not known:
            known = f"{measure():.2f}"
            shared.write(known)
    os.environ[VARIABLE] = known


def boots(count: float) -> float:
    """Seconds that ``count`` boots may take.

    Six times the measured: it was measured alone, and other guests, compilers and tests come after. With three times, a
    boot of 5 s gave up after 20 while a kernel was being compiled beside it. It costs only what fails.
    """
    return max(count * boot_s() * 6.0, LEAST_S)


def promised(seconds: float) -> float:
    """Seconds to wait for what the product promises within ``seconds``.

    The promise is that of a machine with nothing else to do. This one may stand still for seconds, be half as fast, and
    boot other guests meanwhile: a boot's patience comes on top. Whoever proves something by the time itself makes the
    wrong way longer than this (a grace of minutes, a time-out of one).
    """
    return seconds + boots(1)


def limit(seconds: float) -> float:
    """The limit of time of a whole test that has ``seconds`` where a boot takes six; at most three times that, since it
    is for tests that hang. Its waits grow with the boot, so it must too, or it ends them without their word."""
    return seconds * min(max(1.0, boot_s() / 6.0), 3.0)


def eventually(
    what: str,
    observe: Callable[[], T],
    ready: Callable[[T], bool],
    *,
    within_s: float | None = None,
    stop: Callable[[T], bool] | None = None,
    every_s: float = 0.25,
) -> T:
    """Observe until ``ready``; returns what was seen. Fails early when ``stop`` says that it cannot recover.

    A look that the API server could not answer is no look: the next one comes, and the verdict names the cause.
    """
    deadline_s = within_s if within_s is not None else boots(1)
    with activity.doing(what):
        seen = waiting.wait_for(
            lambda: _looked(what, observe), _if_seen(ready), stop=_if_seen(stop) if stop is not None else None,
            deadline_s=deadline_s, every_s=every_s, what=what, shown=shown,
        )  # fmt: skip
    assert not isinstance(seen, Unanswered)
    return seen


def _looked(what: str, observe: Callable[[], T]) -> T | Unanswered:
    try:
        return observe()
    except Unanswered as fault:
        retries.note(f"{what}: {retries.first_line(fault)}")
        return fault


def _if_seen(holds: Callable[[T], bool]) -> Callable[[T | Unanswered], bool]:
    return lambda seen: not isinstance(seen, Unanswered) and holds(seen)


def quiet(what: str, observe: Callable[[], T], noise: Callable[[T], bool], *, for_s: float, every_s: float = 1) -> None:
    """Observe for the whole of ``for_s``; fails at once when there is ``noise``. For claims that nothing happens."""
    try:
        with activity.doing(f"quiet: {what}"):
            seen = waiting.wait_for(
                lambda: _looked(what, observe), _if_seen(noise), deadline_s=for_s, every_s=every_s, what=what)
    except waiting.WaitTimeout:
        return
    raise AssertionError(f"{what}: {shown(seen)}")
