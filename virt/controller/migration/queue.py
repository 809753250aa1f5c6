"""Which of the waiting migrations may begin: limits of the cluster and of the node that a guest leaves. Pure.

First come, first served, with two exceptions that keep nobody waiting for nothing: a migration whose source node sends
as many as it may is overtaken by those from other nodes, and one that could not begin anyway by all others.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from virt.api.clusterconfig import Migrations

# The higher, the sooner. Those of the system clear a node that is to go down.
_PRIORITIES = {"system-critical": 0, "user-triggered": 1, "": 1, "system-maintenance": 2}


@dataclass(frozen=True)
class Entry:
    """A migration that is not over. ``source``: the node its guest is on; ``since``: when it was created, RFC 3339.
    ``is_blocked``: it waits for something else than a place, so it leaves the places to those that can use them."""

    uid: str
    source: str
    since: str = ""
    priority: str = ""
    is_waiting: bool = True
    is_blocked: bool = False

    @property
    def order(self) -> tuple[bool, int, str, str]:
        return self.is_blocked, _PRIORITIES.get(self.priority, 1), self.since, self.uid


def startable(entries: Collection[Entry], limits: Migrations) -> frozenset[str]:
    """Uids of those that may begin now.

    >>> two = [Entry("a", "n1", "1"), Entry("b", "n1", "2"), Entry("c", "n2", "3")]
    >>> sorted(startable(two, Migrations(parallel_per_cluster=5, parallel_outbound_per_node=1)))
    ['a', 'c']
    """
    under_way = [entry for entry in entries if not entry.is_waiting]
    free = limits.parallel_per_cluster - len(under_way)
    outbound = Counter(entry.source for entry in under_way)
    chosen = []
    for entry in sorted((entry for entry in entries if entry.is_waiting), key=lambda entry: entry.order):
        if free <= 0:
            break
        if outbound[entry.source] < limits.parallel_outbound_per_node:
            chosen.append(entry.uid)
            outbound[entry.source] += 1
            free -= 1
    return frozenset(chosen)
