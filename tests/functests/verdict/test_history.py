"""Runs of the past: what is new, what flakes, what was last red."""

from pathlib import Path

import msgspec

from functests.verdict import write
from functests.verdict.history import History
from functests.verdict.records import Test, Verdict


def run(number: int, *, revision: str = "r1", **outcomes: str) -> Verdict:
    tests = tuple(
        Test(id=name, outcome=outcome, case=f"LIF-{name[-1]}", started=float(number),
             fingerprint="" if outcome in ("passed", "skipped") else f"print-{name}", headline=f"broken in {number}")
        for name, outcome in outcomes.items()
    )
    name = f"run-{number:03}"
    return Verdict(run=name, started=float(number), seconds=1.0, exit_status=0, revision=revision, tests=tests)


def test_a_failure_is_new_once(tmp_path: Path) -> None:
    history = History(tmp_path / "a" / "history.sqlite")
    seen = [write.judged(run(number, t1="failed"), history).tests[0].seen_before for number in (1, 2, 3)]
    assert seen == [0, 1, 2]


def test_a_test_over_one_percent_is_listed_and_one_below_is_not(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    for number in range(1, 101):
        bad = number == 1
        history.add(run(number, t1="failed" if bad else "passed", t2="failed" if number in (1, 2) else "passed"))
    last = run(101, t1="passed", t2="passed")
    history.add(last)
    assert [(flake.test, flake.bad, flake.runs, flake.mixed) for flake in history.flakes(last.tests)] == [
        ("t2", 2, 101, True)
    ]


def test_a_test_that_was_never_good_is_no_flake_and_skips_do_not_count(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    history.add(run(1, t1="failed", t2="skipped"))
    last = run(2, t1="failed", t2="skipped")
    history.add(last)
    assert history.flakes(last.tests) == []


def test_how_each_test_ended_last_at_a_revision(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    history.add(run(1, revision="r1", t1="failed", t2="passed"))
    history.add(run(2, revision="r1", t1="passed"))
    history.add(run(3, revision="r2", t1="failed", t2="failed"))
    assert history.outcomes("r1") == {"t1": "passed", "t2": "passed"}
    assert history.outcomes("r3") == {}


def test_bad_and_good_at_other_sources_is_not_mixed(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    history.add(run(1, revision="r1", t1="failed"))
    last = run(2, revision="r2", t1="passed")
    history.add(last)
    assert [flake.mixed for flake in history.flakes(last.tests)] == [False]


def test_a_case_is_red_until_it_is_good_again(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    history.add(run(1, t1="leaked", t2="passed"))
    history.add(run(2, t1="passed", t2="crashed"))
    good, red = history.cases()
    assert good == {"LIF-1": 2.0, "LIF-2": 1.0}
    assert {case: (last.started, last.headline) for case, last in red.items()} == {
        "LIF-1": (1.0, "broken in 1"), "LIF-2": (2.0, "broken in 2"),
    }


def test_a_test_speaks_for_all_its_cases(tmp_path: Path) -> None:
    history = History(tmp_path / "history.sqlite")
    for number, outcome, cases in ((1, "passed", "LIF-1"), (2, "failed", "LIF-1 LIF-2"), (3, "passed", "LIF-2")):
        both = run(number, t1=outcome)
        history.add(msgspec.structs.replace(both, tests=(msgspec.structs.replace(both.tests[0], case=cases),)))
    good, red = history.cases()
    assert good == {"LIF-1": 1.0, "LIF-2": 3.0}
    assert {case: last.started for case, last in red.items()} == {"LIF-1": 2.0, "LIF-2": 2.0}


def test_a_broken_history_costs_only_the_comparison(tmp_path: Path) -> None:
    class Broken(History):
        def seen(self, fingerprints: object) -> dict[str, int]:
            raise OSError("disk full")

    page, verdict = write.all_of(run(1, t1="failed"), tmp_path / "out", Broken(tmp_path / "history.sqlite"))
    assert page.exists()
    assert "no history: OSError: disk full" in verdict.notes
    assert msgspec.json.decode((tmp_path / "out" / "verdict.json").read_bytes())["tests"][0]["outcome"] == "failed"
