"""A watch opened before the action, for states that may be too short to be seen by asking.

Everything the API server sends is kept in order; tests look at the whole history afterwards.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from functests.libs.rest import Rest

Object = Mapping[str, Any]


class Watch:
    """Context manager around one watch of the collection at ``path`` (all objects that exist come first, as ADDED)."""

    def __init__(self, rest: Rest, path: str) -> None:
        self._history: list[tuple[str, Object]] = []
        self._news = threading.Condition()
        settings = rest.api.configuration
        headers = {"Accept": "application/json", **rest.identity()}
        query = "&" if "?" in path else "?"
        self._answer = rest.api.rest_client.pool_manager.request(
            "GET", f"{settings.host}{path}{query}watch=1", headers=headers, preload_content=False, retries=False
        )
        assert self._answer.status == 200, f"watch of {path}: {self._answer.status}"
        self._thread = threading.Thread(target=self._read, daemon=True, name=f"watch-{path}")
        self._thread.start()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._answer.shutdown()         # wakes the reader, which close() would wait for
        self._thread.join(10)
        self._answer.close()

    def _read(self) -> None:
        rest = b""
        try:
            for chunk in self._answer.stream(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                events = [json.loads(line) for line in lines if line.strip()]
                with self._news:
                    self._history += [(event["type"], event["object"]) for event in events]
                    self._news.notify_all()
        except Exception:  # noqa: BLE001 - closing the answer ends the reader in whatever way the library chooses
            return

    def seen(self, name: str = "") -> list[tuple[str, Object]]:
        """All events so far, of the object ``name`` only when given."""
        with self._news:
            return [event for event in self._history if name in ("", event[1]["metadata"]["name"])]

    def wait_for(self, what: str, matches: Callable[[str, Object], bool], *, within_s: float) -> Object:
        """The first object whose event matches, from the beginning of the watch on."""
        deadline = time.monotonic() + within_s
        with self._news:
            checked = 0
            while True:
                for event in self._history[checked:]:
                    checked += 1
                    if matches(*event):
                        return event[1]
                left = deadline - time.monotonic()
                if left <= 0:
                    last = json.dumps(self._history[-1], indent=1)[:3000] if self._history else "nothing"
                    raise AssertionError(f"watch: {what}: not seen in {within_s:.0f} s; the last of {checked}: {last}")
                self._news.wait(left)
