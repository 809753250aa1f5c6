"""What concerns a whole cluster: limits of its settings, nodes that are drained, tainted or cordoned."""

from collections.abc import Callable

import pytest

from functests.libs import build, commands, evictions, moves, patience, placement, settings
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path
from functests.libs.stack import Stack
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.serial, pytest.mark.needs("two-nodes")]


def _evictable(cluster: Cluster, name: str, node: str, strategy: str = "LiveMigrate") -> Manifest:
    """A guest that starts on ``node`` and may go elsewhere."""
    return build.evictable(build.kernel_boot_vmi(cluster, name), node, strategy)


@pytest.mark.case("MIG-047")
@pytest.mark.demand(memory_mib=900, nodes=2, boots=2, seconds=75)
def test_a_second_one_waits_until_the_cluster_allows_it(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, policy: Policy
) -> None:
    """
    Preconditions: one migration at a time in the cluster; one that runs and does not end by itself.
    Steps: migrate another guest; allow two.
    Expected: the second waits in Pending without a pod; it starts soon after the change, and moves; no component was
        restarted for it.
    """
    restarts = stack.restarts()
    space.boot(build.kernel_boot_vmi(cluster, "quick"))
    policy(bandwidthPerMigration=moves.HELD, vmi_labels={"speed": "none"})
    slow = build.merged(
        build.kernel_boot_vmi(cluster, "vm", memory="192Mi"), {"metadata": {"labels": {"speed": "none"}}})
    _, shell = space.boot(slow)
    shell.succeed(moves.DIRTY)
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
            lambda phase: phase not in ("", "Pending"), within_s=patience.promised(10))
        assert begun != "Failed", space.events("second")
        assert moves.phase(moves.get(space, "move")) == "Running", "a place became free by itself"
        moves.reach(space, "second", "Succeeded")
        moves.check_moved(space, nodes, "quick", before, "second")
        assert stack.restarts() == restarts


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
    limit_s = round(max(150.0, patience.boots(2)))
    try:
        # The command has a minute in kubectl(); a drain with moves may take longer.
        done = commands.shell(cluster, f"kubectl {evictions.drain(node, limit_s)}", deadline_s=limit_s + 30)
        assert done.code == 0, done.stderr
        for name in ("one", "two"):
            found = [each for each in moves.migrations(space) if each["spec"]["vmiName"] == name]
            assert len(found) == 1, found
            migration = found[0]["metadata"]["name"]
            moves.reach(space, migration, "Succeeded")
            moves.check_moved(space, nodes, name, homes[name], migration, is_drained=True)
            witnesses[name].shell = space.shell(name)
            witnesses[name].check(still_s=3)
        again = space.wait_running("three", not_uid=third["metadata"]["uid"], within_s=patience.boots(2))
        assert again["status"]["nodeName"] != node
        assert "migrationState" not in again["status"]
        pods = space.rest.get(core_path("pods", space.name)).ok()["items"]
        left = [pod["metadata"]["name"] for pod in pods if pod["spec"].get("nodeName") == node]
        assert not left, left
    finally:
        space.rest.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}).ok()
    stack.wait_well()


OWN_TAINT = "functest.example/leave"


def _moved_once(space: Space, nodes: Nodes, before: moves.Home, known: set[str]) -> str:
    """A migration that is not of ``known`` was made and moves the guest "goes"; no other one is made. Its name."""
    def made() -> list[str]:
        return sorted({each["metadata"]["name"] for each in moves.migrations(space)} - known)

    (name,) = patience.eventually("a migration was made", made, bool, within_s=patience.promised(20))
    moves.reach(space, name, "Succeeded")
    moves.check_moved(space, nodes, "goes", before, name)
    patience.quiet("another migration", made, lambda seen: seen != [name], for_s=10)
    return str(name)


@pytest.mark.case("DRN-008")
@pytest.mark.demand(memory_mib=800, nodes=2, boots=2, seconds=90)
def test_a_taint_empties_a_node(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with strategy LiveMigrate and one with None on the same node.
    Steps: taint the node with kubevirt.io/drain:NoSchedule; with another key in the cluster's settings, taint the node
        that the guest came to with the old key, then with that one.
    Expected: the first guest moves once, without any eviction; the old key does nothing for 10 s; the new one moves it
        back, once; the second guest stays all the time.
    """
    node = cluster.workers[0]
    for name, strategy in (("goes", "LiveMigrate"), ("stays", "None")):
        space.boot(_evictable(cluster, name, node, strategy))
        space.wait_condition(name, "LiveMigratable", "True")
    goes, stays = (moves.home(space, nodes, name) for name in ("goes", "stays"))
    assert (goes.node, stays.node) == (node, node)
    with placement.tainted(space.rest, node, "kubevirt.io/drain", "NoSchedule"):
        first = _moved_once(space, nodes, goes, set())
    there = moves.home(space, nodes, "goes")
    change = {"configuration": {"migrations": {"nodeDrainTaintKey": OWN_TAINT}}}
    with settings.changed(space.rest, change):
        settings.wait_applied(space.rest)
        with placement.tainted(space.rest, there.node, "kubevirt.io/drain", "NoSchedule"):
            patience.quiet("the old key counts", lambda: len(moves.migrations(space)), lambda seen: seen != 1, for_s=10)
            assert moves.home(space, nodes, "goes") == there
            with placement.tainted(space.rest, there.node, OWN_TAINT, "NoSchedule"):
                _moved_once(space, nodes, there, {first})
    assert moves.home(space, nodes, "stays") == stays


@pytest.mark.case("DRN-010")
@pytest.mark.demand(memory_mib=1100, nodes=2, boots=3, seconds=75)
def test_a_cordoned_node_keeps_its_guests_and_takes_none(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with strategy LiveMigrate on a node, another one on the other node.
    Steps: cordon the first node; create a VMI; migrate the guest of the second node; uncordon.
    Expected: nothing moves by itself for 20 s; the new VMI is put on the second node; the migration waits in Scheduling
        and people are told; then it moves.
    """
    first, second = cluster.workers[:2]
    for name, node in (("here", first), ("there", second)):
        space.boot(_evictable(cluster, name, node))
        space.wait_condition(name, "LiveMigratable", "True")
    here, there = (moves.home(space, nodes, name) for name in ("here", "there"))
    assert (here.node, there.node) == (first, second)
    with placement.cordoned(space.rest, first):
        patience.quiet("a migration", lambda: moves.migrations(space), lambda seen: seen != [], for_s=20)
        assert moves.home(space, nodes, "here") == here
        # It would rather be on the cordoned node.
        new = space.create(_evictable(cluster, "new", first))
        placed = patience.eventually(
            "the new guest's pod has a node", lambda: [pod["spec"].get("nodeName") for pod in space.pods(new)],
            lambda found: bool(found) and all(found))
        assert placed == [second], placed
        moves.migrate(space, "there")
        patience.eventually(
            "people are told", lambda: space.reasons("move"),
            lambda reasons: "migrationTargetPodUnschedulable" in reasons, within_s=patience.promised(30))
        assert moves.phase(moves.get(space, "move")) == "Scheduling"
    moves.reach(space, "move", "Succeeded", within_s=60 + patience.boots(2))
    moves.check_moved(space, nodes, "there", there, "move")
