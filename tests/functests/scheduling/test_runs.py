"""The scheduler in whole runs of pytest: what overlaps, what does not, and what becomes of a worker that dies."""

import json
import subprocess
import sys
from typing import Any
from xml.etree import ElementTree

import pytest

from functests.scheduling import lanes
from functests.verdict import overdraft
from tests.functests.scheduling.conftest import CONFTEST, Inner

pytestmark = [pytest.mark.runs_processes, pytest.mark.timeout(300)]


def test_sleepers_overlap_big_ones_do_not_and_serial_ones_come_last(inner: Inner) -> None:
    inner.write(
        all="""
import time, pytest
from pathlib import Path
story = Path(__file__).parents[1] / "story"
@pytest.mark.serial
def test_serial(told): time.sleep(0.1)
@pytest.mark.disruptive
def test_disruptive(told): time.sleep(0.1)
@pytest.mark.demand(vcpus=1000)
def test_big(told): time.sleep(0.2)
@pytest.mark.demand(vcpus=1000)
def test_other_big(told): time.sleep(0.2)
@pytest.mark.demand(seconds=60)
def test_sleeper(told):
    end = time.time() + 30
    while "big" not in story.read_text() and time.time() < end: time.sleep(0.02)
@pytest.mark.parametrize("number", range(6))
def test_small(told, number): pass
"""
    )
    result = inner.run("-n3")
    result.assert_outcomes(passed=11)
    result.stdout.fnmatch_lines(["*=== 11 passed in *"])
    spans = inner.spans()
    assert len(spans) == 11
    first, second = sorted([spans["test_big"], spans["test_other_big"]])
    assert first[1] <= second[0], "two that want the whole machine ran at once"
    assert spans["test_sleeper"][0] < first[1], "the longest did not start first"
    assert first[0] < spans["test_sleeper"][1], "nothing ran beside the sleeper"
    ordinary = max(end for name, (_, end) in spans.items() if name not in ("test_serial", "test_disruptive"))
    assert ordinary <= spans["test_serial"][0], "serial did not wait"
    assert spans["test_serial"][1] <= spans["test_disruptive"][0], "disruptive was not the last"
    account = inner.account()
    assert account["problems"] == []
    log = (inner.pytester.path / "artifacts" / "scheduling.log").read_text()
    assert "refused functests/test_all.py::test_serial and 1 more: the cluster for itself: " in log


def test_a_worker_that_dies_is_replaced_and_every_test_and_the_end_of_the_session_are_accounted_for(
    inner: Inner
) -> None:
    inner.write(
        crash="""
import os, time, pytest
@pytest.fixture(scope="session")
def kept():
    yield
    raise AssertionError("left behind")
def test_crash(): os._exit(9)
@pytest.mark.parametrize("number", range(7))
def test_other(told, number): time.sleep(0.1)
def test_last(told, kept): pass
"""
    )
    result = inner.run("-n2")
    result.assert_outcomes(passed=8, failed=1, errors=1)
    result.stdout.fnmatch_lines(["*replacing crashed worker*"])
    result.stdout.fnmatch_lines(["*crashed while running*test_crash*"])
    result.stdout.fnmatch_lines(["*left behind*"])
    assert len(inner.spans()) == 8
    outcomes = {row["id"].rpartition("::")[2]: row["outcome"] for row in inner.account()["runs"]}
    assert outcomes.pop("test_crash") == "crashed"
    assert set(outcomes.values()) == {"done"}


def test_an_alarm_that_comes_while_a_failure_is_written_down_ends_neither_the_worker_nor_the_run(inner: Inner) -> None:
    inner.write(
        late="""
import pytest
@pytest.fixture
def kept(told):
    yield
def test_first(told): pass
def test_late(kept): assert False
@pytest.mark.parametrize("number", range(3))
def test_after(told, number): pass
"""
    )
    conftest = inner.pytester.path / "conftest.py"
    conftest.write_text(conftest.read_text() + """
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    if item.name == "test_late" and call.when == "call":
        pytest.fail("Timeout (>420.0s) from pytest-timeout.")
    return (yield)
""")
    result = inner.run("-n1")
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*outside of the test's own code:*", "*Timeout (>420.0s) from pytest-timeout.*"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
    assert len(inner.spans()) == 5, "its fixtures were torn down"
    assert {row["outcome"] for row in inner.account()["runs"]} == {"done"}


def test_the_only_worker_dies_between_tests_of_a_file_of_unit_tests(inner: Inner) -> None:
    """Unit tests of a file are sent together: those behind the crash run on the worker that comes after."""
    tests = inner.pytester.path / "tests"
    tests.mkdir()
    (tests / "test_unit.py").write_text(
        """
import os
def test_one(told): pass
def test_two(): os._exit(9)
def test_three(told): pass
"""
    )
    result = inner.run("-n1")
    result.assert_outcomes(passed=2, failed=1)
    assert set(inner.spans()) == {"test_one", "test_three"}
    assert inner.account()["problems"] == []


def test_what_a_test_declares_goes_with_its_report_unless_it_has_the_cluster_for_itself(inner: Inner) -> None:
    inner.write(
        all="""
import pytest
@pytest.mark.demand(vcpus=2)
def test_two(): pass
@pytest.mark.demand(vcpus=2)
@pytest.mark.serial
def test_alone(): pass
"""
    )
    inner.run("-n1", "--junitxml=told.xml").assert_outcomes(passed=2)
    told = ElementTree.parse(inner.pytester.path / "told.xml")
    declared = {case.get("name"): [each.get("value") for each in case.iter("property")
                                   if each.get("name") == overdraft.DECLARED] for case in told.iter("testcase")}
    assert declared == {"test_two": ["2"], "test_alone": []}


def test_a_lane_that_shrinks_fails(inner: Inner) -> None:
    inner.write(
        lane="""
import pytest
@pytest.mark.case("STO-001")
def test_disk(): pass
@pytest.mark.case("NET-001")
def test_net(): pass
"""
    )
    result = inner.run("-n1", "--lane", "storage")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["lane storage ran 1 tests, it must have *", "*=== 1 passed*"])
    assert result.ret == 1


def test_repeat_and_random_order(inner: Inner) -> None:
    inner.write(many="def test_it(told): pass\ndef test_other(told): pass\n")
    result = inner.run("-n1", "--repeat", "5", "--shuffle", "7")
    result.assert_outcomes(passed=10)
    assert len(inner.spans()) == 10


JUDGED = CONFTEST + """
def pytest_configure(config):
    from functests.verdict import plugin
    from functests.verdict.sampler import Sampler
    Sampler.start = lambda self: None          # no cluster here
    plugin.register(config)
"""


def judged(inner: Inner) -> dict[str, Any]:
    return dict(json.loads((inner.pytester.path / "artifacts" / "verdict.json").read_text()))


@pytest.fixture
def verdicts(inner: Inner, monkeypatch: pytest.MonkeyPatch) -> Inner:
    """Runs of it have a verdict, and a history of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(inner.pytester.path / "state"))
    inner.pytester.makeconftest(JUDGED)
    return inner


def test_a_run_that_failed_for_its_own_sake_has_no_good_verdict_and_says_why(verdicts: Inner) -> None:
    verdicts.write(lane="import pytest\n@pytest.mark.case('STO-001')\ndef test_disk(): pass\n")
    result = verdicts.run("-n1", "--lane", "storage")
    result.assert_outcomes(passed=1)
    verdict = judged(verdicts)
    assert verdict["exit_status"] == result.ret == 1
    least = lanes.LANES["storage"].least
    assert f"lane storage ran 1 tests, it must have {least} (functests/scheduling/lanes.py)" in verdict["faults"]
    for name in ("summary.md", "verdict.html", "junit.xml"):
        text = (verdicts.pytester.path / "artifacts" / name).read_text()
        assert "lane storage ran 1 tests" in text, name


@pytest.mark.parametrize("workers", [[], ["-n1"]])
def test_a_run_that_finds_no_test_is_not_judged_by_the_verdict_of_the_one_before(
    verdicts: Inner, workers: list[str]
) -> None:
    verdicts.write(it="def test_it(): pass\n")
    verdicts.run("functests", *workers)
    assert judged(verdicts)["exit_status"] == 0
    result = verdicts.run("functests", "-k", "nothing", *workers)
    verdict = judged(verdicts)
    assert (verdict["exit_status"], verdict["tests"]) == (result.ret, [])
    assert result.ret != 0


def test_a_worker_that_dies_when_its_tests_are_over_makes_the_run_fail(verdicts: Inner) -> None:
    """What its tests had left on nodes was in its own ledger."""
    verdicts.write(it="""
import os, pytest
@pytest.fixture(scope="session")
def kept():
    yield
    os._exit(9)
def test_it(kept): pass
""")
    result = verdicts.run("functests", "-n1")
    result.assert_outcomes(passed=1)
    verdict = judged(verdicts)
    assert verdict["exit_status"] == result.ret == 1
    assert any("died and was replaced" in note for note in verdict["notes"]), verdict["notes"]


def test_a_run_that_is_stopped_does_not_list_what_it_did_not_come_to(verdicts: Inner) -> None:
    verdicts.write(it="""
import os, pytest, signal, time
@pytest.mark.parametrize("number", range(5))
def test_it(number):
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)
""")
    # Whoever was started in the background has SIGINT ignored, and so have its children.
    hears = ("import signal, sys, pytest; signal.signal(signal.SIGINT, signal.default_int_handler); "
             "sys.exit(pytest.main(sys.argv[1:]))")
    argv = [sys.executable, "-c", hears, "functests", "-p", "no:cacheprovider", "-p", "xdist.plugin", "-n1"]
    done = subprocess.run(argv, cwd=verdicts.pytester.path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == pytest.ExitCode.INTERRUPTED, done.stdout
    assert "never ran to its end" not in done.stdout
    verdict = judged(verdicts)
    assert verdict["faults"] == ["stopped: KeyboardInterrupt"], verdict["faults"]
