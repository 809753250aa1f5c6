"""What is built after ``up``: once, in the background, and not longer than the cluster lives."""

import os
import sys
from pathlib import Path

import msgspec
import pytest

from cluster_up import exec as host
from cluster_up import later, lock, paths
from cluster_up import state as states
from cluster_up.errors import StepFailed
from cluster_up.images import guests
from cluster_up.state import State

ALL = [name for group in guests.LATER for name in group]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = State(name="t", registry_port=5000)
    states.write(found)
    return found


def with_images(state: State, *, best: bool = True) -> State:
    entries = {name: {"reference": guests.reference(name, "localhost:5000", best=best)} for name in ALL}
    return State(name=state.name, registry_port=state.registry_port, guest_images=entries)


def test_an_image_of_another_recipe_or_registry_is_missing(state: State) -> None:
    assert later.missing(state) == ALL
    assert later.missing(with_images(state)) == []
    moved = State(name="t", registry_port=5001, guest_images=with_images(state).guest_images)
    assert later.missing(moved) == ALL


def test_tiny_with_the_distributions_kernel_is_not_the_end(state: State) -> None:
    assert later.missing(with_images(state, best=False)) == list(guests.EARLY)


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
    def build(names: list[str], context: guests.Context, *, best: bool) -> dict[str, dict[str, str]]:
        newest = states.read("t")                       # meanwhile another command went on
        assert newest is not None
        states.write(msgspec.structs.replace(newest, workers=newest.workers + 1))
        return {name: {"reference": guests.reference(name, context.registry, best=best)} for name in names}

    monkeypatch.setattr(guests, "build", build)
    monkeypatch.setattr("signal.signal", lambda *args: None)
    later.make(state, lambda line: None)
    newest = states.read("t")
    assert newest is not None
    assert (newest.workers, sorted(newest.guest_images)) == (len(guests.LATER), sorted(ALL))
    assert later.missing(newest) == []


def test_an_image_that_cannot_be_made_keeps_no_other_back(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    first = guests.LATER[0][0]

    def build(names: list[str], context: guests.Context, *, best: bool) -> dict[str, dict[str, str]]:
        if first in names:
            raise StepFailed("no archive")
        return {name: {"reference": guests.reference(name, context.registry, best=best)} for name in names}

    monkeypatch.setattr(guests, "build", build)
    monkeypatch.setattr("signal.signal", lambda *args: None)
    said: list[str] = []
    with pytest.raises(StepFailed, match="no archive"):
        later.make(state, said.append)
    assert said == [f"{first} failed: no archive"]
    newest = states.read("t")
    assert newest is not None
    assert later.missing(newest) == [first]


def test_a_cluster_that_is_gone_stays_gone(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(names: list[str], context: guests.Context, *, best: bool) -> dict[str, dict[str, str]]:
        states.file_of("t").unlink(missing_ok=True)
        return {name: {"reference": "x"} for name in names}

    monkeypatch.setattr(guests, "build", build)
    monkeypatch.setattr("signal.signal", lambda *args: None)
    later.make(state, lambda line: None)
    assert states.read("t") is None
    with lock.held("t"):
        pass
