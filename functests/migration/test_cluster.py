"""What concerns a whole cluster: limits of its settings, nodes that are drained, tainted or cordoned."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from functests.libs import build, commands, moves, patience, settings
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import JSON_PATCH
from functests.libs.stack import Stack
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.serial, pytest.mark.needs("two-nodes")]


def _evictable(cluster: Cluster, name: str, node: str, strategy: str = "LiveMigrate") -> Manifest:
    """A guest that starts on ``node`` and may go elsewhere."""
    wanted = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "preference": wanted}]}}
    return build.merged(
        build.kernel_boot_vmi(cluster, name), {"spec": {"evictionStrategy": strategy, "affinity": affinity}})


@contextmanager
def _cordoned(space: Space, node: str) -> Iterator[None]:
    path = f"/api/v1/nodes/{node}"
    space.rest.patch(path, {"spec": {"unschedulable": True}}).ok()
    try:
        yield
    finally:
        space.rest.patch(path, {"spec": {"unschedulable": None}}).ok()


@pytest.mark.case("MIG-047")
@pytest.mark.demand(memory_mib=900, nodes=2, boots=2, seconds=75)
def test_a_second_one_waits_until_the_cluster_allows_it(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: one migration at a time in the cluster; one that runs and does not end by itself.
    Steps: migrate another guest; allow two.
    Expected: the second waits in Pending without a pod; it starts within 10 s after the change, and moves.
    """
    space.boot(build.kernel_boot_vmi(cluster, "quick"))
    policy(bandwidthPerMigration=moves.HELD, vmi_labels={"speed": "none"})
    slow = build.merged(
        build.kernel_boot_vmi(cluster, "vm", memory="192Mi"), {"metadata": {"labels": {"speed": "none"}}})
    _, shell = space.boot(slow)
    shell.succeed(moves.DIRTY, within_s=30)
    before = moves.home(space, nodes, "quick")
    with settings.changed(space.rest, {"configuration": {"migrations": {"parallelMigrationsPerCluster": 1}}}):
        settings.wait_applied(space.rest)
        moves.migrate(space, "vm")
        moves.reach(space, "move", "Running")
        moves.migrate(space, "quick", "second")
        patience.quiet(
            "the second began", lambda: (moves.phase(moves.get(space, "second")), len(space.pods(space.vmi("quick")))),
            lambda seen: seen[0] not in ("", "Pending") or seen[1] != 1, for_s=12)
        change = {"spec": {"configuration": {"migrations": {"parallelMigrationsPerCluster": 2}}}}
        space.rest.patch(settings.path(space.rest), change).ok()
        begun = patience.eventually(
            "the second begins", lambda: moves.phase(moves.get(space, "second")),
            lambda phase: phase not in ("", "Pending"), within_s=10)
        assert begun != "Failed", space.events("second")
        moves.reach(space, "second", "Succeeded")
        moves.check_moved(space, nodes, "quick", before, "second")


@pytest.mark.disruptive
@pytest.mark.case("DRN-007")
@pytest.mark.demand(memory_mib=1200, nodes=2, boots=3, seconds=90)
def test_a_node_is_drained(space: Space, cluster: Cluster, nodes: Nodes, stack: Stack) -> None:
    """
    Preconditions: on one node two guests with strategy LiveMigrate and witnesses, and a VM Always with strategy None.
    Steps: kubectl drain of that node.
    Expected: exit 0; the two have moved, by one migration each; the third has started anew elsewhere; no launcher is
        left on the node.
    """
    node = cluster.workers[0]
    witnesses, homes = {}, {}
    for name in ("one", "two"):
        _, shell = space.boot(_evictable(cluster, name, node))
        space.wait_condition(name, "LiveMigratable", "True")
        witnesses[name], homes[name] = Witness(shell), moves.home(space, nodes, name)
    third, _ = space.boot(build.vm_of(_evictable(cluster, "three", node, "None")))
    assert {home.node for home in homes.values()} | {third["status"]["nodeName"]} == {node}
    drain = ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=150s",
             "--pod-selector=kubevirt.io=virt-launcher"]
    try:
        # The command has a minute in kubectl(); a drain with moves may take longer.
        done = commands.shell(cluster, f"kubectl {' '.join(drain)}", deadline_s=180)
        assert done.code == 0, done.stderr
        for name in ("one", "two"):
            found = [each for each in moves.migrations(space) if each["spec"]["vmiName"] == name]
            assert len(found) == 1, found
            moves.check_moved(space, nodes, name, homes[name], found[0]["metadata"]["name"])
            witnesses[name].shell = space.shell(name)
            witnesses[name].check(still_s=3)
        again = space.wait_running("three", not_uid=third["metadata"]["uid"], within_s=patience.boots(2))
        assert again["status"]["nodeName"] != node
        assert "migrationState" not in again["status"]
    finally:
        space.rest.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}).ok()
    stack.wait_well()


@pytest.mark.case("DRN-008")
@pytest.mark.demand(memory_mib=800, nodes=2, boots=2, seconds=60)
def test_a_taint_empties_a_node(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with strategy LiveMigrate and one with None on the same node.
    Steps: taint the node with kubevirt.io/drain:NoSchedule.
    Expected: the first moves once, without any eviction; the second stays.
    """
    node = cluster.workers[0]
    for name, strategy in (("goes", "LiveMigrate"), ("stays", "None")):
        space.boot(_evictable(cluster, name, node, strategy))
        space.wait_condition(name, "LiveMigratable", "True")
    goes, stays = (moves.home(space, nodes, name) for name in ("goes", "stays"))
    assert (goes.node, stays.node) == (node, node)
    path = f"/api/v1/nodes/{node}"
    known = space.rest.get(path).ok()["spec"].get("taints", [])
    taint = {"key": "kubevirt.io/drain", "effect": "NoSchedule"}
    space.rest.patch(path, [{"op": "add", "path": "/spec/taints", "value": [*known, taint]}], JSON_PATCH).ok()
    try:
        found = patience.eventually(
            "a migration was made", lambda: moves.migrations(space), lambda seen: len(seen) == 1, within_s=20)
        moves.reach(space, found[0]["metadata"]["name"], "Succeeded")
        moves.check_moved(space, nodes, "goes", goes, found[0]["metadata"]["name"])
        patience.quiet("another migration", lambda: moves.migrations(space), lambda seen: len(seen) != 1, for_s=10)
        assert moves.home(space, nodes, "stays") == stays
    finally:
        space.rest.patch(path, [{"op": "replace", "path": "/spec/taints", "value": known}], JSON_PATCH).ok()


@pytest.mark.case("DRN-010")
@pytest.mark.demand(memory_mib=800, nodes=2, boots=2, seconds=75)
def test_a_cordoned_node_keeps_its_guests_and_takes_none(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with strategy LiveMigrate on a node, another one on the other node.
    Steps: cordon the first node; migrate the guest of the second one; uncordon.
    Expected: nothing moves by itself for 20 s; the migration waits in Scheduling and people are told; then it moves.
    """
    first, second = cluster.workers[:2]
    for name, node in (("here", first), ("there", second)):
        space.boot(_evictable(cluster, name, node))
        space.wait_condition(name, "LiveMigratable", "True")
    here, there = (moves.home(space, nodes, name) for name in ("here", "there"))
    assert (here.node, there.node) == (first, second)
    with _cordoned(space, first):
        patience.quiet("a migration", lambda: moves.migrations(space), lambda seen: seen != [], for_s=20)
        assert moves.home(space, nodes, "here") == here
        moves.migrate(space, "there")
        patience.eventually(
            "people are told", lambda: space.reasons("move"),
            lambda reasons: "migrationTargetPodUnschedulable" in reasons, within_s=30)
        assert moves.phase(moves.get(space, "move")) == "Scheduling"
    moves.reach(space, "move", "Succeeded", within_s=60 + patience.boots(2))
    moves.check_moved(space, nodes, "there", there, "move")
