"""All runs on this machine, in one SQLite file beside the clusters' state: is a failure new, which tests flake.

The file outlives clusters and work trees. Runs on different clusters write to it at the same time; each writes once.
"""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

import msgspec

from cluster_up.paths import state_root
from functests.verdict.records import BAD, PASSED, Flake, Test, Verdict

VARIABLE = "FUNCTEST_HISTORY"
WINDOW = 200            # executions of a test that its rate is made of
FLAKE_RATE = 0.01
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, started REAL, seconds REAL, cluster TEXT, revision TEXT, exit_status INTEGER
);
CREATE TABLE IF NOT EXISTS results (
    run TEXT, test TEXT, case_id TEXT, outcome TEXT, seconds REAL, started REAL, revision TEXT,
    fingerprint TEXT, headline TEXT, PRIMARY KEY (run, test)
);
CREATE INDEX IF NOT EXISTS results_by_test ON results (test, started);
CREATE INDEX IF NOT EXISTS results_by_fingerprint ON results (fingerprint);
"""


class Red(msgspec.Struct, frozen=True):
    """The last time that a case was not good."""

    case: str
    test: str
    started: float
    revision: str
    outcome: str
    headline: str


def file() -> Path:
    """FUNCTEST_HISTORY names another file, for runs whose results say nothing about the project (tests/mutations)."""
    return Path(os.environ.get(VARIABLE) or state_root() / "functests.sqlite")


class History:
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with closing(self._open()) as db:
            db.executescript(_SCHEMA)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=20)

    def seen(self, fingerprints: Iterable[str]) -> Mapping[str, int]:
        """How many earlier runs had a failure with that fingerprint."""
        with closing(self._open()) as db:
            return {
                word: db.execute(
                    "SELECT count(DISTINCT run) FROM results WHERE fingerprint = ?", (word,)
                ).fetchone()[0]
                for word in set(fingerprints)
            }

    def add(self, verdict: Verdict) -> None:
        run = (verdict.run, verdict.started, verdict.seconds, verdict.cluster, verdict.revision, verdict.exit_status)
        rows = [
            (verdict.run, test.id, test.case, test.outcome, test.seconds, test.started or verdict.started,
             verdict.revision, test.fingerprint, test.headline[:500])
            for test in verdict.tests
        ]
        with closing(self._open()) as db, db:
            db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", run)
            db.executemany("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def flakes(self, tests: Iterable[Test]) -> list[Flake]:
        """Those of ``tests`` that were bad more often than the bar allows, worst first.

        Skipped runs do not count, and a test that was never good is broken, not flaking.
        """
        counted = (PASSED, *BAD)
        places = ",".join("?" * len(counted))
        found = []
        with closing(self._open()) as db:
            for test in tests:
                rows = db.execute(
                    f"SELECT outcome, revision FROM results WHERE test = ? AND outcome IN ({places})"
                    " ORDER BY started DESC LIMIT ?",
                    (test.id, *counted, WINDOW),
                ).fetchall()
                bad = [revision for outcome, revision in rows if outcome in BAD]
                good = {revision for outcome, revision in rows if outcome not in BAD}
                flake = Flake(test.id, len(bad), len(rows), mixed=any(revision in good for revision in bad))
                if good and flake.rate > FLAKE_RATE:
                    found.append(flake)
        return sorted(found, key=lambda flake: (-flake.rate, flake.test))

    def outcomes(self, revision: str) -> Mapping[str, str]:
        """By test: how its last run at that revision of the source ended."""
        with closing(self._open()) as db:
            rows = db.execute("SELECT test, outcome FROM results WHERE revision = ? ORDER BY started", (revision,))
            return dict(rows.fetchall())

    def cases(self) -> tuple[Mapping[str, float], Mapping[str, Red]]:
        """By catalogue id: when it was last good, and the last time it was not. A test may stand for several."""
        with closing(self._open()) as db:
            good = db.execute(
                "SELECT case_id, max(started) FROM results WHERE outcome = ? AND case_id != '' GROUP BY case_id",
                (PASSED,),
            ).fetchall()
            rows = db.execute(
                f"SELECT case_id, test, max(started), revision, outcome, headline FROM results"
                f" WHERE case_id != '' AND outcome IN ({','.join('?' * len(BAD))}) GROUP BY case_id",
                BAD,
            ).fetchall()
        times: dict[str, float] = {}
        for ids, started in good:
            times |= {case: max(started, times.get(case, 0.0)) for case in ids.split()}
        reds: dict[str, Red] = {}
        for ids, *told in sorted(rows, key=lambda row: float(row[2])):
            reds |= {case: Red(case, *told) for case in ids.split()}
        return times, reds
