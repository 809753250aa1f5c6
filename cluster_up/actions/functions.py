"""Virtual functions of the machines' network cards: made by the node agents there, offered as one resource per card.

Nothing to do, and nothing there, in a cluster without machines.
"""

import json
from typing import Any

import msgspec
import yaml

from cluster_up.actions.rollout import NAMESPACE
from cluster_up.actions.step import Run, Step
from cluster_up.images.recipe import RECIPES, digest
from cluster_up.kube import KubeError
from cluster_up.machines.model import CARD_FUNCTIONS
from virt.base import waiting

_OFFERED_S = 600.0              # images of the node agent come first, on a slow machine
_DEFINITION = RECIPES / "machine" / "networks.yaml"
_PREFIX = "intel.com"
_CONFIG_MAP = "sriovdp-config"


def configuration(cards: int) -> dict[str, Any]:
    """The node agents' ConfigMap: all functions of each card, ``pf1`` as ``net1`` and so on. Pure."""
    pools = [
        {
            "resourceName": f"net{card}", "resourcePrefix": _PREFIX, "numVfs": CARD_FUNCTIONS,
            "selectors": {"pfNames": [f"pf{card}"]},
        }
        for card in range(1, cards + 1)
    ]  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _CONFIG_MAP, "namespace": NAMESPACE},
        "data": {"config.json": json.dumps({"resourceList": pools}, indent=1)},
    }  # fmt: skip


def missing(nodes: list[dict[str, Any]], wanted: dict[str, int]) -> list[str]:
    """A line for each node and resource of ``wanted`` (cards by node) that is not offered in full. Pure."""
    found = {node["metadata"]["name"]: node["status"].get("allocatable", {}) for node in nodes}
    return [
        f"{name}: {resource} {offered} of {CARD_FUNCTIONS}"
        for name, cards in wanted.items()
        for resource in (f"{_PREFIX}/net{card}" for card in range(1, cards + 1))
        if (offered := found.get(name, {}).get(resource, "0")) != str(CARD_FUNCTIONS)
    ]


def _wanted(run: Run) -> dict[str, int]:
    views = [view.name for view in run.provider.nodes() if view.role == "machine"]
    return dict(zip(views, (machine.cards for machine in run.state.machines), strict=False))


def _cards(run: Run) -> int:
    return max((machine.cards for machine in run.state.machines), default=0)


def _identity(run: Run) -> str:
    return digest(_DEFINITION.read_bytes(), str(_cards(run)))


def _is_done(run: Run) -> bool:
    if not _cards(run):
        return "functions" not in run.state.applied
    return run.state.applied.get("functions") == _identity(run) and not missing(run.kube.nodes(), _wanted(run))


def _perform(run: Run) -> None:
    if not _cards(run):
        try:
            run.kube.remove(f"/api/v1/namespaces/{NAMESPACE}/configmaps/{_CONFIG_MAP}")
        except KubeError as error:
            if error.code != 404:
                raise
        _remember(run, can=False)
        run.remember(applied={step: what for step, what in run.state.applied.items() if step != "functions"})
        return
    run.kube.apply([*yaml.safe_load_all(_DEFINITION.read_text()), configuration(_cards(run))])

    def look() -> list[str]:
        left = missing(run.kube.nodes(), _wanted(run))
        run.report.detail(f"offered: {'; '.join(left) or 'all'}")
        return left

    waiting.wait_for(look, lambda left: not left, deadline_s=_OFFERED_S, every_s=2.0, what="all virtual functions")
    _remember(run, can=True)
    run.mark_applied("functions", _identity(run))


def _remember(run: Run, *, can: bool) -> None:
    run.remember(capabilities=msgspec.structs.replace(run.state.capabilities, sriov=can))


STEP = Step("functions", "virtual functions of the machines", _is_done, _perform)
