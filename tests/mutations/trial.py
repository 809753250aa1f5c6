"""One mutation on trial, and all of them in turn: what counts as caught, and what is done whatever happens.

The effects (copies of the tree, the cluster, pytest) are behind :class:`Stage`; the real one is in ``stage``.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from tests.mutations.mutation import Mutation, MutationError

CAUGHT, SURVIVED, BROKEN = "caught", "survived", "broken"


class Outcome(msgspec.Struct, frozen=True):
    """``by``: the test that turned red, with the first line of its error; else why it is broken."""

    id: str
    verdict: str
    seconds: float
    by: str = ""


@dataclass(frozen=True)
class Report:
    """What pytest did. ``red``: test -> headline, in the order of the run; ``ran``: how many were not skipped."""

    code: int
    red: Mapping[str, str]
    ran: int
    said: str = ""                  # the end of its output


@dataclass(frozen=True)
class Look:
    """Tests that were run on the product as it is, and those of them that are red."""

    nodes: tuple[str, ...]
    red: Mapping[str, str]


class Stage(Protocol):
    """Everything outside of the decisions. ``tree`` is a folder with a copy of the source."""

    def tree(self, mutation: Mutation | None) -> AbstractContextManager[Path]:
        """A copy of the source with ``mutation`` applied. Raises MutationError."""
        ...

    def sync(self, tree: Path) -> None:
        """Bring the product of ``tree`` to the cluster. Raises ClusterError."""
        ...

    def restore(self) -> None:
        """Bring the real source's product back to the cluster; nothing interrupts it. Raises ClusterError."""
        ...

    def nodes(self, tree: Path, mutation: Mutation) -> Sequence[str]:
        """pytest's names of the tests that must catch it."""
        ...

    def run(self, tree: Path, nodes: Sequence[str], leave_out: Iterable[str], *, name: str, stop: bool) -> Report:
        """Run tests, with ``stop`` until the first red one. Raises ClusterError when pytest passes its deadline."""
        ...


def judged(mutation: Mutation, tests: Report, seconds: float) -> Outcome:
    """What the tests say of the mutation.

    pytest's other exit codes (2: stopped or not collected, 3: its own error, 4: wrong use, 5: no tests) say nothing
    about it, and neither do tests that were all skipped.
    """
    if tests.code == 1 and tests.red:
        test, headline = next(iter(tests.red.items()))
        return Outcome(mutation.id, CAUGHT, seconds, f"{test}: {headline}")
    if tests.code == 0 and tests.ran:
        return Outcome(mutation.id, SURVIVED, seconds, f"{tests.ran} tests stay green")
    why = "every test was skipped" if tests.code == 0 else f"pytest ended with {tests.code}"
    return Outcome(mutation.id, BROKEN, seconds, f"{why}: {tests.said}" if tests.said else why)


def trial(mutation: Mutation, stage: Stage, leave_out: Iterable[str] = ()) -> Outcome:
    """``leave_out``: tests that are red without it. Never raises for what a mutation, or its tests, may do."""
    began = time.monotonic()
    try:
        with stage.tree(mutation) as tree:
            nodes = stage.nodes(tree, mutation)
            if mutation.needs_cluster:
                stage.sync(tree)
            tests = stage.run(tree, nodes, leave_out, name=mutation.id, stop=True)
    except MutationError as error:
        return Outcome(mutation.id, BROKEN, time.monotonic() - began, str(error))
    except Exception as error:  # noqa: BLE001 - a product that cannot be rolled out is this mutation's fault alone
        return Outcome(mutation.id, BROKEN, time.monotonic() - began, f"{type(error).__name__}: {error}")
    return judged(mutation, tests, time.monotonic() - began)


def looks(mutations: Sequence[Mutation], stage: Stage, left: Callable[[Sequence[str]], Sequence[str]]) -> Look:
    """Run the tests of ``mutations`` on the product as it is: those that are red there can catch nothing.

    ``left`` says which of them are not known yet; where all are nothing is done. Raises ClusterError.
    """
    with stage.tree(None) as tree:
        by_mutation = [stage.nodes(tree, mutation) for mutation in mutations]
        nodes = left(list(dict.fromkeys(node for nodes in by_mutation for node in nodes)))
        if not nodes:
            return Look((), {})
        if any(mutation.needs_cluster for mutation in mutations):
            stage.sync(tree)
        return Look(tuple(nodes), stage.run(tree, nodes, (), name="baseline", stop=False).red)


def trials(
    mutations: Sequence[Mutation], stage: Stage, tell: Callable[[Outcome], None], *,
    leave_out: Iterable[str] = (), time_left: Callable[[], bool] = lambda: True,
) -> None:
    """All in turn, while there is time to begin one; the cluster has the real product again when this returns."""
    touched = False
    try:
        for mutation in mutations:
            if not time_left():
                return
            touched = touched or mutation.needs_cluster
            tell(trial(mutation, stage, leave_out))
    finally:
        if touched:
            stage.restore()


def share(outcomes: Iterable[Outcome]) -> float:
    """Of those caught among all, 1 when there are none. What is broken was not caught."""
    verdicts = [outcome.verdict for outcome in outcomes]
    return verdicts.count(CAUGHT) / len(verdicts) if verdicts else 1.0


def first_line(text: str) -> str:
    """Of an error's text, short enough for a line of a report."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:200]
