"""pytest hooks only. Fixtures are in functests/fixtures, helpers in functests/libs."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from functests.libs import alarm, patience, turns
from functests.libs.failure import FAILURE
from functests.scheduling import opening
from functests.verdict import plugin as verdict

pytest_plugins = ["functests.scheduling.plugin"]

FUNCTESTS = Path(__file__).parent / "functests"
FUNCTEST_TIMEOUT_S = 420      # several boots on a slow machine; unit tests keep the limit of pyproject.toml


def _is_functional(item: pytest.Item) -> bool:
    return item.path.is_relative_to(FUNCTESTS)


def pytest_configure(config: pytest.Config) -> None:
    verdict.register(config)
    opening.register(config)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Functional tests have a time limit of their own; which of them run, and in which order: functests.scheduling."""
    for item in items:
        if _is_functional(item) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(FUNCTEST_TIMEOUT_S))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A functional test waits for its turn before its clock starts: serial ones have the cluster for themselves."""
    if not _is_functional(item):
        return (yield)
    alone = any(item.get_closest_marker(name) for name in ("serial", "disruptive"))
    with turns.turn(alone=alone):
        given = item.get_closest_marker("timeout")
        if given is not None and given.args:
            # Here and not at collection: the first tests measure how long a boot takes.
            item.add_marker(pytest.mark.timeout(patience.limit(given.args[0])), append=False)
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell the fixtures that the test failed, so that evidence is collected before anything is taken away."""
    with alarm.held():
        report = yield
    if report.failed and call.when in ("setup", "call"):
        item.stash[FAILURE] = str(report.longrepr)
    return report
