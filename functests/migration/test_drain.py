"""Nodes that are emptied: the cluster's own strategy, a node that cannot be emptied, the product's own pods."""

import contextlib
import functools
from collections.abc import Iterable, Iterator

import pytest

from functests.libs import build, commands, evictions, moves, patience, placement, pods, settings
from functests.libs.cluster import Cluster
from functests.libs.console import Console, ConsoleRefused
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path
from functests.libs.stack import API, CONTROLLER, NAMESPACE, Stack, is_ready
from functests.libs.witness import Witness
from virt.api import quantity

pytestmark = [pytest.mark.serial, pytest.mark.needs("two-nodes")]
DRAIN_S = 30                    # kubectl asks every 5 s
SLEEPS = "import time; time.sleep(3600)"


@pytest.mark.case("DRN-004")
@pytest.mark.demand(memory_mib=800, nodes=2, boots=2, seconds=60)
def test_the_clusters_strategy_is_that_of_guests_without_one(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: the cluster's strategy is LiveMigrate; a VMI without a strategy, one with None.
    Steps: evict the pods of both.
    Expected: the first gets 429, and moves; the second is evicted, ends, and makes no migration.
    """
    with settings.changed(space.rest, {"configuration": {"evictionStrategy": "LiveMigrate"}}):
        settings.wait_applied(space.rest)
        space.boot(build.kernel_boot_vmi(cluster, "moves"))
        plain = build.kernel_boot_vmi(cluster, "ends")
        space.boot(build.merged(plain, {"spec": {"evictionStrategy": "None"}}))
        for name in ("moves", "ends"):
            space.wait_condition(name, "LiveMigratable", "True")
        before, ending = (moves.home(space, nodes, name) for name in ("moves", "ends"))
        answer = evictions.evict(space, before.pod)
        assert (answer.code, "Eviction triggered evacuation" in answer.message) == (429, True), answer.text
        assert evictions.evict(space, ending.pod).code == 201
        found = patience.eventually(
            "a migration was made", lambda: moves.migrations(space), bool, within_s=patience.promised(15))
        migration = found[0]["metadata"]["name"]
        moves.reach(space, migration, "Succeeded")
        moves.check_moved(space, nodes, "moves", before, migration)
        moves.check_clean(nodes, ending)
        assert [each["spec"]["vmiName"] for each in moves.migrations(space)] == ["moves"]


def _free_milli(space: Space, node: str) -> int:
    """CPU that the node has to give to one more pod."""
    def asked(pod: Object) -> int:
        return sum(_milli(one.get("resources", {}).get("requests", {}).get("cpu", 0))
                   for one in pod["spec"]["containers"])

    given = _milli(space.rest.get(f"/api/v1/nodes/{node}").ok()["status"]["allocatable"]["cpu"])
    there = space.rest.get(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}").ok()["items"]
    return given - sum(asked(pod) for pod in there if pod["status"]["phase"] not in moves.FINAL)


def _milli(text: str | int) -> int:
    return int(quantity.parse(text) * 1000)


@pytest.mark.disruptive
@pytest.mark.case("DRN-018")
@pytest.mark.demand(memory_mib=500, nodes=2, boots=1, seconds=90)
def test_a_node_whose_guests_find_no_room_is_not_emptied(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack
) -> None:
    """
    Preconditions: a guest with strategy LiveMigrate and a witness; a pod that takes what the other node has to give.
    Steps: kubectl drain of the guest's node, for 30 s; delete the pod.
    Expected: the drain fails; the guest's pod is there, people are told that no node takes the target's, and the guest
        did not notice; then it moves by the same migration, without another eviction.
    """
    first, second = cluster.workers[:2]
    _, shell = space.boot(build.evictable(build.kernel_boot_vmi(cluster, "vm"), first))
    space.wait_condition("vm", "LiveMigratable", "True")
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    other = second if before.node == first else first
    filler = pods.python_pod(cluster, "filler", SLEEPS, node=other)
    filler["spec"]["containers"][0]["resources"]["requests"]["cpu"] = f"{_free_milli(space, other) - 5}m"
    pods.start(space, filler)
    try:
        done = commands.shell(
            cluster, f"kubectl {evictions.drain(before.node, DRAIN_S)}", deadline_s=DRAIN_S + patience.promised(30))
        assert done.code != 0, done.stdout
        assert moves.home(space, nodes, "vm") == before
        (found,) = moves.migrations(space)
        migration = found["metadata"]["name"]
        assert moves.phase(found) == "Scheduling", found["status"]
        space.wait_events(migration, "migrationTargetPodUnschedulable")
        witness.check(still_s=1)
        space.rest.delete(core_path("pods", space.name, "filler"), {"gracePeriodSeconds": 0}).ok()
        moves.reach(space, migration, "Succeeded", within_s=60 + patience.boots(2))
        moves.check_moved(space, nodes, "vm", before, migration)
        assert len(moves.migrations(space)) == 1
    finally:
        space.rest.patch(f"/api/v1/nodes/{before.node}", {"spec": {"unschedulable": None}}).ok()
    witness.shell = space.shell("vm")
    witness.check(still_s=3)
    stack.wait_well()


@contextlib.contextmanager
def _all_cordoned(space: Space, names: Iterable[str]) -> Iterator[None]:
    with contextlib.ExitStack() as each:
        for name in names:
            each.enter_context(placement.cordoned(space.rest, name))
        yield


def _budget(space: Space, component: str) -> Object:
    return space.rest.get(f"/apis/policy/v1/namespaces/{NAMESPACE}/poddisruptionbudgets/{component}-pdb").ok()


def _shell(space: Space) -> Console:
    """kube-apiserver takes its time to see which of the aggregated servers are there."""
    def opened() -> Console | None:
        with contextlib.suppress(ConsoleRefused):
            return space.console("vm")
        return None

    found = patience.eventually(
        "a console opens", opened, lambda seen: seen is not None, within_s=patience.promised(30))
    assert found is not None
    return found.login(within_s=patience.boots(1))


@pytest.mark.disruptive
@pytest.mark.case("DRN-014")
@pytest.mark.demand(memory_mib=400, nodes=2, boots=1, seconds=60)
def test_the_last_of_the_control_plane_is_not_evicted(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a guest with a witness; every node is cordoned.
    Steps: evict all pods of virt-api and of virt-controller, one after the other.
    Expected: each has a budget of one pod less than there are; the last one that is ready is refused with 429; the
        guest did not notice and its console opens.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    for component in (API, CONTROLLER):
        replicas = stack.pods(component)
        with _all_cordoned(space, cluster.nodes):
            budget = patience.eventually(
                "the budget counts them", functools.partial(_budget, space, component),
                lambda found: found["status"].get("disruptionsAllowed") == 1, within_s=patience.promised(30))
            assert budget["spec"]["minAvailable"] == len(replicas) - 1, budget["spec"]
            codes = [evictions.evict(space, pod["metadata"]["name"], namespace=NAMESPACE).code for pod in replicas]
            assert codes == [201] * (len(replicas) - 1) + [429], codes
            assert is_ready(stack.pod(replicas[-1]["metadata"]["name"]))
            witness.shell = _shell(space)
            witness.check(still_s=1)
        stack.wait_well()


@pytest.mark.disruptive
@pytest.mark.case("DRN-017")
@pytest.mark.demand(memory_mib=400, nodes=2, boots=1, seconds=60)
def test_without_an_api_guests_are_not_evicted(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack
) -> None:
    """
    Preconditions: a guest with strategy LiveMigrate and a witness, an ordinary pod; every virt-api stands still.
    Steps: evict the pods of both; let virt-api go on; evict the guest's pod.
    Expected: an error of the server for the guest's, whose pod stays; 201 for the ordinary one; then 429 as usual; the
        guest moves, once, and did not notice any of it.
    """
    _, shell = space.boot(build.merged(
        build.kernel_boot_vmi(cluster, "vm"), {"spec": {"evictionStrategy": "LiveMigrate"}}))
    space.wait_condition("vm", "LiveMigratable", "True")
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    pods.start(space, pods.python_pod(cluster, "plain", SLEEPS))
    servers = stack.pods(API)
    try:
        for server in servers:
            stack.signal(server, "STOP")
        answer = evictions.evict(space, before.pod)
        assert answer.code >= 500, answer.text
        assert evictions.evict(space, "plain").code == 201
        assert moves.home(space, nodes, "vm") == before
    finally:
        for server in servers:
            stack.signal(server, "CONT")
    # It may have the first request still in its hands, and mark the VMI for that one.
    code = patience.eventually(
        "virt-api answers", lambda: evictions.evict(space, before.pod).code, lambda seen: seen < 500)
    assert code == 429, code
    (found,) = patience.eventually(
        "a migration was made", lambda: moves.migrations(space), bool, within_s=patience.promised(15))
    moves.reach(space, found["metadata"]["name"], "Succeeded")
    moves.check_moved(space, nodes, "vm", before, found["metadata"]["name"])
    assert len(moves.migrations(space)) == 1
    stack.wait_well()
    witness.shell = _shell(space)
    witness.check(still_s=2)
