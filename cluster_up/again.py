"""Retries for what failed because a server was away or busy for a moment. The caller names the causes that count."""

from collections.abc import Callable
from typing import TypeVar

from cluster_up.errors import ClusterError
from cluster_up.exec import Log
from virt.base import waiting

T = TypeVar("T")


def again(
    attempt: Callable[[], T], passes: Callable[[ClusterError], bool], *, deadline_s: float, every_s: float,
    log: Log = lambda line: None,
) -> T:
    """The result of ``attempt``, which must be safe to repeat.

    An error for which ``passes`` is true goes to ``log``, and the attempt is repeated; after ``deadline_s`` the last
    one is raised. Every other error is raised at once."""
    done: list[T] = []
    last: list[ClusterError] = []

    def look() -> bool:
        try:
            done.append(attempt())
        except ClusterError as error:
            if not passes(error):
                raise
            last.append(error)
            log(f"once more: {error}")
        return bool(done)

    try:
        waiting.wait_for(look, bool, deadline_s=deadline_s, every_s=every_s, what="an attempt without an error")
    except waiting.WaitTimeout:
        raise last[-1] from None
    return done[0]
