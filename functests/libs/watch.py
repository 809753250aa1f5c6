"""A watch opened before the action, for states that may be too short to be seen by asking.

Everything the API server sends is kept in order; tests look at the whole history afterwards.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import urllib3

from functests.libs.rest import Rest
from functests.libs.showing import shown

Object = Mapping[str, Any]
AGAIN_S = 0.1
GONE = 410                      # the API server no longer knows what came after the last event


class Watch:
    """Context manager around one watch of the collection at ``path`` (all objects that exist come first, as ADDED).

    The API server ends a watch when it likes, for instance some time after the definition of a kind was changed: then
    this one goes on from the last event. What cannot be gone on from is an AssertionError of whoever looks.
    """

    def __init__(self, rest: Rest, path: str) -> None:
        self._history: list[tuple[str, Object]] = []
        self._news = threading.Condition()
        self._rest, self._path = rest, path
        self._closing = threading.Event()
        self._lost = ""
        self._answer = self._opened()
        assert self._answer.status == 200, f"watch of {path}: {self._answer.status}"
        self._thread = threading.Thread(target=self._follow, daemon=True, name=f"watch-{path}")
        self._thread.start()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        # Wakes the reader, which close() would wait for. Where the server has just ended the stream nobody sleeps.
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self._answer.shutdown()
        self._thread.join(10)
        self._answer.close()

    def _opened(self) -> urllib3.BaseHTTPResponse:
        """From the last event on, or from the beginning."""
        settings = self._rest.api.configuration
        version = self._history[-1][1]["metadata"]["resourceVersion"] if self._history else ""
        query = f"watch=1{f'&resourceVersion={version}' if version else ''}"
        url = f"{settings.host}{self._path}{'&' if '?' in self._path else '?'}{query}"
        headers = {"Accept": "application/json", **self._rest.identity()}
        pool: urllib3.PoolManager = self._rest.api.rest_client.pool_manager
        return pool.request("GET", url, headers=headers, preload_content=False, retries=False)

    def _follow(self) -> None:
        try:
            while not self._closing.is_set():
                # The reader must see either the end or a stream that __exit__ can wake: so it is kept first.
                with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
                    self._read()
                self._answer.close()
                if not self._closing.wait(AGAIN_S):
                    with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):     # the server may be away
                        self._answer = self._opened()
        except Exception as error:  # noqa: BLE001 - of a thread: told by whoever looks next
            if not self._closing.is_set():
                with self._news:
                    self._lost = f"watch of {self._path} has ended: {type(error).__name__}: {error}"
                    self._news.notify_all()

    def _read(self) -> None:
        if self._answer.status == GONE:
            raise LookupError(self._answer.data.decode(errors="replace")[:500])
        if self._answer.status != 200:
            return
        rest = b""
        for chunk in self._answer.stream(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            events = [json.loads(line) for line in lines if line.strip()]
            for event in events:
                if event["type"] == "ERROR":
                    raise LookupError(json.dumps(event["object"])[:500])
            with self._news:
                self._history += [(event["type"], event["object"]) for event in events]
                self._news.notify_all()

    def seen(self, name: str = "") -> list[tuple[str, Object]]:
        """All events so far, of the object ``name`` only when given."""
        with self._news:
            assert not self._lost, self._lost
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
                assert not self._lost, self._lost
                left = deadline - time.monotonic()
                if left <= 0:
                    last = "nothing"
                    if self._history:
                        kind, changed = self._history[-1]
                        last = f"{kind} {shown(changed)[:3000]}"
                    raise AssertionError(f"watch: {what}: not seen in {within_s:.0f} s; the last of {checked}: {last}")
                self._news.wait(left)
