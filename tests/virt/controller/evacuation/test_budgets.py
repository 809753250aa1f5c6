from typing import Any

import pytest

from tests.virt.controller.rig import NAMESPACE, running
from virt.api.kinds import DISRUPTION_BUDGET
from virt.controller.evacuation.budgets import is_left_over

OWNER = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "vm", "uid": "u", "controller": True}


def budget(name: str = "kubevirt-disruption-budget-x", **owner: Any) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [{**OWNER, **owner}]}, "spec": {},
    }


@pytest.mark.parametrize(("given", "expected"), [
    (budget(), True),
    (budget("mine"), False),
    (budget(controller=False), False),
    (budget(kind="Deployment"), False),
    (budget(apiVersion="apps/v1"), False),
])
def test_only_what_a_vmi_controls_is_left_over(given: dict[str, Any], expected: bool) -> None:
    assert is_left_over(given) is expected


async def test_left_over_budgets_go_and_a_tenants_own_stay() -> None:
    async with running() as rig:
        for each in (budget(), budget("mine", kind="Deployment")):
            await rig.kube.create(DISRUPTION_BUDGET, each, NAMESPACE)
        await rig.until(lambda: rig.kube.peek(DISRUPTION_BUDGET, "kubevirt-disruption-budget-x", NAMESPACE) is None)
        await rig.settle()
        assert rig.kube.peek(DISRUPTION_BUDGET, "mine", NAMESPACE) is not None
