"""How long this machine stood still: a guest on it stood still as long, and no component is to blame for that.

A thread sleeps for a tenth of a second again and again; whatever it oversleeps, the machine (or its hypervisor) took.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

EVERY_S = 0.1
NOTED_S = 0.3           # less is everyday life on a busy machine
KEPT = 1000


class Stalls:
    """``sleep`` returns True when it is to end."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], bool] | None = None
    ) -> None:
        self._clock, self._sleep = clock, sleep or threading.Event().wait
        self._noted: deque[tuple[float, float]] = deque(maxlen=KEPT)       # end, seconds
        self._thread: threading.Thread | None = None
        self._awake = clock()

    def start(self) -> None:
        """From here on stalls are noted; once is enough for a process."""
        if self._thread is None:
            self._awake = self._clock()
            self._thread = threading.Thread(target=self.watch, daemon=True, name="stalls")
            self._thread.start()

    def watch(self) -> None:
        while True:
            ends = self._sleep(EVERY_S)
            now = self._clock()
            overslept, self._awake = now - self._awake - EVERY_S, now
            if overslept > NOTED_S:
                self._noted.append((now, overslept))
            if ends:
                return

    def since(self, begin: float) -> float:
        """Seconds of all stalls that ended after ``begin`` of the clock, the one that may be going on included."""
        now = self._clock()
        going_on = max(0.0, now - self._awake - EVERY_S)
        return sum(seconds for end, seconds in list(self._noted) if end >= begin) + going_on


STALLS = Stalls()
