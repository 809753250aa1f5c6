"""Virtual functions of network cards, of machines and of this computer: made by the node agents there, offered as one
resource per card.

Nothing to do, and nothing there, in a cluster without such cards.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from cluster_up.actions.step import Run, Step
from cluster_up.images.recipe import RECIPES, digest
from cluster_up.kube import NAMESPACE, KubeError
from cluster_up.machines.model import CARD_FUNCTIONS
from cluster_up.state import LentCard
from virt.base import waiting

_OFFERED_S = 600.0              # images of the node agent come first, on a slow machine
_DEFINITION = RECIPES / "machine" / "networks.yaml"
_PREFIX = "intel.com"
_CONFIG_MAP = "sriovdp-config"
Wanted = dict[str, dict[str, int]]      # how many of each resource, by node


def configuration(cards: int, lent: Sequence[LentCard] = ()) -> dict[str, Any]:
    """The node agents' ConfigMap: all functions of each card, ``pf1`` as ``net1`` and so on, then ``lent`` ones of this
    machine. Pure."""
    machines = [(f"net{card}", f"pf{card}", CARD_FUNCTIONS) for card in range(1, cards + 1)]
    own = [(f"net{number}", card.name, card.most) for number, card in enumerate(lent, cards + 1)]
    pools = [
        {
            "resourceName": resource, "resourcePrefix": _PREFIX, "numVfs": count, "selectors": {"pfNames": [name]},
        }
        for resource, name, count in (*machines, *own)
    ]  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _CONFIG_MAP, "namespace": NAMESPACE},
        "data": {"config.json": json.dumps({"resourceList": pools}, indent=1)},
    }  # fmt: skip


def missing(nodes: list[dict[str, Any]], wanted: Wanted) -> list[str]:
    """A line for each node and resource that is not offered in full. Pure."""
    found = {node["metadata"]["name"]: node["status"].get("allocatable", {}) for node in nodes}
    return [
        f"{name}: {resource} {offered} of {count}"
        for name, resources in wanted.items()
        for resource, count in resources.items()
        if (offered := found.get(name, {}).get(resource, "0")) != str(count)
    ]


def wanted_of(machines: Mapping[str, int], lent: Sequence[LentCard]) -> Wanted:
    """How many functions of each resource a node has to offer. ``machines``: their cards. Pure."""
    wanted = {
        name: {f"{_PREFIX}/net{card}": CARD_FUNCTIONS for card in range(1, cards + 1)}
        for name, cards in machines.items()
    }
    for number, card in enumerate(lent, max(machines.values(), default=0) + 1):
        wanted.setdefault(card.node, {})[f"{_PREFIX}/net{number}"] = card.most
    return wanted


def _wanted(run: Run) -> Wanted:
    views = [view.name for view in run.provider.nodes() if view.role == "machine"]
    machines = dict(zip(views, (machine.cards for machine in run.state.machines), strict=False))
    return wanted_of(machines, run.state.cards)


def _cards(run: Run) -> int:
    return max((machine.cards for machine in run.state.machines), default=0)


def _identity(run: Run) -> str:
    lent = [f"{card.name}={card.most}" for card in run.state.cards]
    return digest(_DEFINITION.read_bytes(), str(_cards(run)), *lent)


def _is_done(run: Run) -> bool:
    if not _cards(run) and not run.state.cards:
        return "functions" not in run.state.applied
    return run.state.applied.get("functions") == _identity(run) and not missing(run.kube.nodes(), _wanted(run))


def _perform(run: Run) -> None:
    if not _cards(run) and not run.state.cards:
        try:
            run.kube.remove(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{_CONFIG_MAP}")
        except KubeError as error:
            if error.code != 404:
                raise
        run.learn(sriov=False)
        run.remember(applied={step: what for step, what in run.state.applied.items() if step != "functions"})
        return
    run.kube.apply([*yaml.safe_load_all(_DEFINITION.read_text()), configuration(_cards(run), run.state.cards)])

    def look() -> list[str]:
        left = missing(run.kube.nodes(), _wanted(run))
        run.report.detail(f"offered: {'; '.join(left) or 'all'}")
        return left

    waiting.wait_for(look, lambda left: not left, deadline_s=_OFFERED_S, every_s=2.0, what="all virtual functions")
    run.learn(sriov=_cards(run) > 0)            # tests want cards that are made for them
    run.mark_applied("functions", _identity(run))


STEP = Step("functions", "virtual functions of network cards", _is_done, _perform)
