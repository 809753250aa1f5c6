"""Boots in flight: never more than the machine has cores, over all workers and runs on it.

A booting guest computes all the time, and under TCG that is a core; only so a boot takes what was measured and waits
stay honest. A test takes a slot before it creates or starts a guest, and gives it back when the guest's shell has
answered, when the guest has had the time that boots take, or when the test ends. Slots are file locks: the kernel
takes them back from a process that dies.
"""

import fcntl
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from functests.libs import activity
from virt.base import waiting

FOLDER = Path(tempfile.gettempdir()) / f"functests-boots-{os.getuid()}"
LONGEST_WAIT_S = 120.0          # then it boots all the same: the tests' deadlines say the rest


class Slots:
    """The slots that this process holds, by guest. ``count`` is how many there are in all."""

    def __init__(self, count: int, folder: Path = FOLDER) -> None:
        self.count = count
        self.taken = 0                      # boots that were begun here, ever
        self.waited_s = 0.0
        self._folder = folder
        self._held: dict[str, tuple[IO[str], threading.Timer]] = {}
        self._lock = threading.Lock()

    def take(self, guest: str, *, for_s: float) -> None:
        """Waits for a slot; ``for_s`` after that it is free again, whatever the guest does."""
        self.taken += 1
        if self.count <= 0 or guest in self._held:
            return
        self._folder.mkdir(exist_ok=True)
        began = time.monotonic()
        with (self._folder / "line").open("a") as line, activity.doing("waits for a core to boot on"):
            fcntl.flock(line, fcntl.LOCK_EX)            # whoever is in front looks at the slots, the others stand here
            slot = self._free_one()
        self.waited_s += time.monotonic() - began
        if slot is None:
            return
        timer = threading.Timer(for_s, self.give, (guest,))
        timer.daemon = True
        with self._lock:
            self._held[guest] = (slot, timer)
        timer.start()

    def _free_one(self) -> IO[str] | None:
        try:
            return waiting.wait_for(
                self._try_each, bool, deadline_s=LONGEST_WAIT_S, every_s=0.05, what="a core to boot a guest on"
            )
        except waiting.WaitTimeout:
            return None

    def _try_each(self) -> IO[str] | None:
        for number in range(self.count):
            slot = (self._folder / f"slot-{number}").open("a")
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                slot.close()
            else:
                return slot
        return None

    def give(self, guest: str) -> None:
        """Gives it back; without effect when it is back already."""
        with self._lock:
            held = self._held.pop(guest, None)
        if held is not None:
            held[1].cancel()
            held[0].close()

    def give_all(self) -> None:
        for guest in list(self._held):
            self.give(guest)


def of_machine() -> Slots:
    """FUNCTEST_BOOTS sets how many; 0 means no limit."""
    return Slots(int(os.environ.get("FUNCTEST_BOOTS", len(os.sched_getaffinity(0)))))


SLOTS = of_machine()
