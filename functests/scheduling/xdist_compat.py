"""The one module that knows xdist's insides, for pytest-xdist 3.8.

Two things are ours. On the controller a scheduler that gives each worker one job at a time, as Dispatch decides. On the
workers the loop: xdist's own begins a test only when it knows the one after it, so a test that is sent is not started
and one that waits for memory would hold up the one in front of it. Ours begins at once; what is kept for the next test
is then only what belongs to the session, so fixtures of a module live as long as the tests that were sent together.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.workermanage import WorkerController

from functests.scheduling.dispatch import Dispatch

MakeDispatch = Callable[[Sequence[str]], Dispatch]


class Scheduler:
    """xdist's ``Scheduling`` protocol. ``make`` is called with the ids of all tests, once they are known."""

    def __init__(self, make: MakeDispatch, log: Producer) -> None:
        self._make = make
        self._log = log
        self._ready: dict[WorkerController, bool] = {}      # whether its collection has come
        self.ids: list[str] | None = None
        self.dispatch: Dispatch | None = None
        self.problems: list[str] = []

    # --- what DSession asks ---

    @property
    def nodes(self) -> list[WorkerController]:
        return list(self._ready)

    @property
    def collection_is_completed(self) -> bool:
        """With the first worker that has collected the work begins; the others join when they have."""
        return self.ids is not None

    @property
    def has_pending(self) -> bool:
        return self.dispatch is not None and not self.dispatch.is_over()

    @property
    def tests_finished(self) -> bool:
        return self.dispatch is not None and self.dispatch.is_over()

    def add_node(self, node: WorkerController) -> None:
        self._ready[node] = False

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        if self.ids is None:
            self.ids = list(collection)
        elif list(collection) != self.ids:
            odd = sorted(set(collection) ^ set(self.ids))[:3] or ["their order"]
            self.problems.append(f"{node.gateway.id} collected other tests than the first worker: {', '.join(odd)}")
            node.shutdown()
            return
        self._ready[node] = True

    def schedule(self) -> None:
        if self.dispatch is None:
            assert self.ids is not None
            self.dispatch = self._make(self.ids)
        self._assign()

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        assert self.dispatch is not None
        self.dispatch.complete(node.gateway.id, item_index)
        self._assign()

    def mark_test_pending(self, item: str) -> None:
        assert self.dispatch is not None
        assert self.ids is not None
        self.dispatch.again(self.ids.index(item))
        self._assign()

    def remove_pending_tests_from_node(self, node: WorkerController, indices: Sequence[int]) -> None:
        raise NotImplementedError("nothing is ever taken back from a worker")

    def remove_node(self, node: WorkerController) -> str | None:
        """The id of the test that a lost worker ran. KeyError for one that is not ours, as DSession expects."""
        del self._ready[node]
        if self.dispatch is None:
            return None
        crashed = self.dispatch.lost(node.gateway.id)
        self._assign()
        return None if crashed is None else self.dispatch.entries[crashed].id

    # --- ---

    def _assign(self) -> None:
        dispatch = self.dispatch
        assert dispatch is not None
        idle = {
            node.gateway.id: node
            for node, ready in self._ready.items()
            if ready and not node.shutting_down and node.gateway.id not in dispatch.running
        }
        for worker, indices in dispatch.assign(list(idle)):
            try:
                idle[worker].send_runtest_some(indices)
            except OSError as error:        # it died; its end is in the queue and takes the tests back
                self._log(f"cannot send to {worker}: {error}")


class _Next(pytest.Item):
    """Stands for a next test that is not known yet: of what is set up it needs the session only."""

    def runtest(self) -> None:
        raise AssertionError("not a test")


class Loop:
    """Plugin of a worker: begins each test as soon as it is sent."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        interactor = _interactor(session.config)
        unknown = _Next.from_parent(session, name="next")
        # A lost connection reads as the order to end.
        interactor.channel.setcallback(interactor.handle_command, endmarker=("shutdown", {}))
        last: pytest.Item | None = None
        while isinstance(index := interactor.torun.get(), int):
            with interactor.torun.lock() as queued:
                following = queued[0] if queued else unknown
            if isinstance(following, int):
                following = session.items[following]
            elif following is not unknown:
                following = None                    # the order to end is there already
            last = session.items[index]
            interactor.item_index = interactor.nextitem_index = index
            began = time.perf_counter()
            try:
                session.config.hook.pytest_runtest_protocol(item=last, nextitem=following)
            except (KeyboardInterrupt, pytest.exit.Exception):
                raise
            except BaseException as error:  # noqa: BLE001 - one test that cannot be reported must not end the run
                _report_outside(session, last, following, error)
            duration = time.perf_counter() - began
            interactor.sendevent("runtest_protocol_complete", item_index=index, duration=duration)
            if session.shouldfail or session.shouldstop:
                break
        if last is not None:
            _end_session(session, last)
        return True


def _end_session(session: pytest.Session, last: pytest.Item) -> None:
    """Fixtures of the session end here, and what goes wrong with that is an error of the last test."""
    _tear_down(session, last, None)


def _tear_down(session: pytest.Session, item: pytest.Item, following: pytest.Item | None) -> None:
    """Fixtures that ``following`` has not; what goes wrong with that is an error of ``item``."""
    call = pytest.CallInfo.from_call(
        lambda: session._setupstate.teardown_exact(following), when="teardown", reraise=(KeyboardInterrupt,)
    )
    if call.excinfo is not None:
        report = item.ihook.pytest_runtest_makereport(item=item, call=call)
        item.ihook.pytest_runtest_logreport(report=report)


def _report_outside(
    session: pytest.Session, item: pytest.Item, following: pytest.Item | None, error: BaseException
) -> None:
    """An error of ``item`` that came while pytest was about it, not in its own code: its limit of time passed while its
    failure was written down, or a plugin failed. pytest would end this worker, and xdist then the run."""
    text = "".join(["outside of the test's own code:\n", *traceback.format_exception(error)])
    report = pytest.TestReport(
        item.nodeid, item.location, {}, "failed", text, "teardown", user_properties=item.user_properties)
    item.ihook.pytest_runtest_logreport(report=report)
    _tear_down(session, item, following)


def _interactor(config: pytest.Config) -> Any:
    for plugin in config.pluginmanager.get_plugins():
        if type(plugin).__name__ == "WorkerInteractor":
            return plugin
    raise RuntimeError("this is no xdist worker")


def worker_name(config: pytest.Config) -> str:
    """gw0 and so on; "" outside of a worker."""
    return str(getattr(config, "workerinput", {}).get("workerid", ""))


def tell(node: WorkerController, **values: str) -> None:
    """Values that the worker finds with :func:`told`."""
    node.workerinput.update(values)


def told(config: pytest.Config, name: str) -> str:
    return str(getattr(config, "workerinput", {}).get(name, ""))
