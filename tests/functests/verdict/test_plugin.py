"""The verdict of real runs of pytest, planted ones: of one process, and one run of two workers for all about these."""

from pathlib import Path

import msgspec
import pytest

from functests.verdict import plugin
from functests.verdict.records import Test, Verdict
from functests.verdict.sampler import Sampler

PLUGINS = ("-p", "no:cacheprovider", "-p", "xdist.plugin")
ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.runs_processes

CONFTEST = """
import pytest
from functests.verdict import plugin

def pytest_configure(config):
    config.addinivalue_line("markers", "case(id)")
    plugin.register(config)
"""


class Planted:
    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester = pytester
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")       # hypothesis alone doubles a worker's start
        monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
        monkeypatch.setattr(Sampler, "start", lambda self: None)          # no cluster here
        monkeypatch.setattr(plugin, "still_there", lambda orphans: orphans)
        for name in ("ADDOPTS", "XDIST_WORKER", "XDIST_WORKER_COUNT", "XDIST_TESTRUNUID"):
            monkeypatch.delenv(f"PYTEST_{name}", raising=False)
        pytester.makeini("[pytest]\n")
        pytester.makeconftest(CONFTEST)
        self.artifacts = pytester.path / "artifacts"

    def run(self, source: str, *options: str) -> tuple[pytest.RunResult, Verdict]:
        file = self._pytester.path / "functests" / "test_planted.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("import pytest\n" + source)
        result = self._pytester.runpytest_inprocess("functests", *PLUGINS, *options)
        text = (self.artifacts / "verdict.json").read_bytes()
        return result, msgspec.json.decode(text, type=Verdict)


@pytest.fixture
def planted(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Planted:
    return Planted(pytester, monkeypatch)


def by_name(verdict: Verdict) -> dict[str, Test]:
    return {test.id.split("::")[1]: test for test in verdict.tests}


MIXED = """
@pytest.mark.case("LIF-001")
def test_good(): pass
@pytest.mark.case("LIF-002")
def test_bad(): assert "ft-x-0a1b2c" == "b"
@pytest.fixture
def leaky(request):
    yield
    request.node.user_properties.append(("leak", "tap0"))
    raise AssertionError("left behind: tap0")
def test_leaks(leaky): pass
@pytest.mark.skip(reason="cluster dev lacks: kvm")
def test_skipped(): pass
"""


def check_mixed(planted: Planted, result: pytest.RunResult, verdict: Verdict) -> None:
    tests = by_name(verdict)
    assert {name: tests[name].outcome for name in ("test_good", "test_bad", "test_leaks", "test_skipped")} == {
        "test_good": "passed", "test_bad": "failed", "test_leaks": "leaked", "test_skipped": "skipped",
    }
    assert (tests["test_good"].case, tests["test_bad"].case) == ("LIF-001", "LIF-002")
    assert tests["test_skipped"].reason == "cluster dev lacks: kvm"
    assert verdict.exit_status == result.ret == 1
    assert " in " in result.outlines[-1], "the last line is pytest's own"
    assert any("verdict.html" in line for line in result.outlines)
    for name in ("verdict.html", "junit.xml", "summary.md"):
        assert "test_bad" in (planted.artifacts / name).read_text()


def test_everything_is_in_the_verdict_and_a_failure_is_known_the_second_time(planted: Planted) -> None:
    for times in (0, 1):
        result, verdict = planted.run(MIXED)
        check_mixed(planted, result, verdict)
        assert by_name(verdict)["test_bad"].seen_before == times


LEFT = """
from functests.verdict.plugin import hand_over
@pytest.fixture(scope="session")
def book(pytestconfig):
    yield
    hand_over(pytestconfig, orphans=[("n1: file /left", 0.0, 9e12)])
    hand_over(pytestconfig, leaks=[("functests/test_planted.py::test_one", "n1: tap tap0")])
def test_one(book): pass
def test_two(book): pass
"""


def check_left(result: pytest.RunResult, verdict: Verdict) -> None:
    """A leak found late is its own test's, not the last one's; an orphan has suspects."""
    tests = by_name(verdict)
    assert (tests["test_one"].outcome, tests["test_one"].headline) == ("leaked", "left behind: n1: tap tap0")
    assert tests["test_two"].outcome == "passed"
    assert any(line == "left by functests/test_planted.py::test_one: n1: tap tap0" for line in result.outlines)
    assert [orphan.item for orphan in verdict.orphans] == ["n1: file /left"]
    assert {"functests/test_planted.py::test_one", "functests/test_planted.py::test_two"} <= {*verdict.orphans[0].tests}
    assert result.ret == verdict.exit_status == 1


def test_what_is_left_at_the_end_makes_the_run_fail_and_is_told_by_name(planted: Planted) -> None:
    check_left(*planted.run(LEFT))


STRAY = """
from functests.verdict.plugin import hand_over
@pytest.fixture(scope="session")
def kept(pytestconfig):
    yield
    hand_over(pytestconfig, leaks=[("", "guest of ns-1: refused")])
def test_one(kept): pass
"""


def test_what_is_no_tests_makes_the_run_fail_too(planted: Planted) -> None:
    result, verdict = planted.run(STRAY)
    assert by_name(verdict)["test_one"].outcome == "passed"
    assert verdict.notes == ("left behind: guest of ns-1: refused",)
    assert result.ret == verdict.exit_status == 1


CRASH = """
import os
@pytest.mark.parametrize("number", range(6))
def test_plain(number): pass
def test_kills_its_worker(): os._exit(7)
"""


def test_two_workers_of_which_one_dies(planted: Planted) -> None:
    """All of the above again, from workers; the dead one's test is reported, and none is lost or run twice."""
    result, verdict = planted.run(CRASH + MIXED + LEFT, "-n", "2")
    tests = by_name(verdict)
    assert tests["test_kills_its_worker"].outcome == "crashed"
    assert len(tests) == 13
    assert all(test.outcome == "passed" and test.runs == 1 for name, test in tests.items() if "plain" in name)
    assert any("died and was replaced" in note for note in verdict.notes)
    check_mixed(planted, result, verdict)
    check_left(result, verdict)


LOST = """
@pytest.hookimpl
def test_one(): pass
def test_two(): pass
"""


def test_a_test_that_nobody_ran_makes_the_run_fail(planted: Planted, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(CONFTEST + """
def pytest_runtest_protocol(item):
    return True if item.name == "test_two" else None
""")
    result, verdict = planted.run(LOST)
    assert {name: test.outcome for name, test in by_name(verdict).items()} == {"test_one": "passed", "test_two": "lost"}
    assert result.ret == verdict.exit_status == 1


def test_a_run_stopped_early_loses_nothing(planted: Planted) -> None:
    _, verdict = planted.run("def test_a(): assert 0\ndef test_b(): pass\n", "-x")
    assert {name: test.outcome for name, test in by_name(verdict).items()} == {"test_a": "failed"}
    assert verdict.notes == ("1 tests did not run to their end, because the run was stopped early",)


def test_a_file_that_cannot_be_collected_is_in_the_verdict(planted: Planted) -> None:
    result, verdict = planted.run("def broken(:\n")
    assert list(verdict.collect_errors) == ["functests/test_planted.py"]
    assert result.ret == verdict.exit_status == 2


def test_a_run_without_functional_tests_writes_nothing(pytester: pytest.Pytester, planted: Planted) -> None:
    pytester.makepyfile("def test_unit(): pass")
    result = pytester.runpytest_inprocess(*PLUGINS)
    assert result.ret == 0
    assert not (pytester.path / "artifacts").exists()
