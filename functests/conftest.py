"""Fixtures of the functional tests, each in a module of its topic; and the evidence that no fixture could collect."""

from collections.abc import Generator
from typing import Any

import pytest

from functests.fixtures.calibration import calibrated
from functests.fixtures.cluster import admin, can, capable, cluster, nodes
from functests.fixtures.ledger import book, ledger
from functests.fixtures.segments import layer2
from functests.fixtures.space import closed, collect_late, evidence, space
from functests.fixtures.stack import stack
from functests.fixtures.volumes import node_volumes
from functests.fixtures.warm import nobody_else, pool, warm_vm

__all__ = [
    "admin",
    "book",
    "calibrated",
    "can",
    "capable",
    "closed",
    "cluster",
    "evidence",
    "layer2",
    "ledger",
    "nobody_else",
    "node_volumes",
    "nodes",
    "pool",
    "space",
    "stack",
    "warm_vm",
]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "teardown" and isinstance(item, pytest.Function):
        collect_late(item, report)
    return report
