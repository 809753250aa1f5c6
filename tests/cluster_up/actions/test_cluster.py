"""Nodes that were started again."""

from cluster_up.actions.cluster import silent
from cluster_up.providers.api import NodeView

NODE = NodeView("n", "worker", "172.18.0.2", running=True, started=100.5)


def test_only_what_a_node_said_after_its_start_counts() -> None:
    assert silent([NODE], {"n": 101.0}) == []
    assert silent([NODE], {"n": 100.0}) == ["n"]
    assert silent([NODE], {}) == ["n"]
