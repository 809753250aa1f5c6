"""Faults in the middle of a migration: one side owns the guest, the other is gone, and nothing is lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from functests.libs import build, moves, patience, records
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path, kubevirt_path
from functests.libs.stack import CONTROLLER, Stack
from functests.libs.watch import Watch
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [
    pytest.mark.serial, pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=900, nodes=2, seconds=60)]


def _guest(space: Space, cluster: Cluster, *, is_busy: bool = True) -> Witness:
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm", memory="192Mi"))
    witness = Witness(shell)
    if is_busy:
        shell.succeed(moves.DIRTY)
    return witness


@pytest.mark.case("REC-015")
@pytest.mark.parametrize("phase", ["Scheduling", "Running"])
def test_the_controller_dies_on_the_way(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, policy: Policy, phase: str
) -> None:
    """
    Preconditions: a guest, a slow policy, watches.
    Steps: migrate; SIGKILL the leading controller when the migration enters the phase.
    Expected: another one ends it; one target pod was made; the guest moved.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    witness = _guest(space, cluster, is_busy=False)
    before = moves.home(space, nodes, "vm")
    leader = stack.leader(CONTROLLER)
    with (
        Watch(space.rest, core_path("pods", space.name)) as pods,
        Watch(space.rest, kubevirt_path(moves.VMIM, space.name)) as migrations,
    ):
        moves.migrate(space, "vm")
        migrations.wait_for(
            f"phase {phase}", lambda _, found: moves.phase(found) == phase, within_s=patience.boots(1))
        stack.kill(leader)
        moves.reach(space, "move", "Succeeded", within_s=60 + patience.boots(3))
        moves.check_moved(space, nodes, "vm", before, "move")
        made = {obj["metadata"]["uid"] for kind, obj in pods.seen() if kind == "ADDED"}
    assert len(made) == 2, "the guest's first pod, and one of the target"
    witness.shell = space.shell("vm")
    witness.check(still_s=3)


@pytest.mark.case("REC-016")
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.demand(memory_mib=900, nodes=2, seconds=120)
@pytest.mark.timeout(300)
def test_a_handler_dies_on_the_way(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, policy: Policy, side: str
) -> None:
    """
    Preconditions: a busy guest whose migration is slow and does not end by itself.
    Steps: three times: migrate; SIGKILL the handler of one side when a tenth, a half, nine tenths are copied.
    Expected: soon Failed, with a reason; the guest did not notice; with the handler back the next one moves it.
    """
    name = policy(bandwidthPerMigration=moves.SLOW)
    witness = _guest(space, cluster)
    before = moves.home(space, nodes, "vm")
    for share in moves.SHARES:
        migration = moves.migrate(space, "vm", f"move-{round(share * 100)}")
        moves.copied(space, nodes, before, migration, share)
        handler = stack.handler(moves.state(space.vmi("vm"))[f"{side}Node"])
        stack.kill(handler)
        moves.reach(space, migration, "Failed", within_s=patience.promised(60))
        stack.wait_restarted(handler)
        witness.shell = space.shell("vm")
        assert moves.check_stayed(space, nodes, "vm", before)
        witness.check(still_s=1)
    moves.check_moves_after_all(space, nodes, before, name, witness)


@pytest.mark.case("REC-015")
@pytest.mark.demand(memory_mib=900, nodes=2, seconds=120)
@pytest.mark.timeout(300)
def test_the_controller_dies_during_the_copy(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, policy: Policy
) -> None:
    """
    Preconditions: a busy guest; a slow policy that pauses it after 30 s, so that it can leave.
    Steps: twice: migrate; SIGKILL the leading controller when a half, nine tenths are copied.
    Expected: another one ends it; the guest has moved, by one pod of a target.
    """
    policy(bandwidthPerMigration=moves.SLOW, completionTimeoutPerGiB=30, allowWorkloadDisruption=True)
    witness = _guest(space, cluster)
    here = moves.home(space, nodes, "vm")
    for share in moves.SHARES[1:]:
        leader = stack.leader(CONTROLLER)
        migration = moves.migrate(space, "vm", f"move-{round(share * 100)}")
        moves.copied(space, nodes, here, migration, share)
        stack.kill(leader)
        ended = moves.reach(space, migration, "Succeeded", within_s=90 + patience.boots(3))
        made = [pod["metadata"]["name"] for pod in space.pods(space.vmi("vm"))
                if pod["metadata"]["labels"].get("kubevirt.io/migrationJobUID") == ended["metadata"]["uid"]]
        assert len(made) == 1, made
        here = moves.check_moved(space, nodes, "vm", here, migration)
        stack.wait_restarted(leader)
    witness.shell = space.shell("vm")
    witness.check(still_s=3)


def _address(stack: Stack, node: str) -> str:
    return str(next(each["address"] for each in stack.node(node)["status"]["addresses"]
                    if each["type"] == "InternalIP"))


@contextmanager
def _cut(nodes: Nodes, stack: Stack, one: str, other: str) -> Iterator[None]:
    """No packet of ``other``, nor of its pods, reaches ``one`` inside the block, and the other way round."""
    ranges = [_address(stack, other), str(stack.node(other)["spec"]["podCIDR"])]
    among = f"{{ {', '.join(ranges)} }}"
    rules = f"""
        chain arriving {{
            type filter hook prerouting priority -400;
            ip saddr {among} drop
        }}
        chain leaving {{
            type filter hook postrouting priority 400;
            ip daddr {among} drop
        }}
    """
    with nodes[one].filtered("inet functest-cut", rules):
        yield


def _owners(space: Space, nodes: Nodes, before: moves.Home, witness: Witness) -> list[int]:
    """The migration comes to its end, one way or the other, and its guest missed nothing. Pids of all its QEMUs."""
    ended = patience.eventually(
        "the migration is over", lambda: moves.phase(moves.get(space, "move")),
        lambda phase: phase in moves.FINAL, within_s=patience.promised(180))
    if ended == "Failed":
        moves.check_stayed(space, nodes, "vm", before)
    else:
        moves.check_moved(space, nodes, "vm", before, "move")
    running = [process.pid for node in nodes for pod in space.pods(space.vmi("vm"))
               for process in node.processes(pod["metadata"]["uid"]) if process.is_qemu]
    witness.shell = space.shell("vm")
    witness.check(still_s=3)
    return running


@pytest.mark.disruptive
@pytest.mark.case("REC-018")
def test_the_link_between_the_nodes_is_cut(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, policy: Policy
) -> None:
    """
    Preconditions: a migration that runs slowly.
    Steps: drop all traffic between the two nodes for 60 s.
    Expected: it has failed, or the guest has moved; one QEMU runs, and its guest missed nothing.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    witness = _guest(space, cluster, is_busy=False)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    told = moves.state(space.vmi("vm"))
    with _cut(nodes, stack, told["sourceNode"], told["targetNode"]):
        patience.quiet("the VMI ended", lambda: space.vmi("vm")["status"]["phase"],
                       lambda phase: phase != "Running", for_s=60, every_s=2)
    running = _owners(space, nodes, before, witness)
    assert len(running) == 1, running


@pytest.mark.disruptive
@pytest.mark.case("REC-018")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=150)
@pytest.mark.timeout(600)
def test_nobody_answers_while_the_guest_moves(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, policy: Policy
) -> None:
    """
    Preconditions: a migration that runs slowly and ends by itself.
    Steps: SIGSTOP kube-apiserver for 60 s, in which the copy ends.
    Expected: it has failed, or the guest has moved; one QEMU runs, and its guest missed nothing.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    witness = _guest(space, cluster, is_busy=False)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    (control_plane,) = (node for node in nodes if node.name not in cluster.workers + cluster.machines)
    pid = control_plane.run("pidof kube-apiserver").strip()
    waiting = "for i in 1 2 3 4 5 6; do sleep 10; echo $i; done"        # who says nothing for a minute is given up
    control_plane.run(f"kill -STOP {pid}; {waiting}; kill -CONT {pid}")
    stack.wait_answered()
    stack.wait_well()
    running = _owners(space, nodes, before, witness)
    assert len(running) == 1, running


@pytest.mark.disruptive
@pytest.mark.needs("two-nodes", "shared")
@pytest.mark.case("REC-019")
def test_the_targets_node_stands_still(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, policy: Policy
) -> None:
    """
    Preconditions: a guest that writes records to a shared disk; its migration runs and does not end by itself.
    Steps: freeze the target's node; thaw it when the migration has failed.
    Expected: Failed within 180 s, the guest goes on; what had arrived of it is gone soon after the thaw; every record
        is there.
    """
    policy(bandwidthPerMigration=moves.HELD)
    claim = build.pvc("data", storage_class="shared", mode="ReadWriteMany")
    space.rest.post(core_path("persistentvolumeclaims", space.name), claim).ok()
    source = {"persistentVolumeClaim": {"claimName": "data"}}
    _, shell = space.boot(build.with_disk(build.kernel_boot_vmi(cluster, "vm", memory="192Mi"), "data", source))
    witness = Witness(shell)
    records.begin(shell)
    shell.succeed(moves.DIRTY)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    told = moves.state(space.vmi("vm"))
    target = next(
        pod for pod in space.pods(space.vmi("vm")) if pod["metadata"]["name"] == told["targetPod"])
    with nodes[told["targetNode"]].frozen():
        moves.reach(space, "move", "Failed", within_s=patience.promised(180))
        assert moves.home(space, nodes, "vm") == before
    patience.eventually(
        "what arrived is gone", lambda: nodes[told["targetNode"]].processes(target["metadata"]["uid"]),
        lambda found: not [process for process in found if process.is_qemu], within_s=patience.promised(30))
    stack.wait_well()
    moves.check_stayed(space, nodes, "vm", before)
    witness.check(still_s=1)
    records.check(shell)
