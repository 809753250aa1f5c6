"""What is asked again, and why: a read that kube-apiserver itself could not answer, a look at a node that was cut off.

Each cause is noted, and the verdict shows it with the test (functests.scheduling.plugin): nothing is retried in
silence, and nothing whose failure could be the product's. Whatever is asked again has a deadline.
"""

from collections.abc import Callable
from typing import TypeVar

from virt.base import waiting

T = TypeVar("T")

_causes: list[str] = []


class Unanswered(AssertionError):
    """kube-apiserver had an error of its own (5xx, or 429) to a read of what it stores: etcd or the machine stood
    still. Subresources and writes are another matter: there the product answers."""


def note(cause: str) -> None:
    if cause not in _causes:
        _causes.append(cause)


def noted() -> list[str]:
    """The causes since the last time that somebody asked."""
    found = [*_causes]
    _causes.clear()
    return found


def again(what: str, act: Callable[[], T], *, of: tuple[type[Exception], ...] = (), within_s: float = 60.0) -> T:
    """``act``, once more each second while it raises Unanswered or one ``of`` these; after ``within_s`` it passes."""
    faults: list[Exception] = []
    expected: tuple[type[Exception], ...] = (Unanswered, *of)

    def tried() -> list[T]:
        try:
            return [act()]
        except expected as fault:
            faults.append(fault)
            note(f"{what}: {first_line(fault)}")
            return []

    try:
        return waiting.wait_for(tried, bool, deadline_s=within_s, every_s=1.0, what=what)[0]
    except waiting.WaitTimeout:
        raise faults[-1] from None


def first_line(fault: Exception) -> str:
    said = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {said[0][:200] if said else ''}"
