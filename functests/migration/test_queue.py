"""How many guests leave at once, and which goes first: limits of the cluster and of a node, priorities."""

import functools
from collections.abc import Callable, Iterable

import pytest

from functests.libs import build, commands, evictions, moves, patience, settings
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import kubevirt_path
from functests.libs.stack import Stack
from functests.libs.watch import Watch

Policy = Callable[..., str]

pytestmark = [pytest.mark.serial, pytest.mark.needs("two-nodes")]
OUTBOUND = 2                    # the default limit for guests that leave one node
NAMES = ("one", "two", "three", "four")
ONE_AT_A_TIME = {"configuration": {"migrations": {"parallelMigrationsPerCluster": 1}}}


def _small(cluster: Cluster, name: str, node: str, strategy: str = "LiveMigrate", **labels: str) -> Manifest:
    """A guest that starts on ``node``, may go elsewhere, and asks for little of what a worker has to give."""
    guest = build.evictable(build.kernel_boot_vmi(cluster, name, memory="64Mi"), node, strategy)
    return build.merged(guest, {
        "metadata": {"labels": labels}, **build.domain_patch(resources={"requests": {"cpu": "10m"}})})


def _booted(space: Space, nodes: Nodes, manifests: Iterable[Manifest]) -> dict[str, moves.Home]:
    """All of them, beside each other, on one node."""
    names = []
    for manifest in manifests:
        space.create(manifest)
        names.append(manifest["metadata"]["name"])
    found = {}
    for name in names:
        space.wait_running(name, within_s=patience.boots(len(names)))
        space.shell(name, boots=len(names)).close()
        space.wait_condition(name, "LiveMigratable", "True")
        found[name] = moves.home(space, nodes, name)
    assert len({home.node for home in found.values()}) == 1, found
    return found


def most_at_once(history: Iterable[tuple[str, Object]]) -> int:
    """Of the migrations of a watch: how many were between the pod of their target and their end at the same time."""
    under_way: set[str] = set()
    most = 0
    for kind, migration in history:
        name = migration["metadata"]["name"]
        if kind != "DELETED" and moves.phase(migration) not in ("", "Pending", *moves.FINAL):
            under_way.add(name)
        else:
            under_way.discard(name)
        most = max(most, len(under_way))
    return most


def _all_moved(space: Space, nodes: Nodes, homes: dict[str, moves.Home], *, is_drained: bool = False) -> None:
    """Each by one migration."""
    for name, before in homes.items():
        found = [each for each in moves.migrations(space) if each["spec"]["vmiName"] == name]
        assert len(found) == 1, [each["metadata"]["name"] for each in found]
        migration = found[0]["metadata"]["name"]
        moves.reach(space, migration, "Succeeded", within_s=patience.boots(len(homes)))
        moves.check_moved(space, nodes, name, before, migration, is_drained=is_drained)


@pytest.mark.case("MIG-046")
@pytest.mark.demand(memory_mib=1200, nodes=2, boots=4, seconds=90)
def test_two_guests_leave_a_node_at_once(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: four guests on one node, a slow policy, a watch of migrations.
    Steps: migrate all four at once.
    Expected: never more than two are between the pod of their target and their end, and two are at some time; all
        have moved.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    homes = _booted(space, nodes, (_small(cluster, name, cluster.workers[0]) for name in NAMES))
    with Watch(space.rest, kubevirt_path(moves.VMIM, space.name)) as watch:
        for name in NAMES:
            moves.migrate(space, name, f"move-{name}")
        _all_moved(space, nodes, homes)
        assert most_at_once(watch.seen()) == OUTBOUND


@pytest.mark.disruptive
@pytest.mark.case("DRN-009")
@pytest.mark.demand(memory_mib=1200, nodes=2, boots=4, seconds=90)
def test_a_drained_node_is_left_by_two_at_once(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, policy: Policy
) -> None:
    """
    Preconditions: four guests with strategy LiveMigrate on one node, a slow policy, a watch of migrations.
    Steps: kubectl drain of that node.
    Expected: exit 0; never more than two are on their way; all four have moved, by one migration each.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    node = cluster.workers[0]
    homes = _booted(space, nodes, (_small(cluster, name, node) for name in NAMES))
    limit_s = round(max(180.0, patience.boots(4)))
    with Watch(space.rest, kubevirt_path(moves.VMIM, space.name)) as watch:
        try:
            done = commands.shell(cluster, f"kubectl {evictions.drain(node, limit_s)}", deadline_s=limit_s + 30)
            assert done.code == 0, done.stderr
            _all_moved(space, nodes, homes, is_drained=True)
        finally:
            space.rest.patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}).ok()
        assert most_at_once(watch.seen()) == OUTBOUND
    stack.wait_well()


def _held(space: Space, cluster: Cluster, policy: Policy) -> None:
    """The one migration that may run does so, and does not end by itself."""
    policy(bandwidthPerMigration=moves.HELD, vmi_labels={"speed": "none"})
    slow = build.merged(
        build.kernel_boot_vmi(cluster, "held", memory="192Mi"), {
            "metadata": {"labels": {"speed": "none"}}, **build.domain_patch(resources={"requests": {"cpu": "10m"}})})
    _, shell = space.boot(slow)
    shell.succeed(moves.DIRTY)
    moves.migrate(space, "held")
    moves.reach(space, "move", "Running")


def _evacuated(space: Space, before: moves.Home, name: str, **annotations: str) -> Object:
    """The migration that an eviction of the guest's pod brings about."""
    answer = evictions.evict(space, before.pod, annotations=annotations)
    assert answer.code == 429, answer.text
    found = patience.eventually(
        f"{name} is to be evacuated",
        lambda: [each for each in moves.migrations(space) if each["spec"]["vmiName"] == name], bool,
        within_s=patience.promised(15))
    return found[0]


def _waits(space: Space, migration: str) -> None:
    patience.eventually(
        f"{migration} waits", functools.partial(moves.get, space, migration),
        lambda found: moves.phase(found) == "Pending", within_s=patience.promised(10))


def _order(space: Space, migrations: Iterable[str]) -> list[str]:
    """When all have succeeded: as they came out of the queue."""
    ended = {name: moves.reach(space, name, "Succeeded", within_s=patience.boots(4)) for name in migrations}
    return sorted(ended, key=lambda name: moves.entered(ended[name], "Scheduling"))


@pytest.mark.case("MIG-048")
@pytest.mark.demand(memory_mib=1700, nodes=2, boots=5, seconds=120)
def test_nodes_that_are_to_be_left_go_first(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: one migration at a time in the cluster; one that runs and does not end by itself, two of people that
        wait.
    Steps: evict the pods of two other guests; delete the one that runs.
    Expected: their migrations are system-critical; both begin before those of the people.
    """
    homes = _booted(space, nodes, (_small(cluster, name, cluster.workers[0]) for name in NAMES))
    with settings.changed(space.rest, ONE_AT_A_TIME):
        settings.wait_applied(space.rest)
        _held(space, cluster, policy)
        for name in NAMES[:2]:
            moves.migrate(space, name, f"move-{name}")
            _waits(space, f"move-{name}")
        urgent = []
        for name in NAMES[2:]:
            found = _evacuated(space, homes[name], name)
            assert found["spec"]["priority"] == "system-critical", found["spec"]
            urgent.append(found["metadata"]["name"])
            _waits(space, urgent[-1])
        space.rest.delete(kubevirt_path(moves.VMIM, space.name, "move")).ok()
        order = _order(space, [*urgent, *(f"move-{name}" for name in NAMES[:2])])
        assert set(order[:2]) == set(urgent), order
        _all_moved(space, nodes, homes)


@pytest.mark.case("DRN-019")
@pytest.mark.demand(memory_mib=1100, nodes=2, boots=3, seconds=90)
def test_what_the_descheduler_asks_for_waits_for_people(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: one migration at a time in the cluster; one that runs and does not end by itself.
    Steps: evict the pod of a guest as the descheduler does; migrate another one; delete the one that runs.
    Expected: the evacuation is system-maintenance; it was there first, and the person's goes first; both have moved.
    """
    homes = _booted(space, nodes, (_small(cluster, name, cluster.workers[0]) for name in NAMES[:2]))
    with settings.changed(space.rest, ONE_AT_A_TIME):
        settings.wait_applied(space.rest)
        _held(space, cluster, policy)
        found = _evacuated(space, homes["one"], "one", **{"requested-by": "sigs.k8s.io/descheduler"})
        assert found["spec"]["priority"] == "system-maintenance", found["spec"]
        patient = found["metadata"]["name"]
        _waits(space, patient)
        moves.migrate(space, "two", "move-two")
        _waits(space, "move-two")
        space.rest.delete(kubevirt_path(moves.VMIM, space.name, "move")).ok()
        assert _order(space, [patient, "move-two"]) == ["move-two", patient]
        _all_moved(space, nodes, homes)
