"""A watch against a server that ends it."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kubernetes import client

from functests.libs.rest import Rest
from functests.libs.watch import Watch
from tests.waits import HANG_S


def event(name: str, version: str, kind: str = "ADDED") -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": version}}}


class Server(ThreadingHTTPServer):
    """Each request gets the next of ``streams`` (a status or events) and then its end; the last one stays open."""

    daemon_threads = True

    def __init__(self, streams: list[int | list[dict[str, Any]]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.streams = streams
        self.asked: list[str] = []
        self.over = threading.Event()

    def rest(self) -> Rest:
        settings = client.Configuration(host=f"http://127.0.0.1:{self.server_address[1]}")
        return Rest(client.ApiClient(settings))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.asked.append(self.path)
        stream = server.streams.pop(0)
        status = stream if isinstance(stream, int) else 200
        self.send_response(status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for each in stream if isinstance(stream, list) else []:
            line = json.dumps(each).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()
        if not server.streams:
            server.over.wait(10)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def serving() -> Iterator[list[Server]]:
    servers: list[Server] = []
    yield servers
    for server in servers:
        server.over.set()
        server.shutdown()
        server.server_close()


def started(serving: list[Server], *streams: int | list[dict[str, Any]]) -> Server:
    server = Server(list(streams))
    serving.append(server)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


def test_a_watch_that_the_server_ends_goes_on_after_the_last_event(serving: list[Server]) -> None:
    server = started(serving, [event("a", "7")], 503, [event("a", "9", "MODIFIED")])
    with Watch(server.rest(), "/things") as watch:
        watch.wait_for("the change", lambda kind, _: kind == "MODIFIED", within_s=HANG_S)
        assert [kind for kind, _ in watch.seen("a")] == ["ADDED", "MODIFIED"]
    assert server.asked == ["/things?watch=1", *["/things?watch=1&resourceVersion=7"] * 2]


@pytest.mark.parametrize("end", [410, [event("", "8", "ERROR")]])
def test_a_watch_that_has_missed_something_says_so(serving: list[Server], end: int | list[dict[str, Any]]) -> None:
    server = started(serving, [event("a", "7")], end, [])
    with Watch(server.rest(), "/things") as watch, pytest.raises(AssertionError, match="has ended: LookupError"):
        watch.wait_for("the change", lambda kind, _: kind == "MODIFIED", within_s=HANG_S)


def test_leaving_a_watch_that_has_just_ended_is_no_error(serving: list[Server]) -> None:
    server = started(serving, *[[event("a", "7")]] * 50, [])
    for _ in range(10):
        with Watch(server.rest(), "/things") as watch:
            watch.wait_for("the object", lambda kind, _: kind == "ADDED", within_s=HANG_S)
            watch._answer.close()
