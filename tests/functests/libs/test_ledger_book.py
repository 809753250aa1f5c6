"""The worker's ledger: what settles is no leak, what stays is named, what nobody owns is kept for the end."""

import itertools
from collections.abc import Callable, Iterable

import pytest

from functests.libs import ledger_book
from functests.libs.ledger import Item, Snapshot
from functests.libs.ledger_book import Book, Leak
from functests.libs.rest import AGENT, Rest

FILE = Item("file", "n1", "/var/run/kubevirt/left")
GROUP = Item("cgroup", "n1", "pod-mine")
UID = "11111111-aaaa-4bbb-8ccc-000000000001"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_book, "SETTLE_S", 0.4)
    monkeypatch.setattr(ledger_book, "CLOSE_S", 0.4)
    monkeypatch.setattr(Rest, "agent", AGENT)


def looks(*states: Iterable[Item], owned: bool = False) -> Callable[[], Snapshot]:
    """One state after the other; the last one stays."""
    numbers = itertools.count(1)

    def look() -> Snapshot:
        number = next(numbers)
        items = frozenset(states[min(number, len(states)) - 1])
        return Snapshot(float(number), items, dict.fromkeys(items, UID) if owned else {})

    return look


def nothing() -> Snapshot:
    return Snapshot(1.0)


def test_what_goes_away_late_is_no_leak_and_the_wait_is_known() -> None:
    book = Book(looks([], [GROUP], [GROUP], [], owned=True), nothing)
    page = book.open("t1")
    page.claim.uids.add(UID)
    page.close()
    assert page.settled_s > 0
    assert page.looked_s >= 0


def test_what_stays_fails_the_test_by_name_with_the_history() -> None:
    book = Book(looks([], [GROUP, FILE], [GROUP], owned=True), nothing)
    page = book.open("a.py::t1")
    page.claim.uids.add(UID)
    with pytest.raises(Leak, match=r"a\.py::t1 left behind") as caught:
        page.close()
    assert "n1: cgroup pod-mine" in str(caught.value)
    assert "seen:" in str(caught.value)


def test_alone_an_item_without_an_owner_has_one_maker() -> None:
    page = Book(looks([], [FILE]), nothing, alone=True).open("t1")
    with pytest.raises(Leak, match="/var/run/kubevirt/left"):
        page.close()


def test_beside_others_it_is_kept_with_the_time_of_its_appearance() -> None:
    book = Book(looks([], [FILE]), nothing, alone=False)
    book.open("t1").close()
    book.open("t2").close()          # it is there before: not t2's
    orphans = book.close()
    assert [(orphan.item, orphan.since) for orphan in orphans] == [(FILE, 1.0)]
    assert orphans[0].until > orphans[0].since


def test_an_orphan_that_is_gone_at_the_end_is_forgotten() -> None:
    book = Book(looks([], [FILE], []), nothing, alone=False)
    book.open("t1").close()
    assert book.close() == []


def test_a_serial_test_is_alone_whatever_the_workers() -> None:
    page = Book(looks([], [FILE]), nothing, alone=False).open("t1", alone=True)
    with pytest.raises(Leak):
        page.close()


def test_a_namespace_that_the_tests_client_made_is_its_own() -> None:
    space = Item("Namespace", "api", "made-by-hand")
    seen = [Snapshot(1.0)]
    page = Book(nothing, lambda: seen[0], alone=False).open("t1")
    seen[0] = Snapshot(2.0, frozenset([space]), {space: Rest.agent})
    with pytest.raises(Leak, match="Namespace made-by-hand"):
        page.close()


def test_each_test_writes_under_its_own_name() -> None:
    book = Book(nothing, nothing)
    first = book.open("t1").claim.agent
    assert first != book.open("t2").claim.agent == Rest.agent
    assert first.startswith(AGENT)


def test_what_should_go_with_a_namespace_and_does_not_is_said_at_the_end() -> None:
    volume = Item("PersistentVolume", "api", "pv-1")
    states = [Snapshot(1.0)]
    book = Book(nothing, lambda: states[0], alone=False)
    page = book.open("a.py::t1")
    page.own("ft-1")
    states[0] = Snapshot(2.0, frozenset([volume]), {volume: "ft-1"}, follows=frozenset([volume]))
    page.close()
    states[0] = Snapshot(3.0, frozenset([volume]), {volume: "ft-1"})
    with pytest.raises(Leak, match=r"PersistentVolume pv-1, of a\.py::t1"):
        book.close()
