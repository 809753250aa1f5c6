"""The cluster command where something of its own is broken: the engine, the state file."""

import json
import shutil
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from cluster_up import state as states
from cluster_up.exec import Result
from functests.libs import commands, patience
from functests.libs.cluster import Cluster
from functests.libs.nodes import Nodes
from functests.libs.stack import Stack


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """An environment whose state and cache folders are empty ones of the test."""
    return {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def _serving(handler: type[socketserver.BaseRequestHandler], path: Path) -> Iterator[str]:
    """A server on a socket of that path; gives the address as DOCKER_HOST takes it."""
    with _Server(str(path), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            thread.join(10)


class _Silent(socketserver.BaseRequestHandler):
    """Takes a connection and never answers."""

    def handle(self) -> None:
        while self.request.recv(4096):
            pass


class _Engine(BaseHTTPRequestHandler):
    """An engine's first answers. ``info`` is what it says of itself; a status above 299 goes to every question."""

    info: dict[str, Any] = {}
    status = 200

    def _answer(self) -> None:
        body = json.dumps(self.info).encode()
        self.send_response(self.status)
        self.send_header("Api-Version", "1.41")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = _answer

    def address_string(self) -> str:
        return "docker"

    def log_message(self, *_: object) -> None:
        pass


class _Old(_Engine):
    info = {"ServerVersion": "19.3.0", "DefaultRuntime": "runc"}


class _Closed(_Engine):
    info = {"message": "permission denied while trying to connect to the Docker daemon socket"}
    status = 403


def _fault(what: str, done: Result, words: list[str]) -> list[str]:
    """What is wrong with how a command failed; [] for exit 1 within 20 s with these words and a hint."""
    missing = [word for word in words if word.lower() not in (done.stdout + done.stderr).lower()]
    ends_well = done.code == 1 and done.seconds <= 20 and "Traceback" not in done.stderr
    if ends_well and not missing:
        return []
    return [f"{what}: exit {done.code} after {done.seconds:.1f} s, not said: {missing}: {done.stdout}{done.stderr}"]


@pytest.mark.demand(seconds=60)
@pytest.mark.case("DEV-014")
def test_an_engine_that_is_not_there_is_named(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    """
    Preconditions: none.
    Steps: down of an unknown cluster, and up where nothing may be started, with an engine whose socket is missing; that
        refuses everybody; that takes connections and never answers; that is too old.
    Expected: exit 1 within 20 s, one sentence that says which it is and a hint; no traceback; nothing was made.
    """
    down = ("down", "--name", "ft-no-engine")
    up = ("up", "--name", "ft-no-engine", "--until", "requirements")
    wrong = _fault(
        "missing", commands.cluster_up(*down, env={**elsewhere, "DOCKER_HOST": f"unix://{tmp_path}/none"}),
        ["Docker does not answer", "hint:", "dockerd"],
    )  # fmt: skip
    for what, handler, words, asked in (
        ("refused", _Closed, ["permission denied", "hint:", "group docker"], (down,)),
        ("silent", _Silent, ["does not answer within", "restart it"], (down, up)),
        ("old", _Old, ["too old", "or newer"], (up,)),
    ):
        with _serving(handler, tmp_path / what) as address:
            for verb in asked:
                done = commands.cluster_up(*verb, env={**elsewhere, "DOCKER_HOST": address})
                wrong += _fault(f"{what}, {verb[0]}", done, words)
    assert not wrong, "\n".join(wrong)
    made = [path for root in ("state", "cache") for path in (tmp_path / root).rglob("*") if path.name[0] != "."]
    assert not [path for path in made if path.is_file()], made


def _copied(cluster: Cluster, name: str, env: dict[str, str]) -> Path:
    """State file of cluster ``name`` in the test's own state folder: a copy of the real one."""
    real = states.file_of(cluster.name)
    folder = Path(env["XDG_STATE_HOME"]) / real.parent.parent.name / name
    folder.mkdir(parents=True)
    document = {**json.loads(real.read_text()), "name": name}
    file = folder / "state.json"
    file.write_text(json.dumps(document))
    return file


@pytest.mark.case("DEV-022")
def test_a_state_file_that_says_nothing_true_is_refused(cluster: Cluster, nodes: Nodes, tmp_path: Path) -> None:
    """
    Preconditions: in a state folder of the test's own: a copy of the state file, for a cluster that is not there.
    Steps: status and up with half of it; with one of a newer version; status and down of the cluster that is gone; up
        of the cluster that runs, whose folder is another.
    Expected: exit 1 that names the file; "its nodes are gone", and down removes it; up says that the cluster is not
        its own; no second cluster, and the one that runs has the same nodes.
    """
    before = {node.name: node.identity() for node in nodes}
    # The cache is the real one: `down` sweeps up what it takes for nobody's there.
    elsewhere = {"XDG_STATE_HOME": str(tmp_path / "state")}
    name = "ft-lost-state"
    file = _copied(cluster, name, elsewhere)
    whole = file.read_text()
    wrong = []
    for what, text, words in (
        ("half", whole[: len(whole) // 2], ["is damaged", str(file), "hint:"]),
        ("newer", json.dumps({**json.loads(whole), "schema": 99}), ["schema 99", str(file), "hint:"]),
    ):
        file.write_text(text)
        for verb in ("status", "up"):
            wrong += _fault(f"{what}, {verb}", commands.cluster_up(verb, "--name", name, env=elsewhere), words)
        assert file.read_text() == text, "a file that could not be read was overwritten"
    file.write_text(whole)
    gone = commands.cluster_up("status", "--name", name, env=elsewhere)
    wrong += _fault("gone, status", gone, ["its nodes are gone"])
    down = commands.cluster_up("down", "--name", name, env=elsewhere)
    assert down.code == 0, down.stderr
    assert not file.parent.exists(), list(file.parent.rglob("*"))
    again = commands.cluster_up("down", "--name", name, env=elsewhere)
    assert (again.code, "nothing to do" in again.stderr) == (0, True), again.stderr

    workers = str(len(cluster.workers))
    foreign = commands.cluster_up("up", "--name", cluster.name, "--workers", workers, env=elsewhere)
    wrong += _fault("foreign, up", foreign, [f"there is a cluster {cluster.name!r} already", "hint:"])
    assert not wrong, "\n".join(wrong)
    assert {node.name: node.identity() for node in nodes} == before


@pytest.mark.serial
@pytest.mark.disruptive
@pytest.mark.demand(seconds=60)
@pytest.mark.case("DEV-022")
def test_a_lost_state_file_is_written_anew(cluster: Cluster, nodes: Nodes, stack: Stack, tmp_path: Path) -> None:
    """
    Preconditions: a cluster that is up with the newest code.
    Steps: take its state file away; status; up.
    Expected: status says that there is no cluster; up exits 0 and writes the same file but for measured times; same
        nodes and pods; status is healthy.
    """
    workers = str(len(cluster.workers))
    up = ("up", "--name", cluster.name, "--workers", workers)
    assert commands.cluster_up(*up).code == 0, "the newest code is not on the cluster"
    file = states.file_of(cluster.name)
    kept = tmp_path / "state.json"
    shutil.copy2(file, kept)
    before = {node.name: node.identity() for node in nodes}
    restarts = stack.restarts()
    file.unlink()
    try:
        lost = commands.cluster_up("status", "--name", cluster.name)
        assert (lost.code, "there is no cluster" in lost.stderr) == (1, True), lost.stderr
        done = commands.cluster_up(*up, deadline_s=300)
        assert done.code == 0, done.stderr
        was = json.loads(kept.read_text())

        def differ() -> dict[str, Any]:
            told = json.loads(file.read_text())
            return {key: (was[key], told.get(key)) for key in was if key != "steps" and told.get(key) != was[key]}

        # The guest images that are left for later come in the background.
        patience.eventually("the file is as it was", differ, lambda seen: not seen, within_s=patience.promised(120))
    except BaseException:
        shutil.copy2(kept, file)
        raise
    assert {node.name: node.identity() for node in nodes} == before
    assert stack.restarts() == restarts
    assert commands.cluster_up("status", "--name", cluster.name).code == 0
