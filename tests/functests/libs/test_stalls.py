"""What a machine's own stalls are."""

from functests.libs.stalls import Stalls


class Machine:
    """A clock and a sleep that takes as long as it is told: 0.1 s, then what ``stalls`` adds."""

    def __init__(self, *stalls: float) -> None:
        self.now = 100.0
        self._left = [*stalls]

    def sleep(self, seconds: float) -> bool:
        self.now += seconds + self._left.pop(0)
        return not self._left


def test_what_is_overslept_counts_and_everyday_delays_do_not() -> None:
    machine = Machine(0.0, 4.0, 0.2, 1.5)
    stalls = Stalls(lambda: machine.now, machine.sleep)
    stalls.watch()
    assert round(stalls.since(100.0), 6) == 5.5
    assert round(stalls.since(104.5), 6) == 1.5       # the first had ended by then


def test_a_stall_that_goes_on_counts_too() -> None:
    machine = Machine(0.0)
    stalls = Stalls(lambda: machine.now, machine.sleep)
    stalls.watch()
    machine.now += 3.1
    assert round(stalls.since(100.0), 3) == 3.0
