"""What the run consists of: each collected test with its demand. Workers know it, the controller needs it: a file."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from functests.scheduling import demand as demands
from functests.scheduling.admission import Job
from functests.scheduling.demand import Demand

UNIT = Demand(vcpus=1)          # unit tests compute and boot nothing
UNIT_S = 0.1


@dataclass(frozen=True)
class Entry:
    """``group``: tests of one group go to one worker, one after the other; functional tests have none.
    ``declared``: the test has a mark of its own, not only what its fixtures say."""

    id: str
    demand: Demand
    group: str = ""
    declared: bool = False


def entry(item: pytest.Item, functional: bool) -> Entry:
    if not functional:
        return Entry(item.nodeid, UNIT, group=item.nodeid.split("::", maxsplit=1)[0])
    marks = [mark.kwargs for mark in item.iter_markers("demand")]
    names = [mark.name for mark in item.iter_markers()]
    return Entry(item.nodeid, demands.of(getattr(item, "fixturenames", ()), marks, names), declared=bool(marks))


def write(file: Path, entries: Sequence[Entry]) -> None:
    rows = [
        {"id": one.id, "group": one.group, "declared": one.declared, "demand": one.demand.to_json()} for one in entries
    ]
    part = file.with_suffix(".part")
    part.write_text(json.dumps(rows))
    part.replace(file)              # others look for plans meanwhile


def read(file: Path) -> list[Entry]:
    rows = json.loads(file.read_text())
    return [Entry(row["id"], Demand(**row["demand"]), row["group"], row["declared"]) for row in rows]


def corrected(entries: Sequence[Entry], booted: Mapping[str, int]) -> list[Entry]:
    """Where only fixtures say what a test takes, what it booted the last time says it better."""

    def correct(one: Entry) -> Entry:
        count = booted.get(one.id)
        if one.declared or one.demand.warm or count is None or count == one.demand.boots:
            return one
        if count:
            return replace(one, demand=replace(one.demand, boots=count))
        return replace(one, demand=replace(one.demand, boots=0, vcpus=0, memory_mib=0))

    return [correct(one) for one in entries]


def jobs(
    entries: Sequence[Entry], durations: Mapping[str, float], *, seed: int | None = None
) -> list[tuple[Job, list[int]]]:
    """What is admitted as one, with the indices of its tests; with a ``seed`` in random order.

    ``durations``: seconds of earlier runs by test id; where there are none the declared ones count.
    """
    groups: dict[str, list[int]] = {}
    for index, one in enumerate(entries):
        groups.setdefault(one.group or one.id, []).append(index)
    made = []
    for key, indices in groups.items():
        first = entries[indices[0]]
        assumed = [UNIT_S if entries[index].group else entries[index].demand.estimate_s() for index in indices]
        seconds = sum(
            durations.get(entries[index].id, guess) for index, guess in zip(indices, assumed, strict=True)
        )
        made.append((Job(key, first.demand, seconds), indices))
    if seed is not None:
        random.Random(seed).shuffle(made)
    return made


def report(entries: Sequence[Entry]) -> dict[str, Any]:
    """Sums that a run is judged by."""
    return {
        "tests": len(entries),
        "boots": sum(one.demand.boots for one in entries),
        "warm": sum(bool(one.demand.warm) for one in entries),
    }
