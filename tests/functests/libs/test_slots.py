"""Boots in flight."""

from pathlib import Path

from functests.libs import slots
from functests.libs.slots import Slots


def test_no_more_than_there_are(tmp_path: Path) -> None:
    first, second = Slots(2, tmp_path), Slots(2, tmp_path)
    first.take("a", for_s=60)
    second.take("b", for_s=60)
    assert second._try_each() is None
    first.give("a")
    free = second._try_each()
    assert free is not None
    free.close()
    second.give_all()


def test_a_guest_holds_one_and_not_for_ever(tmp_path: Path) -> None:
    held, other = Slots(1, tmp_path), Slots(1, tmp_path)
    held.take("a", for_s=0.2)
    held.take("a", for_s=0.2)           # the same guest: no second one, or this would wait for itself
    other.take("b", for_s=1)
    assert 0.05 < other.waited_s < slots.LONGEST_WAIT_S / 2
    assert held.taken == 2
    other.give_all()
