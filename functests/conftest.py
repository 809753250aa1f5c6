"""Fixtures of the functional tests; each lives in a module of its topic."""

from functests.fixtures.cluster import admin, cluster, nodes
from functests.fixtures.space import space

__all__ = ["admin", "cluster", "nodes", "space"]
