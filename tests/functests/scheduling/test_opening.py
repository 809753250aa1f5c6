"""The controller of a functional run opens it: once, before the first test, and whatever the cluster says."""

import os
from pathlib import Path

import pytest

from functests.libs import runs
from functests.scheduling import leftovers, opening
from tests.functests.scheduling.conftest import CONFTEST, Inner

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
