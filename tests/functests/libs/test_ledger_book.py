"""The worker's ledger: what goes away late is no leak, what stays is named, what nobody owns is kept for the end."""

import itertools
from collections.abc import Callable, Iterable

import pytest

from functests.libs import ledger_book, retries
from functests.libs.ledger import Item, Snapshot
from functests.libs.ledger_book import Book, Leak
from functests.libs.ledger_nodes import TornOutput
from functests.libs.rest import AGENT, Rest
from functests.libs.retries import Unanswered

FILE = Item("file", "n1", "/var/run/kubevirt/left")
GROUP = Item("cgroup", "n1", "pod-mine")
UID = "11111111-aaaa-4bbb-8ccc-000000000001"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_book, "SETTLE_S", 0.4)
    monkeypatch.setattr(ledger_book, "CLOSE_S", 0.4)
    monkeypatch.setattr(ledger_book, "LOOK_S", 0.4)
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


def told(book: Book) -> tuple[list[tuple[str, Item]], list[Item]]:
    """What the book says at the end: (test, item) of its leaks, and orphans."""
    debts, orphans = book.close()
    return [(debt.test, debt.item) for debt in debts], [orphan.item for orphan in orphans]


def test_what_goes_from_a_node_late_is_no_leak_and_no_test_waits_for_it() -> None:
    book = Book(looks([], [GROUP], [GROUP], [], owned=True), nothing)
    page = book.open("t1")
    page.claim.uids.add(UID)
    page.close()
    assert page.settled_s == 0
    assert GROUP in book.debts
    book.open("t2").close()
    assert told(book) == ([], [])


def test_what_stays_on_a_node_is_the_leak_of_the_test_that_made_it_not_of_the_last() -> None:
    book = Book(looks([], [GROUP, FILE], [GROUP], owned=True), nothing)
    page = book.open("a.py::t1")
    page.claim.uids.add(UID)
    page.close()
    book.open("a.py::t2").close()
    assert told(book) == ([("a.py::t1", GROUP)], [])


def test_what_stays_in_the_api_fails_the_test_by_name_with_the_history() -> None:
    role = Item("ClusterRole", "api", "left")
    seen = [Snapshot(1.0)]
    page = Book(nothing, lambda: seen[0]).open("a.py::t1")
    seen[0] = Snapshot(2.0, frozenset([role]), {role: Rest.agent})
    with pytest.raises(Leak, match=r"a\.py::t1 left behind") as caught:
        page.close()
    assert "api: ClusterRole left" in str(caught.value)
    assert "seen:" in str(caught.value)


def test_what_goes_from_the_api_late_is_no_leak_and_the_wait_is_known() -> None:
    role = Item("ClusterRole", "api", "left")
    page = Book(nothing, looks([], [role], [role], [])).open("t1", alone=True)
    page.close()
    assert page.settled_s > 0


def test_alone_an_item_without_an_owner_has_one_maker() -> None:
    book = Book(looks([], [FILE]), nothing)
    book.open("t1", alone=True).close()
    assert told(book) == ([("t1", FILE)], [])


def test_beside_others_it_is_kept_with_the_time_of_its_appearance() -> None:
    book = Book(looks([], [FILE]), nothing)
    book.open("t1").close()
    book.open("t2").close()          # it is there before: not t2's
    debts, orphans = book.close()
    assert [(orphan.item, orphan.since) for orphan in orphans] == [(FILE, 1.0)]
    assert orphans[0].until > orphans[0].since
    assert debts == []


def test_an_orphan_that_is_gone_at_the_end_is_forgotten() -> None:
    book = Book(looks([], [FILE], []), nothing)
    book.open("t1").close()
    assert told(book) == ([], [])


def test_an_item_that_shows_its_owner_later_is_nobodys_debt_and_no_orphan() -> None:
    """A process is seen before the kubelet has put it into its pod's cgroup."""
    for alone in (True, False):
        states = [Snapshot(1.0), Snapshot(2.0, frozenset([GROUP])), Snapshot(3.0, frozenset([GROUP]), {GROUP: "other"})]
        book = Book(lambda left=states: left.pop(0) if len(left) > 1 else left[0], nothing)  # type: ignore[misc]
        book.open("t1", alone=alone).close()
        assert told(book) == ([], [])


def test_a_serial_test_does_not_answer_for_what_came_between_this_workers_tests() -> None:
    book = Book(looks([], [], [FILE], [FILE]), nothing)
    book.open("t1").close()
    book.open("serial", alone=True).close()
    assert told(book) == ([], [])


def test_a_namespace_that_the_tests_client_made_is_its_own() -> None:
    space = Item("Namespace", "api", "made-by-hand")
    seen = [Snapshot(1.0)]
    page = Book(nothing, lambda: seen[0]).open("t1")
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
    book = Book(nothing, lambda: states[0])
    page = book.open("a.py::t1")
    page.own("ft-1")
    states[0] = Snapshot(2.0, frozenset([volume]), {volume: "ft-1"}, follows=frozenset([volume]))
    page.close()
    states[0] = Snapshot(3.0, frozenset([volume]), {volume: "ft-1"})
    assert told(book) == ([("a.py::t1", volume)], [])


def failing(*answers: Snapshot | Exception) -> Callable[[], Snapshot]:
    left = [*answers]

    def look() -> Snapshot:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look


def test_a_look_that_was_cut_off_is_had_again_and_the_cause_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(ledger_book, "LOOK_S", 60.0)
    retries.noted()
    faults = (Unanswered("the API server answered 500"), TornOutput("cut off"))
    book = Book(nothing, failing(Snapshot(1.0), *faults, Snapshot(2.0)))
    book.open("t1").close()
    assert retries.noted() == [
        "the ledger's look: Unanswered: the API server answered 500", "the ledger's look: TornOutput: cut off"]


def test_a_look_that_cannot_be_had_is_the_tests_error_with_what_was_wrong() -> None:
    page = Book(nothing, failing(Snapshot(1.0), Unanswered("the API server answered 503"))).open("t1")
    with pytest.raises(Unanswered, match="503"):
        page.close()


def test_no_look_at_the_end_is_no_error_of_the_last_test_and_what_was_seen_is_told() -> None:
    mine = Snapshot(2.0, frozenset([GROUP]), {GROUP: UID})
    book = Book(failing(Snapshot(1.0), mine, RuntimeError("no node answers")), nothing)
    page = book.open("a.py::t1")
    page.claim.uids.add(UID)
    page.close()
    assert told(book) == ([("a.py::t1", GROUP)], [])
    assert book.blind == "RuntimeError: no node answers"
