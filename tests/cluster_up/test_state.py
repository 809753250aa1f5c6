"""The state file and the lock."""

import os
from pathlib import Path

import pytest

from cluster_up import lock, paths
from cluster_up import state as states
from cluster_up.errors import Busy
from cluster_up.state import Capabilities, Node, State, StateError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "virt-harness"


def test_what_is_written_is_read_again() -> None:
    nodes = (Node(name="n", role="worker"),)
    state = State(name="t", nodes=nodes, capabilities=Capabilities(shared=True), applied={"network": "x"})
    states.write(state)
    assert states.read("t") == state
    assert states.names() == ["t"]


def test_no_file_is_no_cluster() -> None:
    assert states.read("t") is None


@pytest.mark.parametrize("text", ['{"name": "t', '{"name": 3}', '{"name": "t", "schema": 99}', ""])
def test_a_damaged_or_newer_file_is_refused_with_its_path(folder: Path, text: str) -> None:
    (folder / "t").mkdir(parents=True)
    (folder / "t" / "state.json").write_text(text)
    with pytest.raises(StateError, match=r"t/state\.json"):
        states.read("t")


def test_a_half_written_file_is_never_seen() -> None:
    states.write(State(name="t", workers=1))
    states.file_of("t").with_suffix(".part").write_text("{")
    found = states.read("t")
    assert found is not None
    assert found.workers == 1


def test_the_lock_names_its_holder_and_is_free_again_afterwards() -> None:
    with lock.held("t"):
        with pytest.raises(Busy, match=f"held by pid {os.getpid()}"), lock.held("t"):
            pass
        with lock.held("another"):
            pass
    with lock.held("t"):
        pass


def test_the_lock_leaves_no_file_where_there_is_no_cluster() -> None:
    with lock.held("gone"):
        assert (paths.state_root() / ".gone.lock").exists()
    assert not paths.state_root().exists()


def test_the_lock_of_a_cluster_that_is_there_stays() -> None:
    paths.cluster_folder("there").mkdir(parents=True)
    with lock.held("there"):
        pass
    assert (paths.state_root() / ".there.lock").exists()


def test_a_lock_whose_file_was_taken_away_meanwhile_is_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, True]
    monkeypatch.setattr(lock, "_is_still_there", lambda *_: answers.pop(0))
    with lock.held("t"):
        pass
    assert not answers
