"""Pools of virtual functions that change while a guest has one."""

import json
from collections.abc import Iterator

import pytest

from functests.libs import functions, patience, undo
from functests.libs.cluster import Cluster
from functests.libs.functions import ON_EACH, RESOURCES
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import Rest, core_path
from functests.libs.settings import NAMESPACE
from functests.libs.stack import Stack

pytestmark = [pytest.mark.serial, pytest.mark.needs("sriov"), pytest.mark.timeout(1800)]
MAC, VLAN = "de:ad:00:00:00:0d", 9
_POOLS = core_path("configmaps", NAMESPACE, "sriovdp-config")


@pytest.fixture
def pools(admin: Rest, cluster: Cluster) -> Iterator[None]:
    """Behind the test they are what they were, and all functions are offered."""
    before = admin.get(_POOLS).ok()["data"]
    note = undo.noted(undo.Request(method="PATCH", path=_POOLS, body={"data": before}))
    yield
    admin.patch(_POOLS, {"data": before}).ok()
    note.done()
    _wait_offered(admin, cluster, ON_EACH)


def _wait_offered(admin: Rest, cluster: Cluster, count: int) -> None:
    patience.eventually(
        f"{count} functions of each card are offered", lambda: functions.offered(admin, cluster.machines[0]),
        lambda seen: seen == dict.fromkeys(RESOURCES.values(), count), within_s=functions.patient(0.5), every_s=1.0)


@pytest.mark.disruptive
@pytest.mark.demand(vcpus=1, memory_mib=1500, boots=1, seconds=240)
@pytest.mark.case("SRI-028")
def test_a_function_whose_pool_is_gone_is_reset_when_its_guest_ends(
    space: Space, nodes: Nodes, cluster: Cluster, stack: Stack, admin: Rest, pools: None
) -> None:
    """
    Preconditions: a VMI runs with a function that has a MAC and a VLAN.
    Steps: take all pools out of the configuration; kill the node's agent, and wait until it is back; delete the VMI.
    Expected: no function is offered; the guest's keeps MAC and VLAN while it runs, also with the new agent; then it
        is as it was before the guest.
    """
    node = nodes[cluster.machines[0]]
    functions.define(space, "fast", "pf1", vlan=VLAN)
    space.create(functions.guest(cluster, "vm", {"name": "fast", "macAddress": MAC}))
    space.wait_running("vm", within_s=functions.patient())
    (used,) = [each for each in functions.functions(node, "pf1") if not each.is_neutral]
    assert (used.mac, used.vlan) == (MAC, VLAN)

    admin.patch(_POOLS, {"data": {"config.json": json.dumps({"resourceList": []})}}).ok()
    _wait_offered(admin, cluster, 0)
    agent = stack.handler(node.name)
    stack.kill(agent)
    stack.wait_restarted(agent, within_s=functions.patient())
    stack.wait_well(within_s=functions.patient())
    assert functions.functions(node, "pf1")[used.number] == used

    space.delete_vmi("vm")
    space.wait_vmi_gone("vm", within_s=functions.patient())
    patience.eventually(
        "the function is as it was", lambda: functions.functions(node, "pf1")[used.number],
        lambda now: now.is_neutral, within_s=functions.patient(0.5), every_s=1.0)
