"""How long the tests wait: multiples of one boot as measured on this machine, never bare seconds.

One boot is the time from creating a VMI to its shell. The run's first boot measures it and hands it to the workers
through the environment; without a measurement a slow machine is assumed.
"""

import os
from collections.abc import Callable
from typing import TypeVar

from virt.base import waiting

T = TypeVar("T")

VARIABLE = "FUNCTEST_BOOT_S"
ASSUMED_BOOT_S = 25.0


def boot_s() -> float:
    return float(os.environ.get(VARIABLE, ASSUMED_BOOT_S))


def boots(count: float) -> float:
    """Seconds that ``count`` boots may take; three times the measured, since other guests boot on the same cores."""
    return max(count * boot_s() * 3.0, 20.0)


def eventually(
    what: str,
    observe: Callable[[], T],
    ready: Callable[[T], bool],
    *,
    within_s: float | None = None,
    stop: Callable[[T], bool] | None = None,
    every_s: float = 0.25,
) -> T:
    """Observe until ``ready``; returns what was seen. Fails early when ``stop`` says that it cannot recover."""
    return waiting.wait_for(
        observe, ready, stop=stop, deadline_s=within_s if within_s is not None else boots(1), every_s=every_s, what=what
    )
