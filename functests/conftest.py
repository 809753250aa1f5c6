"""Fixtures of the functional tests; each lives in a module of its topic."""

from functests.fixtures.calibration import calibrated
from functests.fixtures.cluster import admin, can, capable, cluster, nodes
from functests.fixtures.ledger import book, ledger
from functests.fixtures.segments import layer2
from functests.fixtures.space import closed, evidence, space
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
