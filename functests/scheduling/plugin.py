"""pytest's side of scheduling: options, the plan of a run, its account, its view. Loaded by the root conftest."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functests.libs import activity, retries
from functests.libs.slots import SLOTS
from functests.libs.stalls import STALLS
from functests.scheduling import arguments, machine, opening, plan, run, selection, view, xdist_compat
from functests.verdict import outcome, overdraft
from functests.verdict.plugin import hand_over

FOLDER = "functests"
_BOOTS = pytest.StashKey[int]()
_BEGAN = pytest.StashKey[float]()
STOPPED = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)


def is_functional(item: pytest.Item) -> bool:
    return item.path.is_relative_to(item.config.rootpath / FOLDER)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("functests", "functional tests")
    group.addoption("--lane", help="only the tests of this lane; fails when there are fewer than it must have")
    group.addoption("--shuffle", type=int, metavar="SEED", help="random order instead of the longest first")
    group.addoption("--repeat", default="1", metavar="N", help="each functional test so often")
    group.addoption("--plain", action="store_true", help="plain lines also on a terminal")


def pytest_configure(config: pytest.Config) -> None:
    if xdist_compat.worker_name(config):
        config.pluginmanager.register(xdist_compat.Loop(), "functests-loop")
        folder = xdist_compat.told(config, "run_folder")
        if folder:
            os.environ[activity.VARIABLE] = str(Path(folder) / f"{xdist_compat.worker_name(config)}.doing")
    else:
        arguments.check(config)
        config.pluginmanager.register(Controller(config), "functests-run")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    count = int(metafunc.config.getoption("repeat"))
    if count > 1 and is_functional(metafunc.definition):
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(1, count + 1), ids=lambda number: f"run{number}")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    selection.apply(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """The demands go into a file before xdist tells the controller that this worker has collected."""
    folder = xdist_compat.told(session.config, "run_folder")
    if folder:
        entries = [plan.entry(item, is_functional(item)) for item in session.items]
        plan.write(Path(folder) / f"{xdist_compat.worker_name(session.config)}.plan", entries)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    item.stash[_BOOTS] = SLOTS.taken
    if is_functional(item):
        STALLS.start()
        item.stash[_BEGAN] = time.monotonic()
    with activity.doing(item.nodeid):
        try:
            return (yield)
        finally:
            SLOTS.give_all()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """What the test really booted goes with its last report: the next run knows better than a default. So do the
    causes for which something was asked again."""
    try:
        return (yield)
    finally:
        if _BEGAN in item.stash:
            item.user_properties.append((outcome.STALLED, round(STALLS.since(item.stash[_BEGAN]), 1)))
            demand = plan.entry(item, functional=True).demand
            if not demand.alone:
                item.user_properties.append((overdraft.DECLARED, demand.vcpus))
        item.user_properties += [(outcome.RETRIED, f"{outcome.ASKED_AGAIN}{cause}") for cause in retries.noted()]
        if "warm_vm" not in getattr(item, "fixturenames", ()):       # what that booted is for other tests too
            item.user_properties.append((run.BOOTED, SLOTS.taken - item.stash.get(_BOOTS, SLOTS.taken)))


# --- on the controller ---


def swept(folder: Path) -> list[tuple[str, str]]:
    """Running guests that nobody took away go, which happens only when a worker died: (test, what stayed of its)."""
    if not any(folder.glob("*.json")):
        return []
    from functests.fixtures import warm  # only here: it brings in clients of clusters and engines

    try:
        return warm.sweep(folder)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the cluster, the run is judged
        return [("", f"running guests of {', '.join(file.stem for file in folder.glob('*.json'))}: {error}")]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return machine.workers()


class Controller:
    """Hooks of the process that the person started."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.run = run.Run(config)
        self.view: view.View | None = None
        self.faults: list[str] = []

    def pytest_report_header(self) -> list[str]:
        return self.run.heading()

    def pytest_unconfigure(self) -> None:
        self.run.close()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        xdist_compat.tell(node, run_folder=str(self.run.folder))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        return self.run.make_scheduler(log) if config.getoption("dist") == "load" else None

    @pytest.hookimpl(optionalhook=True, trylast=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        if self.view is None:
            self.view = view.chosen(self.config, self.run)
            self.view.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Iterator[None]:
        """The view says more about a functional test than a letter does."""
        status: Any = yield
        if self.view is not None and self.view.tells(report.nodeid) and not self.config.option.verbose:
            return (status[0], "", "")  # type: ignore[return-value]
        return status  # type: ignore[no-any-return]

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.when == "call" and not report.skipped):
            self.run.ran(report.nodeid)
        if report.when == "teardown" and report.passed:
            counts = [value for name, value in report.user_properties if name == run.BOOTED]
            if counts:
                self.run.booted[report.nodeid] = int(str(counts[-1]))
        if self.view is not None:
            self.view.report(report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """A run whose account does not hold has failed, whatever its tests say."""
        if self.view is not None:
            self.view.stop()
        if not self.config.stash.get(opening.CUT_SHORT, False):
            hand_over(self.config, leaks=swept(self.run.folder / run.POOL))
        self.run.finish()
        self.faults = self.run.faults(stopped=session.exitstatus in STOPPED)
        hand_over(self.config, faults=self.faults)
        if self.faults and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return (yield)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.faults:
            terminalreporter.section("scheduling", red=True)
            for fault in self.faults:
                terminalreporter.write_line(fault, red=True)
