"""Faults in the middle of a migration: one side owns the guest, the other is gone, and nothing is lost."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from functests.libs import build, moves, patience, records
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, kubevirt_path
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
def test_a_handler_dies_on_the_way(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, policy: Policy, side: str
) -> None:
    """
    Preconditions: a migration that runs and does not end by itself.
    Steps: SIGKILL the handler of one side.
    Expected: soon Failed, with a reason; the guest did not notice; with the handler back the next one moves it.
    """
    name = policy(bandwidthPerMigration=moves.HELD)
    witness = _guest(space, cluster)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    handler = stack.handler(moves.state(space.vmi("vm"))[f"{side}Node"])
    stack.kill(handler)
    moves.reach(space, "move", "Failed", within_s=patience.promised(60))
    stack.wait_restarted(handler)
    witness.shell = space.shell("vm")
    assert moves.check_stayed(space, nodes, "vm", before)
    witness.check(still_s=1)
    moves.check_moves_after_all(space, nodes, before, name, witness)


@pytest.mark.case("REC-017")
def test_the_sources_launcher_dies_after_the_switch(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a guest, a slow policy, a watch.
    Steps: migrate; SIGKILL the source's launcher as soon as the target says that the guest is there.
    Expected: the guest goes on at the target; the migration has succeeded.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    witness = _guest(space, cluster, is_busy=False)
    before = moves.home(space, nodes, "vm")
    launchers = [process.pid for process in nodes[before.node].processes(before.pod_uid)
                 if "virt.cli.launcher" in process.argv]
    assert launchers, "no launcher on the source's node"
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as vmis:
        moves.migrate(space, "vm")
        vmis.wait_for(
            "the guest is there", lambda _, vmi: bool(moves.state(vmi).get("targetNodeDomainReadyTimestamp")),
            within_s=patience.boots(3))
        # It may have ended by itself in the meantime: then there was nothing left to go wrong.
        nodes[before.node].try_run(f"kill -{int(signal.SIGKILL)} {' '.join(map(str, launchers))}")
    moves.reach(space, "move", "Succeeded")
    vmi = space.vmi("vm")
    assert (vmi["status"]["phase"], vmi["metadata"]["uid"]) == ("Running", before.uid)
    after = moves.home(space, nodes, "vm")
    assert after.node != before.node
    moves.check_clean(nodes, before)
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
    ended = patience.eventually(
        "the migration is over", lambda: moves.phase(moves.get(space, "move")),
        lambda phase: phase in moves.FINAL, within_s=patience.promised(180))
    if ended == "Failed":
        moves.check_stayed(space, nodes, "vm", before)
    else:
        moves.check_moved(space, nodes, "vm", before, "move")
    running = [process for node in nodes for pod in space.pods(space.vmi("vm"))
               for process in node.processes(pod["metadata"]["uid"]) if process.is_qemu]
    assert len(running) == 1, running
    witness.shell = space.shell("vm")
    witness.check(still_s=3)


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
