"""How long tests took before, for the order of this run: from the history, else from the last run's own account."""

import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

HISTORY = "history.sqlite"
ACCOUNT = "schedule.json"
_QUERY = "SELECT test, seconds FROM durations"


def known(artifacts: Path) -> dict[str, float]:
    """Seconds by test id; empty on the first run. A file that cannot be read counts as none."""
    found: dict[str, float] = {}
    with suppress(OSError, ValueError, KeyError):
        for run in json.loads((artifacts / ACCOUNT).read_text())["known"].items():
            found[run[0]] = float(run[1])
    with suppress(sqlite3.Error):
        if (artifacts / HISTORY).exists():
            with closing(sqlite3.connect(f"file:{artifacts / HISTORY}?mode=ro", uri=True)) as history:
                found.update({str(test): float(seconds) for test, seconds in history.execute(_QUERY)})
    return found
