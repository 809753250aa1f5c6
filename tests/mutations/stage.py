"""The real stage: copies of the source in a temporary folder, ``cluster_up sync`` and pytest run from them.

The working tree is never touched. Results go to a history of their own, since they say nothing about the project.
"""

import os
import shutil
import signal
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cluster_up import exec as host
from functests.catalogue import listing
from functests.libs import patience
from functests.libs.failure import EVIDENCE
from functests.verdict import history
from functests.verdict.records import LEAKED, Verdict
from tests.mutations.mutation import Mutation, MutationError, broken
from tests.mutations.trial import Report, first_line

ROOT = Path(__file__).parents[2]
SYNC_S, TESTS_S, BASELINE_S = 420.0, 900.0, 3600.0
_LEFT_OUT = (".*", "__pycache__", "*.pyc", "artifacts", "*.egg-info")


class RealStage:
    """``cluster``: its name, "" for the default one. ``logs``: folder for what pytest printed, a file per mutation."""

    def __init__(self, cluster: str, logs: Path, *, root: Path = ROOT) -> None:
        self._root = root
        self._logs = logs
        self._env = {"VIRT_CLUSTER_NAME": cluster} if cluster else {}
        self.boot_s = ""                # as measured on the product as it is: no mutation needs to measure again

    @contextmanager
    def tree(self, mutation: Mutation | None) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
            tree = Path(folder) / "tree"
            shutil.copytree(self._root, tree, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
            for file, text in (broken(mutation, tree) if mutation is not None else {}).items():
                (tree / file).write_text(text)
            yield tree

    def sync(self, tree: Path) -> None:
        argv = [sys.executable, "-m", "cluster_up", "sync"]
        host.run(argv, deadline_s=SYNC_S, cwd=tree, env=self._environment(tree))

    def restore(self) -> None:
        """A second Ctrl-C must not leave a broken product on the cluster."""
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.sync(self._root)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def nodes(self, tree: Path, mutation: Mutation) -> Sequence[str]:
        if mutation.tests:
            return mutation.tests
        tested = listing.tested(tree / "functests")
        found = dict.fromkeys(node for case in mutation.cases for node in tested.get(case, ()))
        if not found:
            raise MutationError(f"{mutation.id}: there is no test of {', '.join(mutation.cases)}")
        return list(found)

    def run(self, tree: Path, nodes: Sequence[str], leave_out: Iterable[str], *, name: str, stop: bool) -> Report:
        report = tree.with_name("junit.xml")
        argv = [sys.executable, "-m", "pytest", *nodes, "-p", "no:cacheprovider"]
        argv += [f"--junitxml={report}", "--override-ini=junit_family=xunit1", f"--basetemp={tree.with_name('tmp')}"]
        argv += [f"--deselect={test}" for test in leave_out]
        argv += ["-x"] if stop else ["-n", "auto"]
        # Mutations must not find each other's outcomes, nor the project's own runs theirs.
        env = {**self._environment(tree), history.VARIABLE: str(tree.with_name("history.sqlite"))}
        deadline_s = TESTS_S if stop else BASELINE_S
        done = host.run(argv, deadline_s=deadline_s, cwd=tree, env=env, check=False)
        self._logs.mkdir(parents=True, exist_ok=True)
        (self._logs / f"{name}.log").write_text(done.stdout + done.stderr)
        measured = tree.with_name("tmp") / "boot-seconds"
        if not stop and measured.exists():
            self.boot_s = measured.read_text()
        red, ran = results(report.read_text()) if report.exists() else ({}, 0)
        verdict = tree / "artifacts" / "verdict.json"
        if done.code == 1 and not red and verdict.exists():
            red = leaked(verdict.read_bytes())
        return Report(done.code, red, ran, first_line("\n".join(reversed(done.stdout.splitlines()))))

    def _environment(self, tree: Path) -> dict[str, str]:
        """The copy's code before any installed one."""
        path = os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH", "")]))
        boot = {patience.VARIABLE: self.boot_s} if self.boot_s else {}
        # Whoever reads why a mutation was caught reads the log; the folder of evidence goes with the copy.
        return {"PYTHONPATH": path, EVIDENCE: "0", **boot, **self._env}


def leaked(verdict: bytes) -> dict[str, str]:
    """Tests whose leak was still there at the end of the run, which pytest's own report does not know; and the leak."""
    found = msgspec.json.decode(verdict, type=Verdict)
    return {test.id: test.headline for test in found.of(LEAKED)}


def results(junit: str) -> tuple[dict[str, str], int]:
    """Red tests with their headlines, in order, by pytest's names, and how many were not skipped.

    What cannot be collected is no test.

    >>> results('<testsuite><testcase file="a/test_b.py" name="test_c"><failure message="no&#10;more"/></testcase>'
    ...         '<testcase file="a/test_b.py" name="test_d"><skipped/></testcase></testsuite>')
    ({'a/test_b.py::test_c': 'no'}, 1)
    """
    red: dict[str, str] = {}
    ran = 0
    for case in ET.fromstring(junit).iter("testcase"):
        fault = next((found for name in ("failure", "error") if (found := case.find(name)) is not None), None)
        headline = first_line(fault.get("message", "")) if fault is not None else ""
        if case.find("skipped") is not None or headline == "collection failure":
            continue
        ran += 1
        if fault is not None:
            red.setdefault(f"{case.get('file')}::{case.get('name')}", headline)
    return red, ran
