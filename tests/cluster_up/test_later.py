"""What is built after ``up``: once, in the background, and not longer than the cluster lives."""

import os
import sys
from pathlib import Path

import pytest

from cluster_up import exec as host
from cluster_up import later, lock, paths
from cluster_up import state as states
from cluster_up.images import guests
from cluster_up.state import State


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    found = State(name="t", registry_port=5000)
    states.write(found)
    return found


def with_images(state: State) -> State:
    entries = {name: {"reference": guests.reference(name, "localhost:5000")} for name in guests.LATER}
    return State(name=state.name, registry_port=state.registry_port, guest_images=entries)


def test_an_image_of_another_recipe_or_registry_is_missing(state: State) -> None:
    assert later.missing(state) == list(guests.LATER)
    assert later.missing(with_images(state)) == []
    moved = State(name="t", registry_port=5001, guest_images=with_images(state).guest_images)
    assert later.missing(moved) == list(guests.LATER)


def test_nothing_is_started_when_nothing_is_missing(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "start_daemon", lambda argv, log: pytest.fail("started"))
    assert not later.start(with_images(state))


@pytest.mark.runs_processes
def test_one_process_at_a_time_and_none_after_the_end(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    real = host.start_daemon
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]      # known by the words behind these
    monkeypatch.setattr(host, "start_daemon", lambda argv, log: real([*sleeper, *argv[3:]], log=log))
    assert later.start(state)
    pid = int((paths.cluster_folder("t") / "guests.pid").read_text())
    assert not later.start(state)
    later.stop("t")
    assert os.waitpid(pid, 0)[0] == pid
    later.stop("t")


def test_what_was_made_is_added_to_the_newest_state(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(names: tuple[str, ...], context: guests.Context) -> dict[str, dict[str, str]]:
        states.write(State(name="t", registry_port=5000, workers=7))      # meanwhile another command went on
        return {name: {"reference": guests.reference(name, context.registry)} for name in names}

    monkeypatch.setattr(guests, "build", build)
    monkeypatch.setattr("signal.signal", lambda *args: None)
    later.make(state, lambda line: None)
    newest = states.read("t")
    assert newest is not None
    assert (newest.workers, sorted(newest.guest_images)) == (7, sorted(guests.LATER))


def test_a_cluster_that_is_gone_stays_gone(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(names: tuple[str, ...], context: guests.Context) -> dict[str, dict[str, str]]:
        states.file_of("t").unlink()
        return {name: {"reference": "x"} for name in names}

    monkeypatch.setattr(guests, "build", build)
    monkeypatch.setattr("signal.signal", lambda *args: None)
    later.make(state, lambda line: None)
    assert states.read("t") is None
    with lock.held("t"):
        pass
