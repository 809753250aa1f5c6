"""The ledger of one worker: looks before and after each test, and names what was left.

The kubelet and containerd take cgroups, mounts, folders and network namespaces away a moment after the API has
forgotten a pod. No test pays for that: what it has left on a node is written down as its debt, each later look of the
worker strikes out what is gone, and what is still there at the end of the run is that test's leak (``Book.close``).
What it has left in the API gets a bounded wait at once, and fails it. Items that show no owner while other tests run go
to the controller at the end with the time in which they appeared.

Nothing is raised at the end of the run: pytest would show it as an error of whichever test happened to be the last.
"""

import os
import secrets
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from urllib3.exceptions import HTTPError

from functests.libs import cluster as clusters
from functests.libs import ledger_api, ledger_nodes, retries
from functests.libs.ledger import Claim, Debt, Item, Left, Snapshot, judge, sentence
from functests.libs.ledger_nodes import TornOutput
from functests.libs.nodes import NodeCommandError, Nodes
from functests.libs.rest import AGENT, Rest, core_path
from virt.base import waiting

CUT_OFF = (NodeCommandError, TornOutput, HTTPError)
LOOK_S = 60.0           # for one look, where an engine or the API server does not answer at once
SETTLE_S = 60.0         # real seconds, so that also a machine that stands still for some has time
CLOSE_S = 180.0


def is_on() -> bool:
    return os.environ.get("FUNCTEST_LEDGER") != "0"


class Leak(AssertionError):
    """The test left something behind."""


@dataclass(frozen=True)
class Orphan:
    """An item without an owner, and when it appeared: after ``since``, not later than ``until``."""

    item: Item
    since: float
    until: float


Look = Callable[[], Snapshot]


@dataclass
class Book:
    """``nodes`` and ``api`` look at their side. ``blind``: why the last look of the run could not be had, "" when it
    could."""

    nodes: Look
    api: Look
    debts: dict[Item, Debt] = field(default_factory=dict)
    orphans: dict[Item, Orphan] = field(default_factory=dict)
    beside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "ledger"))
    notes: "list[Future[Snapshot]]" = field(default_factory=list)
    blind: str = ""
    _run: str = field(default_factory=lambda: os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex(4))[:8])
    _worker: str = field(default_factory=lambda: os.environ.get("PYTEST_XDIST_WORKER", "main"))
    _pages: int = 0
    _last: Snapshot | None = None

    def look(self) -> Snapshot:
        """Both sides. What was cut off is looked at again; raises what it was after LOOK_S."""
        seen = _looked(self._both)
        self._settle(seen)
        return seen

    def _both(self) -> Snapshot:
        nodes = self.beside.submit(self.nodes)
        return self.api() + nodes.result()

    def _settle(self, seen: Snapshot) -> None:
        self.debts = {item: debt for item, debt in self.debts.items() if not debt.is_paid(seen)}
        # One that shows an owner by now is a living pod's, or judged as what it is by the test that has it.
        self.orphans = {
            item: orphan for item, orphan in self.orphans.items() if item in seen.items and not seen.owners.get(item)
        }

    def keep(self, seen: Snapshot) -> Snapshot:
        self._last = seen
        return seen

    def open(self, test: str, *, alone: bool = False) -> "Page":
        """Before a test: from here on what its client writes carries the test's mark.

        ``alone``: it has the cluster for itself, so a new item has one maker, whoever else is about; then the look
        before it must be a new one. Otherwise the worker's last one will do: owners tell what is the neighbours'.
        """
        self._pages += 1
        Rest.agent = f"{AGENT}-{self._run}-{self._worker}-{self._pages}"
        started = time.monotonic()
        before = self.look() if alone or self._last is None else self._last
        page = Page(self, test, before, Claim(agent=Rest.agent), alone=alone)
        page.looked_s = time.monotonic() - started
        return page

    def close(self) -> tuple[list[Debt], list[Orphan]]:
        """At the end of the worker: debts that were never paid, and what nobody could be told to have left.

        Orphans are not waited for: they may be a neighbour's that still runs (``still_there`` looks again).
        """
        Rest.agent = AGENT
        if self.debts or self.orphans:

            def left() -> list[Item]:
                try:
                    self._settle(self._both())
                    self.blind = ""
                except Exception as error:  # noqa: BLE001 - here it would be an error of the worker's last test
                    self.blind = retries.first_line(error)
                return sorted(self.debts)

            _wait("what tests have left is gone", left, CLOSE_S, every_s=2.0)
        return list(self.debts.values()), list(self.orphans.values())


@dataclass
class Page:
    """One test's. ``looked_s`` is what the ledger cost, ``settled_s`` what it waited for things to go away."""

    book: Book
    test: str
    before: Snapshot
    claim: Claim
    alone: bool
    looked_s: float = 0.0
    settled_s: float = 0.0

    def own(self, namespace: str) -> None:
        self.claim.namespaces.add(namespace)

    def note(self, rest: Rest, namespace: str) -> None:
        """While the namespace is still full: UIDs of its objects, also of those that are gone, from its events.

        Nodes are looked at too, since owners show only while their pods live; the look goes on beside the deletion.
        """
        started = time.monotonic()
        self.book.notes.append(self.book.beside.submit(_looked, self.book.nodes))
        for plural in ("events", "pods"):
            for item in rest.items(core_path(plural, namespace)):
                self.claim.uids.add(str(item.get("involvedObject", item["metadata"]).get("uid", "")))
        self.claim.uids.discard("")
        self.looked_s += time.monotonic() - started

    def close(self) -> None:
        """After the test: raises Leak with all that it left in the API, and writes down what it left on nodes."""
        started = time.monotonic()
        while self.book.notes:
            self.claim.learn(self.book.notes.pop().result())
        after = self.book.keep(self.book.look())
        left = self._judge(after)
        follows = {
            item for item in after.follows & after.items - self.before.items
            if self.claim.has(after.owners.get(item, ""))
        }
        found = left.mine | left.unclear if self.alone else left.mine
        at_once = {item for item in found if item.where == "api"}
        for item in (found - at_once) | follows:
            self.book.debts[item] = Debt(item, self.test, self.claim)
        if not self.alone:
            for item in left.unclear:
                self.book.orphans.setdefault(item, Orphan(item, self.before.at, time.time()))
        self.looked_s += time.monotonic() - started
        if at_once:
            self._settle(at_once)

    def _settle(self, waited: set[Item]) -> None:
        started = time.monotonic()

        def left() -> list[Item]:
            seen = _looked(self.book.api)
            return sorted(waited & seen.items - seen.follows)

        stayed, history = _wait(f"{self.test} leaves nothing behind", left, SETTLE_S)
        self.settled_s = time.monotonic() - started
        if stayed:
            raise Leak(f"{self.test} left behind, {SETTLE_S:.0f} s after its end:\n{sentence(stayed)}\n\n{history}")

    def _judge(self, after: Snapshot) -> Left:
        """A namespace that this test's client made is this test's, and so is what is in it."""
        mine = [item.name for item, owner in after.owners.items() if item.kind == "Namespace"
                and owner == self.claim.agent]
        self.claim.namespaces.update(mine)
        return judge(self.before, after, self.claim)


def _looked(look: Look) -> Snapshot:
    return retries.again("the ledger's look", look, of=CUT_OFF, within_s=LOOK_S)


def _wait(
    what: str, left: Callable[[], list[Item]], within_s: float, *, every_s: float = 0.3
) -> tuple[list[Item], str]:
    """What is still left when the time is up, and the history of the wait."""
    last: list[Item] = []

    def is_empty(items: list[Item]) -> bool:
        last[:] = items
        return not items

    try:
        waiting.wait_for(left, is_empty, deadline_s=within_s, every_s=every_s, what=what)
    except waiting.WaitTimeout as error:
        return last, str(error)
    return [], ""


def book_of(nodes: Nodes, rest: Rest) -> Book:
    """The book of a cluster. Its threads end with the process."""
    side, pool = ThreadPoolExecutor(8, "ledger-nodes"), ThreadPoolExecutor(5, "ledger-api")
    return Book(lambda: ledger_nodes.look(nodes, side), lambda: ledger_api.look(rest, pool))


def still_there(orphans: Collection[str]) -> set[str]:
    """Which of these items, as texts, are there and without an owner when the run is over; waits for them to go."""
    cluster = clusters.load()
    book = book_of(Nodes(cluster), Rest(cluster.api))
    wanted = set(orphans)

    def left() -> list[Item]:
        seen = book.look()
        return sorted(item for item in seen.items if str(item) in wanted and not seen.owners.get(item))

    return {str(item) for item in _wait("what shows no owner is gone", left, CLOSE_S, every_s=2.0)[0]}
