"""Which of the collected tests run, and in which order where there is no scheduler (without xdist)."""

import random

import pytest

from functests.scheduling.lanes import LANES, Lane


def apply(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The lane's tests only; in random order when asked; those alone last, the disruptive ones at the very end."""
    name = config.getoption("lane")
    if name:
        lane = LANES[name]
        dropped = [item for item in items if not belongs(item, lane)]
        items[:] = [item for item in items if belongs(item, lane)]
        if dropped:
            config.hook.pytest_deselected(items=dropped)
    seed = config.getoption("shuffle")
    if seed is not None:
        random.Random(seed).shuffle(items)
    items.sort(key=lambda item: (has(item, "disruptive"), has(item, "serial") or has(item, "disruptive")))


def has(item: pytest.Item, mark: str) -> bool:
    return item.get_closest_marker(mark) is not None


def cases(item: pytest.Item) -> list[str]:
    return [str(mark.args[0]) for mark in item.iter_markers("case") if mark.args]


def needs(item: pytest.Item) -> list[str]:
    return [str(name) for mark in item.iter_markers("needs") for name in mark.args]


def belongs(item: pytest.Item, lane: Lane) -> bool:
    marks = {mark.name for mark in item.iter_markers()}
    return any(lane.has(case, marks, needs(item)) for case in cases(item))
