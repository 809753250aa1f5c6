"""What is known before a round: how long it takes, which tests need no look, and that nothing of it is lost."""

from pathlib import Path

import pytest

from tests.mutations import rounds
from tests.mutations.__main__ import _options, selected
from tests.mutations.mutation import Edit, Mutation
from tests.mutations.rounds import Baseline, Record
from tests.mutations.trial import CAUGHT, SURVIVED, Outcome


def _mutation(name: str, file: str = "virt/a.py", *, unit: bool = False) -> Mutation:
    edits = (Edit(file, "one", "two"),)
    return Mutation(name, "x", edits, tests=("t",)) if unit else Mutation(name, "x", edits, cases=("LIF-001",))


def _record(name: str, seconds: float, verdict: str = CAUGHT) -> Record:
    return Record(Outcome(name, verdict, seconds), 100.0, "abc")


KNOWN = {each.id: each for each in (
    _mutation("compute-1a", "virt/launcher/b.py"), _mutation("compute-2", "virt/controller/a.py"),
    _mutation("control-own-a", "virt/launcher/a.py"), _mutation("devices-2", unit=True),
)}  # fmt: skip


def test_an_estimate_is_the_last_time_or_that_of_its_like() -> None:
    assert rounds.estimate_s(KNOWN["compute-1a"], {}, KNOWN) == rounds.ASSUMED_S
    assert rounds.estimate_s(KNOWN["devices-2"], {}, KNOWN) == rounds.ASSUMED_UNIT_S
    records = {name: _record(name, seconds) for name, seconds in
               {"compute-1a": 40.0, "compute-2": 60.0, "devices-2": 2.0, "gone-1": 900.0}.items()}
    assert rounds.estimate_s(KNOWN["compute-1a"], records, KNOWN) == 40
    assert rounds.estimate_s(KNOWN["control-own-a"], records, KNOWN) == 50
    assert rounds.estimate_s(_mutation("devices-3", unit=True), records, KNOWN) == 2


def test_tests_are_looked_at_for_those_only_that_fit_into_the_time() -> None:
    every = list(KNOWN.values())
    assert rounds.fitting(every, [60, 60, 60, 60], 100) == every[:2]
    assert rounds.fitting(every, [60, 60, 60, 60], float("inf")) == every


def test_those_asked_for_come_one_component_after_the_other() -> None:
    records = {"compute-2": _record("compute-2", 1.0), "compute-1a": _record("compute-1a", 1.0, SURVIVED)}

    def ids(*argv: str) -> list[str]:
        return [each.id for each in selected(_options(argv), KNOWN, records)]

    assert ids() == ["devices-2", "compute-2", "control-own-a", "compute-1a"]
    assert ids("--catalogue") == ["compute-2", "compute-1a"]
    assert ids("--catalogue", "--left") == ["compute-1a"]
    assert ids("--unit") == ["devices-2"]


def test_a_test_is_looked_at_once_for_each_revision() -> None:
    seen = Baseline("abc").more(["t::a", "t::b"], {"t::b": "it is red"}, "4.20")
    assert seen.at("abc") == seen
    assert seen.left(["t::a", "t::c", "t::c"], {}) == ["t::c"]
    assert seen.more(["t::c"], {}, "").boot_s == "4.20"
    for other in ("def", "abc+", ""):
        assert seen.at(other) == Baseline(other), "another product, or one that nobody can name"
    assert Baseline("abc+").at("abc+") == Baseline("abc+")


@pytest.mark.parametrize(
    ("outcomes", "left"),
    [
        ({"t::a": "passed"}, []),
        ({"t::a[one]": "passed", "t::a[two]": "passed"}, []),
        ({"t::a[one]": "passed", "t::a[two]": "failed"}, ["t::a"]),
        ({"t::a": "skipped"}, ["t::a"]),
        ({"t::ab": "passed"}, ["t::a"]),
    ],
)
def test_what_a_functional_run_of_this_revision_has_shown_is_known(outcomes: dict[str, str], left: list[str]) -> None:
    assert Baseline("abc").left(["t::a"], outcomes) == left


def test_outcomes_and_looks_are_kept_between_runs(tmp_path: Path) -> None:
    file = tmp_path / "artifacts" / "mutations.json"
    assert rounds.kept(file) == {}
    records = {"a": _record("a", 1.5)}
    rounds.keep(file, records)
    assert rounds.kept(file) == records
    assert list(file.parent.iterdir()) == [file]
    other = _record("b", 2.0)
    rounds.add(file, other)
    assert rounds.kept(file) == {**records, "b": other}, "of a round in another work tree"
    file.write_text("{")
    assert rounds.kept(file) == {}
    assert rounds.kept_baseline(file) == Baseline()
    seen = Baseline("abc", ("t::a",), {"t::a": "red"}, "4")
    rounds.keep(file, seen)
    assert rounds.kept_baseline(file) == seen
