"""Which runs of the suite are gone, and what they had written down."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from functests.libs import runs, undo
from functests.libs.runs import Runs

ROOT = Path(__file__).parents[3]
# A run of its own, or a worker of one: says so, and waits to be killed.
_BEGIN = "from functests.libs.runs import Runs; Runs(Path(sys.argv[1])).begin()"
_JOIN = "from functests.libs import runs; runs.join()"
_PROCESS = "import sys, time; from pathlib import Path; {}; print('there', flush=True); time.sleep(600)"


def _is_gone(known: Runs, name: str) -> bool:
    with known.claimed(name) as gone:
        return gone


def _process(code: str, folder: Path, **env: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", _PROCESS.format(code), str(folder)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **env})
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


def test_a_run_that_lives_is_not_gone_and_one_that_ended_is_and_has_left_no_file(known: Runs) -> None:
    name = known.begin()
    assert known.names() == [name]
    assert not _is_gone(known, name)
    assert "pytest" in str(known.about(name))
    known.end(name)
    assert known.names() == []
    assert _is_gone(known, name)
    assert runs.VARIABLE not in os.environ


@pytest.mark.runs_processes
def test_a_run_is_gone_when_the_last_of_its_processes_was_killed(known: Runs, tmp_path: Path) -> None:
    controller = _process(_BEGIN, tmp_path)
    (name,) = known.names()
    worker = _process(_JOIN, tmp_path, **{runs.VARIABLE: str(known.file(name))})
    try:
        assert not _is_gone(known, name)
        controller.send_signal(signal.SIGKILL)
        controller.wait(10)
        assert not _is_gone(known, name), "its worker still tears down what it made"
    finally:
        for process in (controller, worker):
            process.kill()
            process.communicate(timeout=10)
    assert _is_gone(known, name)
    assert known.names() == [name], "its notes may still be read"


def test_of_a_run_of_another_machine_nothing_is_known(known: Runs) -> None:
    assert not known.is_of_here("0badcafe.12345678")
    assert not _is_gone(known, "0badcafe.12345678")


def test_one_who_clears_up_after_a_run_is_alone(known: Runs) -> None:
    name = known.begin()
    runs._held.pop().close()            # as when it is killed
    with known.claimed(name) as first, known.claimed(name) as second:
        assert (first, second) == (True, False)


def test_what_is_made_carries_the_runs_name_as_a_label_that_kubernetes_takes(known: Runs) -> None:
    assert runs.marked({"a": "b"}) == {"a": "b", "functest": "true"}, "outside of a run"
    name = known.begin()
    assert runs.marked() == {"functest": "true", "functest-run": name}
    assert len(name) <= 63
    assert name.replace(".", "").isalnum()


def test_without_a_cluster_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no-such"):
        Runs(tmp_path / "no-such").begin()


def test_notes_are_read_newest_first_and_keep_the_runs_file_until_they_are_done(known: Runs) -> None:
    name = known.begin()
    steps: list[undo.Step] = [
        undo.Script(node="n1", script="true", late=True),
        undo.Request(method="PATCH", path="/x", body={"spec": {"unschedulable": None}}),
        undo.Taint(node="n1", key="k", effect="NoExecute"),
        undo.Power(node="n2"),
        undo.Settings(spec={"configuration": {"a": [1, None]}}),
    ]
    notes = [undo.noted(step) for step in steps]
    assert [undo.read(file) for file in known.notes(name)] == steps[::-1]
    for note in notes[1:]:
        note.done()
    known.end(name)
    assert known.names() == [name]
    notes[0].done()
    known.end(name)
    assert known.names() == []


def test_outside_of_a_run_nothing_is_written_down(known: Runs, tmp_path: Path) -> None:
    undo.noted(undo.Power(node="n1")).done()
    assert list(tmp_path.iterdir()) == []
