import pytest

from virt.api.clusterconfig import Migrations
from virt.controller.migration.queue import Entry, startable


def waits(*nodes: str) -> list[Entry]:
    return [Entry(f"{number}", node, since=f"{number:02}") for number, node in enumerate(nodes)]


def runs(*nodes: str) -> list[Entry]:
    return [Entry(f"r{number}", node, is_waiting=False) for number, node in enumerate(nodes)]


@pytest.mark.parametrize(("entries", "cluster", "node", "expected"), [
    (waits("a", "a", "a"), 5, 2, "0 1"),
    (waits("a", "a", "b", "c"), 2, 1, "0 2"),             # the second of node a stands in nobody's way
    (runs("a", "a") + waits("a", "b"), 5, 2, "1"),
    (runs("a", "b", "c") + waits("d", "e", "f"), 5, 2, "0 1"),
    (runs("a", "b") + waits("c"), 2, 2, ""),
    (runs("a", "b", "c") + waits("d"), 2, 2, ""),         # a limit that was lowered stops nobody who runs
    ([Entry("late", "a", "09"), Entry("early", "a", "01")], 5, 1, "early"),
    ([Entry("u", "a", "01", "user-triggered"), Entry("s", "a", "02", "system-critical")], 5, 1, "s"),
    ([Entry("m", "a", "01", "system-maintenance"), Entry("u", "a", "02")], 5, 1, "u"),
    # One that waits for a quota or for its guest takes the place that is left over.
    ([Entry("q", "a", "01", "system-critical", is_blocked=True), Entry("u", "a", "02")], 5, 1, "u"),
    ([Entry("q", "a", "01", "system-critical", is_blocked=True), Entry("u", "a", "02")], 5, 2, "q u"),
])
def test_who_may_begin(entries: list[Entry], cluster: int, node: int, expected: str) -> None:
    limits = Migrations(parallel_per_cluster=cluster, parallel_outbound_per_node=node)
    assert startable(entries, limits) == frozenset(expected.split())
