"""From reports to records."""

from typing import Any

import pytest

from functests.verdict.outcome import notes_of, orphans_of, record_of, stalls_of, with_leaks
from functests.verdict.records import Test


class Report:
    def __init__(self, when: str, outcome: str = "passed", longrepr: Any = "", **properties: Any) -> None:
        self.nodeid, self.when, self.outcome, self.longrepr = "t", when, outcome, longrepr
        self.duration, self.start, self.user_properties = 1.0, 10.0, list(properties.items())


GOOD: list[Any] = [Report("setup"), Report("call"), Report("teardown", case="LIF-001", boots_s=[2.0], ledger_s=0.2)]


@pytest.mark.parametrize(
    ("reports", "outcome"),
    [
        (GOOD, "passed"),
        ([Report("setup"), Report("call", "failed"), Report("teardown")], "failed"),
        ([Report("setup", "failed"), Report("teardown")], "failed"),
        ([Report("setup", "skipped", ("f", 1, "Skipped: no kvm")), Report("teardown")], "skipped"),
        ([Report("setup"), Report("call"), Report("teardown", "failed", leak="tap0")], "leaked"),
        ([Report("setup"), Report("call", "failed"), Report("teardown", "failed", leak="tap0")], "failed"),
        ([Report("setup"), Report("call"), Report("teardown", "failed")], "failed"),
        ([Report("???", "failed", "worker 'gw0' crashed")], "crashed"),
        ([], "lost"),
        ([Report("setup")], "lost"),
        ([Report("setup"), Report("call")], "lost"),
    ],
)
def test_outcomes(reports: list[Any], outcome: str) -> None:
    assert record_of("t", reports).outcome == outcome


def test_what_fixtures_know_is_in_the_record() -> None:
    record = record_of("t", GOOD)
    assert (record.case, record.boots, record.ledger_s) == ("LIF-001", (2.0,), 0.2)
    assert (record.seconds, record.started) == (3.0, 10.0)


def test_a_skip_has_its_reason() -> None:
    reports: list[Any] = [Report("setup", "skipped", ("f", 1, "Skipped: cluster dev lacks: kvm")), Report("teardown")]
    assert record_of("t", reports).reason == "cluster dev lacks: kvm"


def test_the_last_run_counts_and_all_are_counted() -> None:
    reports: list[Any] = [Report("setup"), Report("call", "failed"), Report("teardown"), *GOOD]
    record = record_of("t", reports)
    assert (record.outcome, record.runs) == ("passed", 2)
    assert notes_of([record], {}) == ["t was run 2 times"]


def test_a_named_retry_is_no_surprise() -> None:
    again: Any = [Report("setup"), Report("call"), Report("teardown", retried="node-restarting")]
    record = record_of("t", [*GOOD, *again])
    assert record.retries == ("node-restarting",)
    assert notes_of([record], {}) == []


def test_what_was_only_asked_again_does_not_explain_that_a_test_ran_twice() -> None:
    again: Any = [Report("setup"), Report("call"), Report("teardown", retried="asked again: the ledger's look: 500")]
    assert notes_of([record_of("t", again)], {}) == []
    assert notes_of([record_of("t", [*GOOD, *again])], {}) == ["t was run 2 times"]


def test_a_failure_on_a_machine_that_stood_still_says_so() -> None:
    bad: Any = [Report("setup"), Report("call", "failed", "E x"), Report("teardown", stalled_s=12.4)]
    good: Any = [Report("setup"), Report("call"), Report("teardown", stalled_s=12.4)]
    quick: Any = [Report("setup"), Report("call", "failed", "E x"), Report("teardown", stalled_s=0.4)]
    reports = {"bad": bad, "good": good, "quick": quick}
    records = [record_of(name, each) for name, each in reports.items()]
    assert stalls_of(records, reports) == ["the machine stood still for 12 s while bad ran"]


def test_a_crash_after_a_reported_setup_is_one_run() -> None:
    reports: list[Any] = [Report("setup"), Report("???", "failed", "worker 'gw0' crashed")]
    record = record_of("t", reports)
    assert (record.outcome, record.runs) == ("crashed", 1)


def test_orphans_are_narrowed_by_every_worker_that_saw_them() -> None:
    first = Test(id="first", outcome="passed", started=10.0, seconds=5.0)
    second = Test(id="second", outcome="passed", started=12.0, seconds=10.0)
    third = Test(id="third", outcome="passed", started=30.0, seconds=5.0)
    found = orphans_of([("tap0", 9.0, 16.0), ("tap0", 14.0, 23.0), ("tap1", 16.0, 23.0)], [first, second, third])
    assert [(orphan.item, orphan.tests) for orphan in found] == [("tap0", ("first", "second")), ("tap1", ("second",))]


def test_what_is_still_left_at_the_end_is_added_to_its_test() -> None:
    bad: list[Any] = [Report("setup"), Report("call", "failed", "E   boom"), Report("teardown")]
    tests = [record_of(name, reports) for name, reports in (("good", GOOD), ("bad", bad), ("other", GOOD))]
    good, failed, other = with_leaks(tests, [("good", "n1: tap tap0"), ("good", "n1: file /x"), ("bad", "n1: file /y")])
    assert (good.outcome, good.headline) == ("leaked", "left behind: n1: file /x")
    assert "n1: tap tap0" in good.error
    assert (failed.outcome, failed.headline) == ("failed", "boom")
    assert "n1: file /y" in failed.leak
    assert other == tests[2]
