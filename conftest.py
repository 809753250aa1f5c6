"""pytest hooks only. Fixtures are in functests/fixtures, helpers in functests/libs."""

from collections.abc import Generator
from typing import Any

import pytest

from functests.libs.failure import FAILURE


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell the fixtures that the test failed, so that evidence is collected before anything is taken away."""
    report = yield
    if report.failed and call.when in ("setup", "call"):
        item.stash[FAILURE] = str(report.longrepr)
    return report
