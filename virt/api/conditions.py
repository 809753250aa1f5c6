"""Lists of conditions as values: find one, set one, remove one. Works for Kubernetes' and for KubeVirt's conditions."""

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from virt.api import core, v1

C = TypeVar("C", bound=core.Condition | v1.Condition)


def find(conditions: Iterable[C], type_: str) -> C | None:
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Iterable[C], type_: str) -> bool:
    """Whether the condition is there with status "True"."""
    condition = find(conditions, type_)
    return condition is not None and condition.status == "True"


def with_condition(conditions: tuple[C, ...], new: C, now: str) -> tuple[C, ...]:
    """``conditions`` with ``new`` in place of the one of its type, or at the end.

    ``now`` (RFC 3339) becomes both of its times when the status changed; else the old times stay, so that setting the
    same condition again gives back an equal tuple and causes no write. The probe time is never left null: clients look
    for the key, and a merge patch cannot write a null.
    """
    old = find(conditions, new.type)
    if old is None or old.status != new.status:
        new = msgspec.structs.replace(new, last_transition_time=now, last_probe_time=now)
    else:
        new = msgspec.structs.replace(
            new, last_transition_time=old.last_transition_time, last_probe_time=old.last_probe_time or now
        )
    if old is None:
        return (*conditions, new)
    return tuple(new if condition.type == new.type else condition for condition in conditions)


def without(conditions: tuple[C, ...], type_: str) -> tuple[C, ...]:
    return tuple(condition for condition in conditions if condition.type != type_)
