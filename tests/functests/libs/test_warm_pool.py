"""The pool lends each guest to one at a time, keeps what is as it was, and leaves none behind."""

from pathlib import Path

import pytest

from functests.libs.warm import State
from functests.libs.warm_pool import Pool, Record


class World:
    """Guests of a test's imagination."""

    def __init__(self) -> None:
        self.alive: list[str] = []
        self.made = 0
        self.dropped: list[tuple[str, str]] = []
        self.fails = ""

    def open(self) -> str:
        self.made += 1
        self.alive.append(f"ns-{self.made}")
        return f"ns-{self.made}"

    def boot(self, namespace: str) -> tuple[str, State, float]:
        if self.fails == "boot":
            raise RuntimeError("no shell answered")
        return f"uid-{namespace}", {"boot": namespace}, 4.25

    def is_alive(self, record: Record) -> bool:
        return record.namespace in self.alive

    def drop(self, namespace: str, user: str) -> None:
        if self.fails == "drop":
            raise RuntimeError("a process is left")
        self.alive = [name for name in self.alive if name != namespace]
        self.dropped.append((namespace, user))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def pool(tmp_path: Path, world: World) -> Pool:
    return Pool(tmp_path / "warm", world, keeps=True)


def lend(pool: Pool, test: str, changed: str = "") -> tuple[str, bool]:
    loan = pool.take(test)
    pool.give_back(test, changed)
    return loan.namespace, loan.fresh


def test_a_guest_that_is_as_it_was_is_the_next_tests(pool: Pool, world: World) -> None:
    assert [lend(pool, name) for name in "abc"] == [("ns-1", True), ("ns-1", False), ("ns-1", False)]
    assert pool.close() == []
    assert world.dropped == [("ns-1", "c")]
    assert world.alive == []


def test_the_state_that_counts_is_that_of_the_boot(pool: Pool) -> None:
    pool.take("a")
    pool.give_back("a", "")
    record = pool.take("b").record
    assert record is not None
    assert (record.state, record.user) == ({"boot": "ns-1"}, "b")


def test_a_guest_that_changed_goes_and_the_next_test_boots_one(pool: Pool, world: World) -> None:
    assert lend(pool, "a", "files: + /tmp/x") == ("ns-1", True)
    assert world.dropped == [("ns-1", "a")]
    assert lend(pool, "b") == ("ns-2", True)


def test_two_workers_never_have_the_same_guest(pool: Pool, world: World, tmp_path: Path) -> None:
    other = Pool(tmp_path / "warm", world, keeps=True)
    assert pool.take("a").namespace == "ns-1"
    assert other.take("b").namespace == "ns-2"
    pool.give_back("a", "")
    other.give_back("b", "")
    assert other.take("c").namespace == "ns-1"
    assert pool.close() == []
    assert world.alive == ["ns-1"], "the end of one worker leaves the others their guests"
    other.give_back("c", "")
    other.close()
    assert world.alive == []


@pytest.mark.parametrize("moment", ["lent", "booting"])
def test_what_a_dead_worker_had_is_nobodys(pool: Pool, world: World, tmp_path: Path, moment: str) -> None:
    world.fails = "boot" if moment == "booting" else ""
    if moment == "booting":
        with pytest.raises(RuntimeError):
            pool.take("died")
    else:
        pool.take("died")
    assert pool.loan is not None
    pool.loan.lock.close()              # as the kernel does for a process that is killed
    world.fails = ""
    next_one = Pool(tmp_path / "warm", world, keeps=True)
    assert lend(next_one, "b") == ("ns-2", True)
    assert [namespace for namespace, _ in world.dropped] == ["ns-1"]


def test_a_guest_that_somebody_took_away_is_not_handed_out(pool: Pool, world: World) -> None:
    lend(pool, "a")
    world.alive.clear()                 # a test that had the cluster for itself
    assert lend(pool, "b") == ("ns-2", True)


def test_a_guest_that_does_not_boot_goes_with_its_test(pool: Pool, world: World) -> None:
    world.fails = "boot"
    with pytest.raises(RuntimeError):
        pool.take("a")
    pool.give_back("a", "its test failed")
    assert world.dropped == [("ns-1", "a")]
    assert list(pool._free()) == []


def test_switched_off_every_guest_is_for_one_test(tmp_path: Path, world: World) -> None:
    pool = Pool(tmp_path / "warm", world, keeps=False)
    assert [lend(pool, name) for name in "ab"] == [("ns-1", True), ("ns-2", True)]
    assert world.alive == []


def test_what_cannot_be_taken_away_is_told_as_left_by_its_last_user(pool: Pool, world: World) -> None:
    lend(pool, "a")
    world.fails = "drop"
    assert pool.close() == [("a", "guest of ns-1: a process is left")]
