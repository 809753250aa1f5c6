"""The ledger of one worker: looks before and after each test, waits for what settles, and names what was left.

kubelet and containerd take cgroups, mounts and network namespaces away a moment after the API has forgotten a pod, so
what a test seems to leave gets a bounded wait, and the history of that wait is in the error. Items that show no owner
while other tests run are kept for the end of the run: what is still there then goes to the controller with the time in
which it appeared (``Book.close``).
"""

import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from functests.libs import ledger_api, ledger_nodes
from functests.libs.ledger import Claim, Item, Left, Snapshot, judge, sentence
from functests.libs.nodes import Nodes
from functests.libs.rest import AGENT, Rest, core_path
from virt.base import waiting

SETTLE_S = 25.0
CLOSE_S = 60.0


def is_on() -> bool:
    """Off by default: it has not run around a whole suite without a false alarm yet."""
    return os.environ.get("FUNCTEST_LEDGER") == "1"


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
    """``nodes`` and ``api`` look at their side. ``alone``: no other worker runs tests, so a new item has one maker."""

    nodes: Look
    api: Look
    alone: bool = True
    orphans: dict[Item, Orphan] = field(default_factory=dict)
    following: dict[Item, str] = field(default_factory=dict)      # item -> the test whose namespace it goes with
    beside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(2, "ledger"))
    notes: "list[Future[Snapshot]]" = field(default_factory=list)
    _run: str = field(default_factory=lambda: os.environ.get("PYTEST_XDIST_TESTRUNUID", secrets.token_hex(4))[:8])
    _worker: str = field(default_factory=lambda: os.environ.get("PYTEST_XDIST_WORKER", "main"))
    _pages: int = 0
    _last: Snapshot | None = None

    def look(self) -> Snapshot:
        nodes = self.beside.submit(self.nodes)
        return self.api() + nodes.result()

    def keep(self, seen: Snapshot) -> Snapshot:
        self._last = seen
        return seen

    def open(self, test: str, *, alone: bool = False) -> "Page":
        """Before a test: from here on what its client writes carries the test's mark."""
        self._pages += 1
        Rest.agent = f"{AGENT}-{self._run}-{self._worker}-{self._pages}"
        started = time.monotonic()
        # The last test's end is this one's beginning: what came in between is not a test's of this worker.
        before = self._last or self.look()
        page = Page(self, test, before, Claim(agent=Rest.agent), alone=alone or self.alone)
        page.looked_s = time.monotonic() - started
        return page

    def close(self) -> list[Orphan]:
        """At the end of the run: what nobody could be told to have left, and is still there. Raises for the rest."""
        Rest.agent = AGENT
        waited = {*self.orphans, *self.following}
        if not waited:
            return []
        left = _settled("what had no owner or went with its namespace is gone", waited, self.look, CLOSE_S)[0]
        late = {item: test for item, test in self.following.items() if item in left}
        if late:
            lines = "\n".join(f"  {item}, of {test}" for item, test in sorted(late.items()))
            raise Leak(f"namespaces are gone, and these are still there after {CLOSE_S:.0f} s:\n{lines}")
        return [orphan for item, orphan in self.orphans.items() if item in left]


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
        self.book.notes.append(self.book.beside.submit(self.book.nodes))
        for plural in ("events", "pods"):
            for item in rest.get(core_path(plural, namespace)).ok()["items"]:
                self.claim.uids.add(str(item.get("involvedObject", item["metadata"]).get("uid", "")))
        self.claim.uids.discard("")
        self.looked_s += time.monotonic() - started

    def close(self) -> None:
        """After the test: raises Leak with all that it left."""
        started = time.monotonic()
        while self.book.notes:
            self.claim.learn(self.book.notes.pop().result())
        after = self.book.keep(self.book.look())
        self.looked_s += time.monotonic() - started
        left = self._judge(after)
        for item in after.follows & after.items - self.before.items:
            if self.claim.has(after.owners.get(item, "")):
                self.book.following[item] = self.test
        # An orphan may be a neighbour's that is just being cleared away; it is looked for again at the end.
        waited = left.mine | left.unclear if self.alone else left.mine
        if not self.alone:
            self._keep(left.unclear, time.time())
        if not waited:
            return
        started = time.monotonic()
        api = any(item.where == "api" for item in waited)
        nodes = any(item.where != "api" for item in waited)
        look = self.book.look if api and nodes else self.book.api if api else self.book.nodes
        stayed, history = _settled(f"{self.test} leaves nothing behind", waited, look, SETTLE_S)
        self.settled_s = time.monotonic() - started
        if stayed:
            raise Leak(f"{self.test} left behind, {SETTLE_S:.0f} s after its end:\n{sentence(stayed)}\n\n{history}")

    def _judge(self, after: Snapshot) -> Left:
        """A namespace that this test's client made is this test's, and so is what is in it."""
        mine = [item.name for item, owner in after.owners.items() if item.kind == "Namespace"
                and owner == self.claim.agent]
        self.claim.namespaces.update(mine)
        self.claim.learn(after)
        return judge(self.before, after, self.claim)

    def _keep(self, unclear: frozenset[Item], until: float) -> None:
        for item in unclear:
            self.book.orphans.setdefault(item, Orphan(item, self.before.at, until))


def _settled(what: str, waited: "set[Item] | frozenset[Item]", look: Look, within_s: float) -> tuple[list[Item], str]:
    """What of ``waited`` is still there when the time is up, and the history of the wait."""

    def observe() -> list[Item]:
        seen = look()
        return sorted(waited & seen.items - seen.follows)

    last: list[Item] = []

    def gone(left: list[Item]) -> bool:
        last[:] = left
        return not left

    try:
        waiting.wait_for(observe, gone, deadline_s=within_s, every_s=0.3, what=what)
    except waiting.WaitTimeout as error:
        return last, str(error)
    return [], ""


def book_of(nodes: Nodes, rest: Rest, *, alone: bool) -> Book:
    """The book of a cluster. Its threads end with the process."""
    side, pool = ThreadPoolExecutor(8, "ledger-nodes"), ThreadPoolExecutor(5, "ledger-api")
    return Book(lambda: ledger_nodes.look(nodes, side), lambda: ledger_api.look(rest, pool), alone=alone)
