"""How long tests took before, for the order of this run: from the history, else from the last run's own account."""

import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from cluster_up.paths import state_root

HISTORY = state_root() / "functests.sqlite"          # written by functests.verdict
ACCOUNT = "schedule.json"
_QUERY = "SELECT test, seconds FROM results WHERE outcome = 'passed' ORDER BY started"


def known(artifacts: Path, history: Path = HISTORY) -> dict[str, float]:
    """Seconds by test id, of its last good run; empty on the first run. A file that cannot be read counts as none."""
    found: dict[str, float] = {}
    with suppress(OSError, ValueError, KeyError):
        for run in json.loads((artifacts / ACCOUNT).read_text())["known"].items():
            found[run[0]] = float(run[1])
    with suppress(sqlite3.Error):
        if history.exists():
            with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True, timeout=5)) as db:
                found.update({str(test): float(seconds) for test, seconds in db.execute(_QUERY)})
    return found
