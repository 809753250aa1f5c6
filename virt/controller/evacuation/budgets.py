"""PodDisruptionBudgets that older releases made for VMIs: now they would only block the evictions that move guests."""

from typing import Any, Final

from virt.api.kinds import DISRUPTION_BUDGET
from virt.controller import writes
from virt.kube.client import Client
from virt.kube.controller import DONE, Result
from virt.kube.informer import Informer
from virt.kube.objects import meta_of

_PREFIX: Final = "kubevirt-disruption-budget-"


def is_left_over(budget: dict[str, Any]) -> bool:
    """Only what a VMI controls, whoever gave it the name."""
    meta = meta_of(budget)
    return meta.name.startswith(_PREFIX) and any(
        owner.controller and owner.kind == "VirtualMachineInstance" and owner.api_version.startswith("kubevirt.io/")
        for owner in meta.owner_references)


class BudgetReconciler:
    def __init__(self, client: Client, budgets: Informer[dict[str, Any]]) -> None:
        self._client = client
        self._budgets = budgets

    async def reconcile(self, key: str) -> Result:
        budget = self._budgets.store.get(key)
        if budget is not None and is_left_over(budget):
            await writes.delete(self._client, DISRUPTION_BUDGET, budget)
        return DONE
