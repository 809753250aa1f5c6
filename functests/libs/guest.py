"""What several areas ask a guest: which boot it is, where a disk with a serial is, whether time goes on in it."""

import re

from functests.libs import patience
from functests.libs.console import Console

# Ten numbers a second on the console, for ever: the shell is the ticker's until it is interrupted. In a shell below it,
# so that it does not keep the variable.
_TICKER = "(i=0; while :; do echo tick-$i; i=$((i+1)); sleep 0.1; done)\n"


def boot_id(shell: Console) -> str:
    return shell.succeed("cat /proc/sys/kernel/random/boot_id")


def load(shell: Console, driver: str) -> None:
    """A driver that nothing in the guest asks for by itself; tiny's own kernel has all of them built in."""
    shell.succeed(f"[ ! -e /lib/modules ] || modprobe {driver}")


def disk(shell: Console, serial: str) -> str:
    """The device (/dev/vda) of the virtio disk with that serial."""
    look = f"for d in /sys/block/vd*; do grep -qx '{serial}' \"$d/serial\" && echo \"/dev/${{d##*/}}\"; done; true"
    device = shell.succeed(look)
    assert device.startswith("/dev/vd"), f"no disk has the serial {serial}: {device!r}"
    return device


class Ticker:
    """Numbered ticks on the console: a guest that stands still prints none, one that was restarted begins anew."""

    def __init__(self, shell: Console) -> None:
        self._shell = shell
        self._since = shell.position
        shell.send(_TICKER)
        shell.wait_for(r"tick-5\r", within_s=patience.boots(1), since=self._since)

    def ticks(self) -> list[int]:
        """All so far. A half-printed number at the end does not count."""
        text = self._shell.transcript.encode()[self._since :].decode(errors="replace")
        return [int(number) for number in re.findall(r"\ntick-(\d+)\r", text)]

    def rests(self, *, for_s: float) -> None:
        """No tick comes for that long. One that was on its way is let through first."""
        counts: list[int] = []

        def look() -> list[int]:
            counts.append(len(self.ticks()))
            return counts[-2:]

        patience.eventually(
            "the ticks have stopped", look, lambda seen: len(seen) == 2 and seen[0] == seen[1],
            within_s=patience.promised(10), every_s=0.5,
        )
        before = counts[-1]
        patience.quiet("a tick came", lambda: len(self.ticks()), lambda count: count != before, for_s=for_s)

    def goes_on(self, *, within_s: float | None = None) -> None:
        """New ticks come, and none was lost or repeated."""
        before = len(self.ticks())
        patience.eventually(
            "ticks go on", lambda: len(self.ticks()), lambda count: count > before + 2, within_s=within_s, every_s=0.1
        )
        ticks = self.ticks()
        assert ticks == list(range(ticks[0], ticks[0] + len(ticks))), f"ticks are missing or repeated: {ticks}"
        assert ticks[0] == 0, ticks[:5]

    def stop(self) -> Console:
        """The shell is a person's again."""
        return self._shell.interrupt()

