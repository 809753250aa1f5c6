"""Network cards of this machine go to the workers that borrow them, and come back when no worker is to have them.

Where the configuration names none and none is lent, there is nothing to do and nothing is looked at.
"""

import json
from collections.abc import Sequence

from cluster_up import cards, docker
from cluster_up.actions.step import Run, Step
from cluster_up.errors import StepFailed
from cluster_up.exec import Log
from cluster_up.hostcards import model, moving
from cluster_up.state import LentCard

_HELD = "/sys/bus/pci/devices/{0.address}/net/{0.name}"


class MachineShell:
    """Scripts as root in the machine's own namespaces, through a container of ``image``, which has iproute2."""

    def __init__(self, image: str) -> None:
        self._image = image

    def __call__(self, script: str) -> str:
        return docker.run(
            "run", "--rm", "--interactive", "--privileged", "--network", "host", "--pid", "host", "--entrypoint", "sh",
            self._image, "-eu", input=script,
        )  # fmt: skip


def _wanted(run: Run) -> tuple[LentCard, ...]:
    if not run.config.cards:
        return ()
    needed = model.busy(json.loads(MachineShell(run.state.node_image)("ip -json address show")))
    chosen = model.chosen(run.config.cards, cards.present(), needed, run.state.cards)
    return model.placed(chosen, [view.name for view in run.provider.nodes() if view.role == "worker"])


def _has_it(run: Run, card: LentCard) -> bool:
    """Whether the node has the card: a node that was restarted has lost it."""
    return run.provider.run(card.node, f"[ ! -e '{_HELD.format(card)}' ] || echo here").strip() == "here"


def _is_done(run: Run) -> bool:
    if not run.config.cards and not run.state.cards:
        return True
    wanted = _wanted(run)
    return wanted == run.state.cards and all(_has_it(run, card) for card in wanted)


def _perform(run: Run) -> None:
    wanted, shell = _wanted(run), MachineShell(run.state.node_image)
    kept = {card.address for card in wanted}
    # Written before anything moves: what is lent, and how it was.
    leaving = [card for card in run.state.cards if card.address not in kept]
    run.remember(cards=(*wanted, *leaving))
    give_back(leaving, shell, run.report.detail)
    run.remember(cards=wanted)
    for card in wanted:
        if _has_it(run, card):
            continue
        if moving.here(card) != card.name:
            raise StepFailed(f"network card {card.name} ({card.address}) is neither on this machine nor on {card.node}",
                             hint="`python -m cluster_up down` of the cluster that has it gives it back")
        run.report.detail(f"{card.name} goes to {card.node}")
        moving.lend(card, _pid(card.node), shell)


def give_back(lent: Sequence[LentCard], shell: moving.Script, log: Log) -> None:
    """Cards are here again, as they were, whether their node runs, was killed, or is gone. Raises StepFailed."""
    for card in lent:
        log(f"{card.name} comes back from {card.node}")
        pid = _pid(card.node)
        if pid and not moving.here(card):
            moving.recall(card, pid, shell)
        moving.settle(card, shell)


def _pid(node: str) -> int:
    """Pid of the node's first process on this machine; 0 for a node that does not run."""
    found = docker.inspect("container", node)
    return int(found["State"]["Pid"]) if found else 0


STEP = Step("host-cards", "network cards of this machine", _is_done, _perform)
