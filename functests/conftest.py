"""Fixtures of the functional tests; each lives in a module of its topic."""

from functests.fixtures.calibration import calibrated
from functests.fixtures.cluster import admin, capable, cluster, nodes
from functests.fixtures.ledger import book, ledger
from functests.fixtures.space import closed, evidence, space

__all__ = [
    "admin", "book", "calibrated", "capable", "closed", "cluster", "evidence", "ledger", "nodes", "space",
]
