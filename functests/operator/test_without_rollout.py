"""Changes that replace no component, or only what they have to."""

from datetime import UTC, datetime

import pytest

from functests.libs import build, moves, patience, settings
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.stack import COMPONENTS, HANDLER, NAMESPACE, Stack
from functests.libs.witness import Witness

pytestmark = [pytest.mark.serial, pytest.mark.needs("two-nodes")]

DAEMON_SETS = f"/apis/apps/v1/namespaces/{NAMESPACE}/daemonsets"


@pytest.mark.demand(memory_mib=500, nodes=2, seconds=60)
@pytest.mark.case("UPD-013")
def test_a_setting_of_migrations_is_in_force_at_once(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack
) -> None:
    """
    Preconditions: a running VMI.
    Steps: set the bandwidth of migrations in the KubeVirt object; migrate the VMI.
    Expected: the migration has the new bandwidth; it moves; no pod of a component is replaced.
    """
    space.boot(build.kernel_boot_vmi(cluster, "vm"))
    before = moves.home(space, nodes, "vm")
    pods = {pod["metadata"]["uid"] for component in COMPONENTS for pod in stack.pods(component)}
    with settings.changed(stack.rest, {"configuration": {"migrations": {"bandwidthPerMigration": "64Mi"}}}):
        settings.wait_applied(stack.rest)
        moves.migrate(space, "vm")
        moves.reach(space, "move", "Succeeded")
        moves.check_moved(space, nodes, "vm", before, "move")
        told = moves.state(space.vmi("vm"))["migrationConfiguration"]
        assert told["bandwidthPerMigration"] == "64Mi", told
        assert {pod["metadata"]["uid"] for component in COMPONENTS for pod in stack.pods(component)} == pods


@pytest.mark.disruptive
@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2, seconds=90)
@pytest.mark.timeout(600)
@pytest.mark.case("UPD-016")
def test_node_agents_are_rolled_out_under_guests(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running VMI with a witness on each of two nodes.
    Steps: restart the roll-out of the node agents, as kubectl does.
    Expected: every node agent's pod is another one; both nodes take VMs; the guests go on.
    """
    first, second = cluster.workers[:2]
    witnesses = {
        node: Witness(space.boot(build.on_node(build.kernel_boot_vmi(cluster, name), node))[1])
        for name, node in (("one", first), ("two", second))}
    old = {pod["metadata"]["uid"] for pod in stack.pods(HANDLER)}
    now = datetime.now(UTC).isoformat()
    restart = {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": now}}}}}
    stack.rest.patch(f"{DAEMON_SETS}/{HANDLER}", restart).ok()
    patience.eventually(
        "every node agent is another one",
        lambda: old & {pod["metadata"]["uid"] for pod in stack.pods(HANDLER)}, lambda left: not left,
        within_s=120 + patience.boots(1))
    stack.wait_well()
    assert {node: stack.schedulable(node) for node in witnesses} == dict.fromkeys(witnesses, "true")
    for name, witness in zip(("one", "two"), witnesses.values(), strict=True):
        witness.shell = space.shell(name)
        witness.check()
