"""The verdict of real runs of pytest, planted ones, in processes of their own."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from functests.verdict.records import Test, Verdict

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.runs_processes

CONFTEST = """
import pytest
from functests.verdict import plugin
from functests.verdict.sampler import Sampler

Sampler.start = lambda self: None          # no cluster here

def pytest_configure(config):
    config.addinivalue_line("markers", "case(id)")
    plugin.register(config)
"""


class Planted:
    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self._pytester = pytester
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("XDG_STATE_HOME", str(pytester.path / "state"))
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
            monkeypatch.delenv(name, raising=False)
        pytester.makeini("[pytest]\n")
        pytester.makeconftest(CONFTEST)

    def run(self, source: str, *options: str) -> tuple[pytest.RunResult, Verdict]:
        file = self._pytester.path / "functests" / "test_planted.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("import pytest\n" + source)
        result = self._pytester.runpytest_subprocess("functests", "-p", "no:cacheprovider", *options)
        text = (self._pytester.path / "artifacts" / "verdict.json").read_bytes()
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


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_everything_is_in_the_verdict(planted: Planted, options: tuple[str, ...]) -> None:
    result, verdict = planted.run(MIXED, *options)
    tests = by_name(verdict)
    assert {name: test.outcome for name, test in tests.items()} == {
        "test_good": "passed", "test_bad": "failed", "test_leaks": "leaked", "test_skipped": "skipped",
    }
    assert (tests["test_good"].case, tests["test_bad"].case) == ("LIF-001", "LIF-002")
    assert tests["test_skipped"].reason == "cluster dev lacks: kvm"
    assert verdict.exit_status == result.ret == 1
    assert " in " in result.outlines[-1], "the last line is pytest's own"
    assert any("verdict.html" in line for line in result.outlines)
    for name in ("verdict.html", "junit.xml", "summary.md"):
        assert "test_bad" in (planted._pytester.path / "artifacts" / name).read_text()


def test_a_failure_is_known_the_second_time(planted: Planted) -> None:
    counts = [by_name(planted.run(MIXED)[1])["test_bad"].seen_before for _ in range(2)]
    assert counts == [0, 1]


CRASH = """
import os
@pytest.mark.parametrize("number", range(6))
def test_plain(number): pass
def test_kills_its_worker(): os._exit(7)
"""


def test_a_dead_workers_test_is_reported_and_none_is_lost_or_run_twice(planted: Planted) -> None:
    result, verdict = planted.run(CRASH, "-n", "2")
    tests = by_name(verdict)
    assert tests["test_kills_its_worker"].outcome == "crashed"
    assert len(tests) == 7
    assert all(test.outcome == "passed" and test.runs == 1 for name, test in tests.items() if "plain" in name)
    assert any("died and was replaced" in note for note in verdict.notes)
    assert result.ret == verdict.exit_status == 1


ORPHAN = """
from functests.verdict.plugin import hand_over
@pytest.fixture(scope="session")
def book(pytestconfig):
    yield
    hand_over(pytestconfig, [("n1: file /left", 0.0, 9e12)])
def test_one(book): pass
def test_two(book): pass
"""


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "two workers"])
def test_an_orphan_makes_the_run_fail_and_names_its_suspects(planted: Planted, options: tuple[str, ...]) -> None:
    result, verdict = planted.run(ORPHAN, *options)
    assert [orphan.item for orphan in verdict.orphans] == ["n1: file /left"]
    assert len(verdict.orphans[0].tests) == 2
    assert result.ret == verdict.exit_status == 1


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
    result: Any = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.ret == 0
    assert not (pytester.path / "artifacts").exists()
