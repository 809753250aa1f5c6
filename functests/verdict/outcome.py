"""From pytest's reports of one test to its record; and who may have left an orphan. Pure decisions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from msgspec.structs import replace

from functests.verdict.fingerprint import fingerprint, headline
from functests.verdict.records import (
    BAD,
    BOOTED,
    BORROWED,
    CRASHED,
    FAILED,
    LEAKED,
    LOST,
    PASSED,
    SKIPPED,
    Orphan,
    Test,
)

RETRIED = "retried"             # user property of a test's last report: why it, or something in it, was tried again
STALLED = "stalled_s"           # user property: how long the machine stood still while the test ran
STALL_TOLD_S = 3.0
ASKED_AGAIN = "asked again: "   # so begins a cause for which the test itself was not run again


class Report(Protocol):
    """What is used of a pytest.TestReport."""

    nodeid: str
    when: str | None
    outcome: str
    longrepr: Any
    duration: float
    start: float
    user_properties: Any


def _skip_reason(report: Report) -> str:
    if hasattr(report, "wasxfail"):
        return f"expected to fail: {report.wasxfail}"
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def _last(reports: Sequence[Report]) -> list[Report]:
    """The reports of the last time that the test was run."""
    start = max((index for index, report in enumerate(reports) if report.when == "setup"), default=0)
    return list(reports[start:])


def _runs(reports: Sequence[Report]) -> int:
    """A crash is a run of its own unless its setup was reported before."""
    count = 0
    begun = False
    for report in reports:
        if report.when == "setup":
            count, begun = count + 1, True
        elif report.when == "teardown":
            begun = False
        elif report.when != "call":
            count, begun = count + (not begun), False
    return max(count, 1)


def record_of(test_id: str, reports: Sequence[Report]) -> Test:
    """The record of one test; without any report, or without an end, it is lost."""
    last = _last(reports)
    if not any(report.outcome == "failed" or report.when == "teardown" for report in last):
        text = "begun, and never ended" if last else "collected, and never reported"
        mark = fingerprint(test_id, text)
        return Test(id=test_id, outcome=LOST, error=text, headline=text, fingerprint=mark, runs=len(last[:1]))
    known: dict[str, Any] = {}
    retries: list[str] = []
    for report in last:
        known.update(dict(report.user_properties))
    if last[-1].user_properties:
        retries = [str(value) for name, value in last[-1].user_properties if name == RETRIED]
    bad = [report for report in last if report.outcome == "failed"]
    skipped = [report for report in last if report.outcome == "skipped"]
    leak = str(known.get("leak", ""))
    warm = dict(known.get("warm") or {})
    if any(report.when not in ("setup", "call", "teardown") for report in bad):
        outcome = CRASHED
    elif bad:
        outcome = LEAKED if leak and all(report.when == "teardown" for report in bad) else FAILED
    else:
        outcome = SKIPPED if skipped else PASSED
    error = "\n\n".join(f"[{report.when}]\n{report.longrepr}" for report in bad)
    starts = [report.start for report in last if getattr(report, "start", 0.0)]
    first = str(bad[0].longrepr) if bad else ""
    return Test(
        id=test_id,
        outcome=outcome,
        case=str(known.get("case", "")),
        seconds=round(sum(report.duration for report in last), 2),
        started=min(starts, default=0.0),
        worker=str(getattr(last[-1], "worker_id", "")),
        reason=_skip_reason(skipped[0]) if outcome == SKIPPED else "",
        error=error,
        headline=headline(first),
        fingerprint=fingerprint(test_id, first) if bad else "",
        leak=leak,
        retries=tuple(retries),
        runs=_runs(reports),
        evidence=str(known.get("evidence", "")),
        boots=tuple(known.get("boots_s", ())),
        warm="" if not warm else BOOTED if warm["booted"] else BORROWED,
        changed=str(warm.get("changed", "")),
        ledger_s=float(known.get("ledger_s", 0.0)),
        settled_s=float(known.get("settled_s", 0.0)),
    )


def with_leaks(tests: Iterable[Test], leaks: Iterable[tuple[str, str]]) -> list[Test]:
    """The records with what was still left at the end of the run: (test, item). A good test is not good any more."""
    left: dict[str, list[str]] = {}
    for name, item in leaks:
        left.setdefault(name, []).append(item)
    return [_leaked(test, left[test.id]) if test.id in left else test for test in tests]


def _leaked(test: Test, items: Sequence[str]) -> Test:
    text = "\n".join(["left behind, still there at the end of the run:", *(f"  {item}" for item in sorted(items))])
    test = replace(test, leak="\n\n".join(filter(None, (test.leak, text))))
    if test.outcome != PASSED:
        return test
    first = f"left behind: {min(items)}"
    return replace(test, outcome=LEAKED, error=text, headline=first, fingerprint=fingerprint(test.id, first))


def orphans_of(found: Iterable[Sequence[Any]], tests: Iterable[Test]) -> list[Orphan]:
    """Workers that saw the same orphan narrow the time in which it appeared; tests of that time may have left it."""
    times: dict[str, tuple[float, float]] = {}
    for item, since, until in found:
        earlier = times.get(item, (0.0, float("inf")))
        times[item] = (max(earlier[0], since), min(earlier[1], until))
    every = list(tests)
    return [
        Orphan(item, tuple(test.id for test in every if _ran_in(test, since, until)))
        for item, (since, until) in sorted(times.items())
    ]


def _ran_in(test: Test, since: float, until: float) -> bool:
    return bool(test.started) and test.started < until and test.started + test.seconds > since


def notes_of(tests: Iterable[Test], dead: Mapping[str, str]) -> list[str]:
    """What a reader must know beside the outcomes."""
    said = [f"worker {name} died and was replaced: {why}" for name, why in dead.items()]
    said += [f"{test.id} was run {test.runs} times" for test in tests if test.runs > 1 + _reruns(test)]
    return said


def stalls_of(tests: Iterable[Test], reports: Mapping[str, Sequence[Report]]) -> list[str]:
    """For tests that are not good: whether the machine can have had a part in it."""
    said = []
    for test in tests:
        known = [dict(report.user_properties).get(STALLED, 0.0) for report in reports.get(test.id, ())]
        if test.outcome in BAD and max(known, default=0.0) >= STALL_TOLD_S:
            said.append(f"the machine stood still for {max(known):.0f} s while {test.id} ran")
    return said


def _reruns(test: Test) -> int:
    return sum(not cause.startswith(ASKED_AGAIN) for cause in test.retries)
