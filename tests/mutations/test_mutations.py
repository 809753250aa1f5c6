"""The mutations fit the source, and the command that tries them decides rightly, whatever pytest and the cluster do."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from cluster_up import exec as host
from cluster_up.errors import StepFailed
from functests.catalogue import listing
from functests.verdict.records import Test, Verdict
from tests.mutations import mutation as mutations
from tests.mutations import trial
from tests.mutations.__main__ import summary
from tests.mutations.mutation import Edit, Mutation, MutationError
from tests.mutations.stage import ROOT, RealStage, results
from tests.mutations.trial import BROKEN, CAUGHT, SURVIVED, Outcome, Report

KNOWN = mutations.known()
CASES, TESTED = listing.catalogue(), listing.tested(listing.TESTS)


def _is_there(test: str) -> bool:
    """A file of unit tests, or a function in one."""
    path, _, name = test.partition("::")
    file = ROOT / path
    return file.is_file() and (not name or f"def {name.partition('[')[0]}(" in file.read_text())


@pytest.mark.parametrize("name", KNOWN)
def test_a_mutation_fits_the_source(name: str) -> None:
    """Each ``old`` occurs once, what comes out is still Python, and what must catch it exists."""
    mutation = KNOWN[name]
    for file, text in mutations.broken(mutation, ROOT).items():
        assert file.startswith(("virt/", "cluster_up/")), file
        if file.endswith(".py"):
            compile(text, file, "exec")
            source = (ROOT / file).read_text()
            assert [name for name in re.findall(r"self\.\w+", text) if name not in source] == [], "nobody has that"
    assert [case for case in mutation.cases if case not in CASES] == []
    assert [case for case in mutation.cases if case not in TESTED] == []
    assert [test for test in mutation.tests if not _is_there(test)] == []


@pytest.mark.runs_processes
def test_no_mutation_uses_a_name_that_is_not_there(tmp_path: Path) -> None:
    """It would be caught for its own mistake, whatever the tests are worth."""
    for mutation in KNOWN.values():
        for file, text in mutations.broken(mutation, ROOT).items():
            if file.endswith(".py"):
                (tmp_path / f"{mutation.id}--{file.replace('/', '-')}").write_text(text)
    argv = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--output-format=concise"]
    done = host.run([*argv, str(tmp_path)], deadline_s=60, check=False)
    assert done.code == 0, done.stdout + done.stderr


def test_the_catalogues_own_can_be_told_from_the_suites() -> None:
    listed = [name for name, mutation in KNOWN.items() if mutation.is_of_catalogue]
    assert len(listed) >= 60
    assert {"compute-1a", "control-9", "migration-7b", "network-16e", "devices-1c"} <= set(listed)
    assert not {"control-own-a", "migration-own-aa", "devices-2", "devices-10", "devices-moves-1"} & set(listed)


def test_there_are_as_many_as_a_suite_needs_to_be_trusted() -> None:
    assert len(KNOWN) >= 40
    assert sum(mutation.needs_cluster for mutation in KNOWN.values()) >= 40


# --- files ---


def _listed(tmp_path: Path, text: str) -> dict[str, Mutation]:
    (tmp_path / "a.toml").write_text(text)
    return mutations.known(tmp_path)


GOOD = '[a-1]\nbreaks = "x"\nfile = "virt/a.py"\nold = "one"\nnew = "two"\ncases = ["LIF-001"]\n'


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('breaks = "x"', 'breaks = " "', "breaks"),
        ('breaks = "x"', 'breaks = "x"\nbrakes = 1', "brakes"),
        ('new = "two"', 'new = "one"', "something else"),
        ('new = "two"', "new = 2", "new"),
        ('file = "virt/a.py"\nold = "one"\nnew = "two"\n', "", "edits"),
        ('cases = ["LIF-001"]', "", "either cases or tests"),
        ('cases = ["LIF-001"]', 'cases = ["LIF-001"]\ntests = ["tests/a.py"]', "either cases or tests"),
        ("[a-1]", "a-2 = 1\n[a-1]", "a-2"),
    ],
)
def test_a_faulty_entry_is_refused_by_file_and_id(tmp_path: Path, before: str, after: str, says: str) -> None:
    assert _listed(tmp_path, GOOD)["a-1"].edits == (Edit("virt/a.py", "one", "two"),)
    with pytest.raises(MutationError, match=r"a\.toml: a-") as error:
        _listed(tmp_path, GOOD.replace(before, after))
    assert says in str(error.value)


@pytest.mark.parametrize(("text", "count"), [("three", 0), ("one one", 2)])
def test_a_text_that_is_not_there_once_is_refused(tmp_path: Path, text: str, count: int) -> None:
    (tmp_path / "virt").mkdir()
    (tmp_path / "virt" / "a.py").write_text(text)
    with pytest.raises(MutationError, match=f"occurs {count} times"):
        mutations.broken(_listed(tmp_path, GOOD)["a-1"], tmp_path)


def test_edits_of_one_file_add_up(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one two")
    both = Mutation("a-1", "x", (Edit("a.py", "one", "1"), Edit("a.py", "two", "2")), ("LIF-001",))
    assert mutations.broken(both, tmp_path) == {"a.py": "1 2"}


def test_mutations_are_chosen_by_the_beginning_of_their_ids() -> None:
    names = ("a-1a", "a-1b", "a-10", "b-1")
    every = {name: Mutation(name, "x", (), ("LIF-001",)) for name in names}

    def ids(*asked: str) -> list[str]:
        return [each.id for each in mutations.chosen(every, asked)]

    assert ids() == list(names)
    assert ids("a") == ["a-1a", "a-1b", "a-10"]
    assert ids("a-1", "b-1") == ["a-1a", "a-1b", "b-1"]
    assert ids("a-10") == ["a-10"]
    with pytest.raises(MutationError, match="'c' is no mutation") as refused:
        ids("c")
    assert "--list" in refused.value.hint, "nothing is wrong with the entries"


# --- verdicts ---


@pytest.mark.parametrize(
    ("tests", "verdict", "by"),
    [
        (Report(1, {"t::a": "E one", "t::b": "E two"}, 3), CAUGHT, "t::a: E one"),
        (Report(0, {}, 2), SURVIVED, "2 tests stay green"),
        (Report(0, {}, 0), BROKEN, "every test was skipped"),
        (Report(1, {}, 0, "no module"), BROKEN, "pytest ended with 1: no module"),
        (Report(2, {"t::a": "E one"}, 1), BROKEN, "pytest ended with 2"),
        (Report(5, {}, 0), BROKEN, "pytest ended with 5"),
    ],
)
def test_what_tests_say_of_a_mutation(tests: Report, verdict: str, by: str) -> None:
    outcome = trial.judged(KNOWN["compute-3"], tests, 1.0)
    assert (outcome.verdict, outcome.by) == (verdict, by)


class FakeStage:
    """Answers from a table: an exit of pytest by mutation, or the error of its sync."""

    def __init__(self, answers: dict[str, Report | BaseException]) -> None:
        self.answers = answers
        self.did: list[str] = []

    @contextmanager
    def tree(self, mutation: Mutation | None) -> Iterator[Path]:
        self.name = mutation.id if mutation else "baseline"
        yield Path("/nowhere")
        self.did.append(f"cleared {self.name}")

    def sync(self, tree: Path) -> None:
        self.did.append(f"synced {self.name}")
        answer = self.answers[self.name]
        if isinstance(answer, BaseException):
            raise answer

    def restore(self) -> None:
        self.did.append("restored")

    def nodes(self, tree: Path, mutation: Mutation) -> Sequence[str]:
        return mutation.tests or mutation.cases

    def run(self, tree: Path, nodes: Sequence[str], leave_out: Iterable[str], *, name: str, stop: bool) -> Report:
        answer = self.answers[name]
        assert isinstance(answer, Report)
        return answer


def _mutation(name: str, *, unit: bool = False) -> Mutation:
    edits = (Edit("a.py", "one", "two"),)
    return Mutation(name, "x", edits, tests=("t",)) if unit else Mutation(name, "x", edits, cases=("LIF-001",))


def test_one_that_cannot_be_rolled_out_is_broken_and_the_rest_goes_on() -> None:
    stage = FakeStage({"a": StepFailed("crash loop"), "b": Report(1, {"t::x": "red"}, 1)})
    seen: list[Outcome] = []
    trial.trials([_mutation("a"), _mutation("b")], stage, seen.append)
    assert [(each.id, each.verdict) for each in seen] == [("a", BROKEN), ("b", CAUGHT)]
    assert "crash loop" in seen[0].by
    assert stage.did == ["synced a", "synced b", "cleared b", "restored"]


def test_the_real_product_comes_back_after_ctrl_c() -> None:
    stage = FakeStage({"a": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        trial.trials([_mutation("a")], stage, lambda _: None)
    assert stage.did[-1] == "restored"


def test_unit_tests_need_no_cluster() -> None:
    stage = FakeStage({"a": Report(1, {"t::x": "red"}, 1)})
    trial.trials([_mutation("a", unit=True)], stage, lambda _: None)
    assert stage.did == ["cleared a"]


def test_none_is_begun_when_the_time_is_over() -> None:
    stage = FakeStage({"a": Report(0, {}, 1), "b": Report(0, {}, 1)})
    seen: list[Outcome] = []
    trial.trials([_mutation("a"), _mutation("b")], stage, seen.append, time_left=lambda: not seen)
    assert [each.id for each in seen] == ["a"]
    assert stage.did[-1] == "restored"


def test_what_is_red_by_itself_is_known_before() -> None:
    stage = FakeStage({"baseline": Report(1, {"t::x": "red"}, 2)})
    look = trial.looks([_mutation("a"), _mutation("b")], stage, list)
    assert (look.nodes, look.red) == (("LIF-001",), {"t::x": "red"})
    assert stage.did == ["synced baseline", "cleared baseline"]


def test_where_all_is_known_before_nothing_is_done_to_the_cluster() -> None:
    stage = FakeStage({})
    assert trial.looks([_mutation("a")], stage, lambda nodes: []).nodes == ()
    assert stage.did == ["cleared baseline"]


def test_the_share_counts_what_is_broken_against_the_tests() -> None:
    outcomes = [Outcome("a", CAUGHT, 1.0), Outcome("b", SURVIVED, 1.0), Outcome("c", BROKEN, 1.0)]
    assert trial.share(outcomes) == pytest.approx(1 / 3)
    assert trial.share([]) == 1.0
    text = summary(outcomes, [_mutation("d")])
    assert text == '{"caught": ["a"], "survived": ["b"], "broken": ["c"], "share": 0.333, "not_begun": ["d"]}'


# --- the real stage, as far as it goes without a cluster ---


def test_a_copy_is_broken_and_the_tree_is_not(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for file in ("virt/a.py", ".git/config", "virt/__pycache__/a.pyc", "artifacts/verdict.json"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("one")
    mutation = Mutation("a-1", "x", (Edit("virt/a.py", "one", "two"),), ("LIF-001",))
    with RealStage("", tmp_path / "logs", root=root).tree(mutation) as tree:
        assert {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()} == {"virt/a.py"}
        assert (tree / "virt/a.py").read_text() == "two"
    assert not tree.exists()
    assert (root / "virt/a.py").read_text() == "one"


@pytest.mark.runs_processes
def test_pytest_in_the_copy_says_which_test_is_red(tmp_path: Path) -> None:
    (tmp_path / "t" / "tree").mkdir(parents=True)
    tree = tmp_path / "t" / "tree"
    (tree / "test_a.py").write_text(
        "import pytest\ndef test_good(): pass\n@pytest.mark.skip\ndef test_skipped(): pass\n"
        "def test_red(): assert 1 == 2, 'no'\ndef test_later(): assert False\n"
    )
    stage = RealStage("", tmp_path / "logs")
    tests = stage.run(tree, ["test_a.py"], (), name="a-1", stop=True)
    assert (tests.code, list(tests.red), tests.ran) == (1, ["test_a.py::test_red"], 2)
    assert tests.red["test_a.py::test_red"].startswith("AssertionError: no")
    assert "1 failed" in (tmp_path / "logs" / "a-1.log").read_text()
    again = stage.run(tree, ["test_a.py"], ["test_a.py::test_red"], name="a-1", stop=True)
    assert list(again.red) == ["test_a.py::test_later"]
    (tree / "test_a.py").write_text("import no_such_module\n")
    broken = stage.run(tree, ["test_a.py"], (), name="a-1", stop=True)
    assert broken.code != 0
    assert broken.red == {}


@pytest.mark.runs_processes
def test_a_test_whose_leak_is_found_at_the_end_of_the_run_has_caught_it(tmp_path: Path) -> None:
    tree = tmp_path / "t" / "tree"
    (tree / "artifacts").mkdir(parents=True)
    (tree / "test_a.py").write_text("def test_good(): pass\n")
    (tree / "conftest.py").write_text("def pytest_sessionfinish(session): session.exitstatus = 1\n")
    tests = (Test(id="test_a.py::test_good", outcome="leaked", headline="left behind: n1: tap tap0"),)
    verdict = Verdict(run="r", started=1.0, seconds=1.0, exit_status=1, tests=tests)
    (tree / "artifacts" / "verdict.json").write_bytes(msgspec.json.encode(verdict))
    report = RealStage("", tmp_path / "logs").run(tree, ["test_a.py"], (), name="a-1", stop=True)
    outcome = trial.judged(KNOWN["compute-3"], report, 1.0)
    assert (outcome.verdict, outcome.by) == (CAUGHT, "test_a.py::test_good: left behind: n1: tap tap0")


def test_what_cannot_be_collected_turns_nothing_red() -> None:
    case = '<testcase file="t.py" name="t"><error message="collection failure">x</error></testcase>'
    assert results(f"<testsuite>{case}</testsuite>") == ({}, 0)
