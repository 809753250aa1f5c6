"""Budgets that keep one replica of a Deployment while nodes are drained."""

from virt.api import names
from virt.operator.resources import Json


def budgets(namespace: str, deployment: str, replicas: int) -> tuple[Json, ...]:
    """None with a single replica: it would block every drain."""
    if replicas < 2:
        return ()
    return ({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": f"{deployment}-pdb", "namespace": namespace},
        "spec": {"minAvailable": replicas - 1, "selector": {"matchLabels": {names.APP_LABEL: deployment}}},
    },)
