"""The controller of a functional run opens it: once, before the first test, and whatever the cluster says."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from functests.libs import runs
from functests.scheduling import leftovers, opening
from tests.functests.scheduling.conftest import CONFTEST, Inner
from virt.base import waiting

OPENING = f"""{CONFTEST}
def pytest_configure(config):
    from functests.scheduling import opening
    opening.register(config)
"""
TEST = """
import os
from functests.libs import runs
def test_it(told):
    assert len(runs._held) == 1
    assert runs.file().exists()
"""


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["functests"], True),
        (["functests/console/test_console.py::test_a[run1]"], True),
        (["."], True),
        (["tests"], False),
        (["tests/functests"], False),
        (["tests", "functests/vnc"], True),
    ],
)
def test_only_a_run_with_functional_tests_has_a_cluster_to_clear(arguments: list[str], wanted: bool) -> None:
    assert opening.is_wanted(arguments, Path("/root"), Path("/root")) is wanted


@pytest.mark.runs_processes
def test_leftovers_go_once_before_the_first_test_and_workers_are_of_the_run(
    inner: Inner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    story = inner.pytester.path / "story"

    def sweep() -> leftovers.Swept:
        with story.open("a") as told:
            told.write("begin sweep 0\nend sweep 0\n")
        return leftovers.Swept(removed=["namespace ft-a"])

    monkeypatch.setattr(leftovers, "of_cluster", sweep)
    monkeypatch.setattr(runs, "of_cluster", lambda: runs.Runs(tmp_path))
    monkeypatch.setattr(runs, "_held", [])
    inner.write(it=TEST)
    inner.pytester.makeconftest(OPENING)
    result = inner.run("functests", "-n1")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["functests: removed in 0.0 s what runs that are gone had left: namespace ft-a"])
    assert [line.split()[:2] for line in story.read_text().splitlines()] == [
        ["begin", "sweep"], ["end", "sweep"], ["begin", "test_it"], ["end", "test_it"]]
    assert runs.Runs(tmp_path).names() == [], "it has ended"
    assert runs.VARIABLE not in os.environ


def test_a_cluster_that_does_not_answer_costs_one_line(
    inner: Inner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def sweep() -> leftovers.Swept:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(leftovers, "of_cluster", sweep)
    monkeypatch.setattr(runs, "of_cluster", lambda: runs.Runs(tmp_path))
    monkeypatch.setattr(runs, "_held", [])
    inner.write(it="def test_it(told): pass")
    inner.pytester.makeconftest(OPENING)
    result = inner.run("functests", "-p", "no:xdist")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["functests: could not look for what gone runs have left: ConnectionError: no route*"])


@pytest.mark.parametrize(("chosen", "stays"), [([], False), (["-k", "test_it"], True)])
def test_a_whole_run_clears_the_evidence_of_earlier_ones_a_chosen_part_does_not(
    inner: Inner, chosen: list[str], stays: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    old, logs = inner.pytester.path / "artifacts" / "functests-old-test", inner.pytester.path / "artifacts" / "logs"
    for folder, file in ((old, "rerun.txt"), (logs, "virt-api.txt")):
        folder.mkdir(parents=True)
        (folder / file).write_text("x")
    inner.write(it="def test_it(): pass")
    inner.pytester.makeconftest(OPENING)
    inner.run("functests", "-p", "no:xdist", *chosen).assert_outcomes(passed=1)
    assert (old.exists(), logs.exists()) == (stays, True)


CUT_SHORT = f"""{OPENING}
    from functests.verdict import plugin
    from functests.verdict.sampler import Sampler
    Sampler.start = lambda self: None          # no cluster here
    plugin.register(config)
"""


@pytest.mark.runs_processes
@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_a_run_that_a_limit_of_time_ends_has_a_verdict(
    inner: Inner, workers: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    inner.write(it="import time\ndef test_good(): pass\ndef test_slow(told):\n    time.sleep(600)")
    inner.pytester.makeconftest(CUT_SHORT)
    plugins = ["-p", "no:cacheprovider", "-p", "xdist.plugin"]
    argv = [sys.executable, "-m", "pytest", "functests", *plugins, *workers]
    with subprocess.Popen(argv, cwd=inner.pytester.path, stdout=subprocess.PIPE, text=True) as run:
        story = inner.pytester.path / "story"
        waiting.wait_for(story.exists, bool, deadline_s=60)
        run.send_signal(signal.SIGTERM)
        said, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, said
    verdict = json.loads((inner.pytester.path / "artifacts" / "verdict.json").read_text())
    assert [test["outcome"] for test in verdict["tests"]][:1] == ["passed"], verdict["tests"]
    assert [note for note in verdict["notes"] if "stopped early" in note], verdict["notes"]


@pytest.mark.runs_processes
@pytest.mark.parametrize("hook", ["sessionfinish", "unconfigure"])
def test_a_run_that_is_told_to_end_when_its_tests_are_over_ends_as_it_would(
    inner: Inner, hook: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    inner.write(it="def test_good(): pass")
    inner.pytester.makeconftest(f"""{CUT_SHORT}
@pytest.hookimpl(tryfirst=True)
def pytest_{hook}():
    import signal
    os.kill(os.getpid(), signal.SIGTERM)
""")
    argv = [sys.executable, "-m", "pytest", "functests", "-p", "no:cacheprovider"]
    done = subprocess.run(argv, cwd=inner.pytester.path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Traceback" in done.stderr + done.stdout) == (0, False), done.stdout + done.stderr
    verdict = json.loads((inner.pytester.path / "artifacts" / "verdict.json").read_text())
    assert (verdict["exit_status"], verdict["faults"]) == (0, [])
