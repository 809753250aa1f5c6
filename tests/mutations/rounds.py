"""What is known before a round begins: how long it takes, and which tests need no look on the product as it is.

Pure but for two files: outcomes of each mutation, and what was seen of the tests without any.
"""

import fcntl
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from tests.mutations.mutation import Mutation
from tests.mutations.trial import Outcome

ASSUMED_S, ASSUMED_UNIT_S = 75.0, 3.0       # of a mutation, before any was tried here


class Record(msgspec.Struct, frozen=True):
    """An outcome, and when and at which revision of the source it came."""

    outcome: Outcome
    time: float
    revision: str


class Baseline(msgspec.Struct, frozen=True):
    """``looked``: tests, as mutations name them, that were run on the product of ``revision`` as it is; ``red``: those
    that failed, with the first line of why. ``boot_s``: how long a boot took then, "" when none was measured."""

    revision: str = ""
    looked: tuple[str, ...] = ()
    red: Mapping[str, str] = {}
    boot_s: str = ""

    def at(self, revision: str) -> "Baseline":
        """What of it holds at ``revision``: nothing where the source has changed, or is not committed."""
        holds = revision and revision == self.revision and not revision.endswith("+")
        return self if holds else Baseline(revision)

    def more(self, looked: Iterable[str], red: Mapping[str, str], boot_s: str) -> "Baseline":
        return Baseline(
            self.revision, tuple(dict.fromkeys([*self.looked, *looked])), {**self.red, **red}, boot_s or self.boot_s)

    def left(self, nodes: Iterable[str], outcomes: Mapping[str, str]) -> list[str]:
        """Which of ``nodes`` must be looked at. ``outcomes``: test -> outcome, of functional runs at this revision."""
        return [node for node in dict.fromkeys(nodes) if node not in self.looked and not _is_green(node, outcomes)]


def _is_green(node: str, outcomes: Mapping[str, str]) -> bool:
    """All of a test's parameters passed."""
    found = [outcome for test, outcome in outcomes.items() if test == node or test.startswith(f"{node}[")]
    return bool(found) and set(found) == {"passed"}


def estimate_s(mutation: Mutation, records: Mapping[str, Record], known: Mapping[str, Mutation]) -> float:
    """As long as it took the last time; else as long as its like took here."""
    if mutation.id in records:
        return records[mutation.id].outcome.seconds
    alike = [
        record.outcome.seconds for name, record in records.items()
        if name in known and known[name].needs_cluster == mutation.needs_cluster
    ]
    return statistics.median(alike) if alike else ASSUMED_S if mutation.needs_cluster else ASSUMED_UNIT_S


def fitting(mutations: Sequence[Mutation], seconds: Sequence[float], limit_s: float) -> list[Mutation]:
    """Those that will presumably be begun before ``limit_s`` have passed."""
    passed, found = 0.0, []
    for mutation, each_s in zip(mutations, seconds, strict=True):
        if passed >= limit_s:
            break
        found.append(mutation)
        passed += each_s
    return found


def kept(file: Path) -> dict[str, Record]:
    """The last outcome of each mutation by id; none when there is no file that can be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Record])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def kept_baseline(file: Path) -> Baseline:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Baseline)
    except (FileNotFoundError, msgspec.DecodeError):
        return Baseline()


def add(file: Path, record: Record) -> None:
    """One more outcome, beside those that rounds in other work trees have written meanwhile."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("a") as line:
        fcntl.flock(line, fcntl.LOCK_EX)
        keep(file, {**kept(file), record.outcome.id: record})


def keep(file: Path, what: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_bytes(msgspec.json.format(msgspec.json.encode(what), indent=1))
    part.rename(file)               # a run that is killed leaves the old one or the new one
