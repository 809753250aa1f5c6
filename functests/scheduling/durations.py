"""How long tests took before, for the order of this run: from the history, else from the last run's own account."""

import json
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from cluster_up.paths import state_root

HISTORY = state_root() / "functests.sqlite"          # written by functests.verdict
ACCOUNT = "schedule.json"
_QUERY = "SELECT test, seconds FROM results WHERE outcome = 'passed' ORDER BY started"


def known(artifacts: Path, history: Path = HISTORY) -> dict[str, float]:
    """Seconds by test id, of its last good run; empty on the first run. A file that cannot be read counts as none."""
    found: dict[str, float] = {}
    with suppress(OSError, ValueError, KeyError):
        found.update({str(test): float(seconds) for test, seconds in _account(artifacts)["known"].items()})
    with suppress(sqlite3.Error):
        if history.exists():
            with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True, timeout=5)) as db:
                found.update({str(test): float(seconds) for test, seconds in db.execute(_QUERY)})
    return found


def _account(artifacts: Path) -> dict[str, Any]:
    return dict(json.loads((artifacts / ACCOUNT).read_text()))


def booted(artifacts: Path) -> dict[str, int]:
    """How many guests each test booted when it last passed here."""
    with suppress(OSError, ValueError, KeyError):
        return {str(test): int(count) for test, count in _account(artifacts)["booted"].items()}
    return {}
