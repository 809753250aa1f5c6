"""pytest's side of the verdict: gathers reports of all workers, and writes everything when the run ends.

Workers only put facts on their reports (the case's id, what fixtures know) and hand over in their output what is left
when they end. The controller, or the only process, records. The exit status is pytest's; it becomes a failure where
pytest would not see one: a test that nobody ran, something that a test left and that did not go away, a worker that
died and took with it what it knew of the things that its tests had left.
"""

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cluster_up import exec as host
from functests.scheduling import opening
from functests.verdict import outcome, overdraft, write
from functests.verdict.records import FAILED, LEAKED, LOST, Verdict
from functests.verdict.sampler import Sampler

FUNCTIONAL = "functests/"
Leaks = Sequence[tuple[str, str]]                   # test, item
Orphans = Sequence[tuple[str, float, float]]        # item, since, until
_LEAKS, _ORPHANS, _FAULTS = "ledger_leaks", "ledger_orphans", "faults"
_ALONE = pytest.StashKey[dict[str, list[Any]]]()


def register(config: pytest.Config) -> None:
    """Called by the root conftest's pytest_configure, in the controller and in each worker."""
    config.pluginmanager.register(Cases(), "functest-cases")
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        config.pluginmanager.register(Recorder(config), "functest-verdict")


def hand_over(
    config: pytest.Config, *, leaks: Leaks = (), orphans: Orphans = (), faults: Sequence[str] = ()
) -> None:
    """From the end of this process's session: what its tests have left, what shows no owner, faults of the run."""
    output: Any = getattr(config, "workeroutput", None)         # xdist's, empty at first
    if output is None:
        output = config.stash.setdefault(_ALONE, {})
    output.setdefault(_LEAKS, []).extend(leaks)
    output.setdefault(_ORPHANS, []).extend(orphans)
    output.setdefault(_FAULTS, []).extend(faults)


class Cases:
    """Each report carries the ids of its catalogue cases, in one text."""

    @pytest.hookimpl
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            found = sorted(str(mark.args[0]) for mark in item.iter_markers("case") if mark.args)
            if found:
                item.user_properties.append(("case", " ".join(found)))


class Recorder:
    """Of the controlling process."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._started = time.time()
        self._expected: dict[str, None] = {}                # in the order of collection
        self._reports: dict[str, list[Any]] = {}
        self._collect_errors: dict[str, str] = {}
        self._leaks: list[tuple[str, str]] = []
        self._orphans: list[tuple[str, float, float]] = []
        self._faults: list[str] = []
        self._dead: dict[str, str] = {}
        self._workers: set[str] = set()
        self._sampler = Sampler()
        self._written: tuple[Path, Verdict] | None = None

    # --- what happens ---

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._expected.update(dict.fromkeys(item.nodeid for item in session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: Sequence[str]) -> None:
        self._workers.add(node.gateway.id)
        self._expected.update(dict.fromkeys(ids))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        if error:
            self._dead[node.gateway.id] = str(error)
        self._take(getattr(node, "workeroutput", {}))

    def _take(self, output: Mapping[str, Any]) -> None:
        self._leaks += [(test, item) for test, item in output.get(_LEAKS, []) if (test, item) not in self._leaks]
        self._orphans += output.get(_ORPHANS, [])
        self._faults += output.get(_FAULTS, [])

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if nodeid.startswith(FUNCTIONAL):
            self._sampler.start()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reports.setdefault(report.nodeid, []).append(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._collect_errors[report.nodeid] = str(report.longrepr)

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self._faults.append(f"internal error: {excinfo.exconly()[:500]}")

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self._faults.append(f"stopped: {excinfo.exconly()[:500]}")

    # --- the end ---

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The session's status, not the one that is handed to this hook: other plugins have corrected it since."""
        self._sampler.stop()
        alone: dict[str, list[Any]] = self._config.stash.get(_ALONE, {})
        self._take(alone)
        names = [*self._expected, *self._collect_errors]
        if not self._is_empty() and not any(name.startswith(FUNCTIONAL) for name in names):
            return
        there = still_there([item for item, _, _ in self._orphans])     # now that no test runs any more
        self._orphans = [orphan for orphan in self._orphans if orphan[0] in there]
        verdict = self._verdict(int(session.exitstatus))
        is_bad = verdict.orphans or verdict.of(LOST, LEAKED) or self._strays() or self._dead
        if verdict.exit_status == 0 and is_bad:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            verdict = self._verdict(int(session.exitstatus))
        self._written = write.all_of(verdict, self._config.rootpath / "artifacts")

    def _is_empty(self) -> bool:
        """Functional tests were asked for and none was found: else the last run's verdict would pass for this one's."""
        config = self._config
        wanted = opening.is_wanted(config.args, config.rootpath, config.invocation_params.dir)
        return wanted and not self._expected and not self._collect_errors

    def _strays(self) -> list[str]:
        """What was left and is no test's of this run."""
        return [item for test, item in self._leaks if test not in self._reports]

    def _verdict(self, status: int) -> Verdict:
        stopped = status in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
        early = stopped or bool(self._config.getvalue("maxfail"))       # what was not run then is not lost
        names = [*self._expected, *(name for name in self._reports if name not in self._expected)]
        records = outcome.with_leaks(
            [outcome.record_of(name, self._reports.get(name, [])) for name in names], self._leaks
        )
        told = {item for _, item in self._leaks}
        tests = tuple(record for record in records if not (early and record.outcome == LOST))
        not_run = len(names) - len(tests)
        notes = outcome.notes_of(tests, self._dead) + outcome.stalls_of(tests, self._reports)
        notes += overdraft.overdrafts(self._reports, self._sampler.guests.values())
        notes += [f"restarted meanwhile: {name}" for name in self._sampler.restarted]
        notes += [f"left behind: {item}" for item in self._strays()]
        if not_run:
            notes.append(f"{not_run} tests did not run to their end, because the run was stopped early")
        return Verdict(
            run=f"{datetime.fromtimestamp(self._started, UTC):%Y%m%dT%H%M%S.%f}",
            started=self._started,
            seconds=round(time.time() - self._started, 1),
            exit_status=status,
            cluster=self._sampler.cluster,
            revision=revision(self._config.rootpath),
            workers=max(1, len(self._workers)),
            command=" ".join(["pytest", *sys.argv[1:]]),
            tests=tests,
            collect_errors=self._collect_errors,
            orphans=tuple(outcome.orphans_of([one for one in self._orphans if one[0] not in told], tests)),
            guests=tuple(self._sampler.guests.values()),
            memory=tuple(self._sampler.memory),
            sampling=self._sampler.trouble,
            faults=tuple(dict.fromkeys(self._faults)),
            notes=tuple(notes),
        )

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Above pytest's own last line."""
        if self._written is None:
            return
        page, verdict = self._written
        terminalreporter.section("verdict")
        for name, item in self._leaks:
            terminalreporter.line(f"left by {name}: {item}")
        for orphan in verdict.orphans:
            terminalreporter.line(f"left by one of {', '.join(orphan.tests) or 'the tests'}: {orphan.item}")
        for test in verdict.of(LOST):
            terminalreporter.line(f"never reported: {test.id}")
        new = [test for test in verdict.of(FAILED) if not test.seen_before]
        if new:
            terminalreporter.line(f"failures that this machine's history does not know: {len(new)}")
        terminalreporter.line(f"everything about this run: {page}")


def still_there(orphans: Collection[str]) -> Collection[str]:
    """Which of them a last look still finds without an owner; all of them when there is no looking."""
    if not orphans:
        return orphans
    from functests.libs import ledger_book  # only here: it brings in clients of clusters and engines

    try:
        return ledger_book.still_there(orphans)
    except Exception:  # noqa: BLE001 - whatever is wrong with the cluster, what was seen is told
        return orphans


def revision(root: Path) -> str:
    """Commit of the source, "+" when files differ from it; "" outside a repository."""
    try:
        commit = host.run(["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], deadline_s=10, check=False)
        changed = host.run(["git", "-C", str(root), "status", "--porcelain"], deadline_s=10, check=False)
    except Exception:  # noqa: BLE001 - no git on this machine is no reason to lose a verdict
        return ""
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "") if commit.code == 0 else ""
