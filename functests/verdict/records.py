"""What a run was, as data: one record per test, what was seen of guests and nodes, and what follows from it.

Everything that is written (verdict.json, the page, JUnit, the summary) is made from :class:`Verdict` alone.
"""

from collections.abc import Mapping

import msgspec

PASSED, FAILED, SKIPPED, LEAKED, CRASHED, LOST = "passed", "failed", "skipped", "leaked", "crashed", "lost"
BAD = (FAILED, LEAKED, CRASHED, LOST)
BORROWED, BOOTED = "borrowed", "booted"


class Test(msgspec.Struct, frozen=True, kw_only=True):
    """``outcome``: leaked means that the test itself passed; crashed that its worker died; lost that nobody ran it."""

    __test__ = False        # no pytest class

    id: str
    outcome: str
    case: str = ""
    seconds: float = 0.0            # setup, call and teardown
    started: float = 0.0            # seconds since 1970
    worker: str = ""
    reason: str = ""                # why it was skipped
    error: str = ""                 # of a test that is not good: the whole text
    headline: str = ""
    leak: str = ""                  # what the ledger found, also of a test that failed
    fingerprint: str = ""
    seen_before: int = 0            # earlier runs with this fingerprint
    retries: tuple[str, ...] = ()   # the named cause of each
    runs: int = 1                   # how often it was really run
    evidence: str = ""              # folder, relative to the verdict's
    boots: tuple[float, ...] = ()   # seconds from creating a guest to its shell
    warm: str = ""                  # BORROWED or BOOTED: its guest came from the pool, or it filled the pool
    changed: str = ""               # how it left that guest, which nobody had after it
    ledger_s: float = 0.0
    settled_s: float = 0.0


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """A VMI as the sampler saw it. Times are seconds since 1970; ``last_seen`` before it had ended."""

    name: str
    namespace: str
    node: str = ""
    vcpus: int = 1
    created: float = 0.0
    running: float = 0.0
    last_seen: float = 0.0


class Memory(msgspec.Struct, frozen=True):
    at: float
    node: str
    mib: float


class Flake(msgspec.Struct, frozen=True):
    """``mixed``: good and bad at the same revision of the source."""

    test: str
    bad: int
    runs: int
    mixed: bool

    @property
    def rate(self) -> float:
        return self.bad / self.runs if self.runs else 0.0


class Orphan(msgspec.Struct, frozen=True):
    """Something left by one of ``tests``, which ran side by side when it appeared."""

    item: str
    tests: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    schema: int = 1
    run: str
    started: float
    seconds: float
    exit_status: int
    cluster: str = ""
    revision: str = ""
    workers: int = 1
    command: str = ""
    tests: tuple[Test, ...] = ()
    collect_errors: Mapping[str, str] = {}
    orphans: tuple[Orphan, ...] = ()
    guests: tuple[Guest, ...] = ()
    memory: tuple[Memory, ...] = ()
    sampling: str = ""              # why nothing was sampled
    faults: tuple[str, ...] = ()    # of the run itself: why it is not good although its tests may be
    flakes: tuple[Flake, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, *outcomes: str) -> list[Test]:
        return [test for test in self.tests if test.outcome in outcomes]

    @property
    def saved(self) -> int:
        """Boots that the pool saved: each test that borrowed a guest would have booted one."""
        return sum(test.warm == BORROWED for test in self.tests)

    @property
    def good(self) -> bool:
        return self.exit_status == 0
