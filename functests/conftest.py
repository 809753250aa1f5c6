"""Fixtures of the functional tests; each lives in a module of its topic."""

from functests.fixtures.calibration import calibrated
from functests.fixtures.cluster import admin, capable, cluster, nodes
from functests.fixtures.space import evidence, space

__all__ = ["admin", "calibrated", "capable", "cluster", "evidence", "nodes", "space"]
