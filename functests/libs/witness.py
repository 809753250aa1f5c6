"""A witness in the guest: it counts on while something is done to the stack, and tells what it lived through.

Every half second it writes a number and the guest's uptime to memory; beside it lie random bytes with a known digest. A
guest that was restarted has another boot id, one that stood still has a step in its times, one whose memory was touched
another digest.
"""

import time
from dataclasses import dataclass

from functests.libs import patience
from functests.libs.console import Console
from functests.libs.stalls import STALLS

_EVERY_S = 0.5
# In a session of its own, so that neither the console's end nor Ctrl-C reaches it.
_LOOP = f"i=0; while :; do read up idle < /proc/uptime; echo $i $up; i=$((i+1)); sleep {_EVERY_S}; done"
_START = (
    "head -c 1048576 /dev/urandom > /run/witness.blob && "
    f"{{ setsid sh -c '{_LOOP}' > /run/witness 2> /dev/null < /dev/null & }}"
)
_TELL = (
    "awk 'NR>1 && $1!=n+1 {holes++} NR>1 && $2-t>step {step=$2-t} {n=$1; t=$2} END {print NR, holes+0, step+0}' "
    "/run/witness; cat /proc/sys/kernel/random/boot_id; sha256sum < /run/witness.blob"
)


@dataclass(frozen=True)
class Testimony:
    """``ticks`` so far; ``holes`` in their numbers; the longest ``step_s`` between two of them."""

    ticks: int
    holes: int
    step_s: float
    boot_id: str
    digest: str


class Witness:
    """Started when made. ``shell`` is the console it is asked on; give it a new one when that was closed."""

    def __init__(self, shell: Console) -> None:
        self.shell = shell
        STALLS.start()
        self._began = time.monotonic()
        shell.succeed(_START)
        self._first = patience.eventually("the witness counts", self.tell, lambda seen: seen.ticks >= 2)

    def tell(self) -> Testimony:
        counts, boot_id, digest = self.shell.succeed(_TELL).splitlines()
        ticks, holes, step = counts.split()
        return Testimony(int(ticks), int(holes), float(step), boot_id.strip(), digest.split()[0])

    def check(self, *, still_s: float = 0) -> Testimony:
        """The same boot and memory, counting on now, no hole; it never stood still for longer than a loaded machine
        explains, the stalls of that machine itself, and ``still_s`` if that was done to it."""
        before = self.tell()
        seen = patience.eventually("the witness counts on", self.tell, lambda now: now.ticks > before.ticks)
        assert (seen.boot_id, seen.digest) == (self._first.boot_id, self._first.digest), f"{self._first} became {seen}"
        assert seen.holes == 0, seen
        stalled_s = STALLS.since(self._began)
        longest = still_s + max(3.0, patience.boot_s() / 2) + stalled_s
        assert seen.step_s <= longest, (
            f"the guest stood still for {seen.step_s} s, not at most {longest:.1f} s, {stalled_s:.1f} of them with "
            "the whole machine"
        )
        return seen
