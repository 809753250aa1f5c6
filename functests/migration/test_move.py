"""A running guest moves to another node and nobody inside notices."""

from collections.abc import Callable

import pytest

from functests.libs import build, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, kubevirt_path
from functests.libs.watch import Watch
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=800, nodes=2)]
PHASES = ["Pending", "Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running", "Succeeded"]


@pytest.mark.case("MIG-001")
def test_a_vm_moves_by_its_subresource(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VM on a containerDisk with masquerade, a witness in it.
    Steps: PUT virtualmachines/migrate with {}.
    Expected: 202 without a body, one labelled migration; the guest is on the other node, its memory and time went on.
    """
    _, shell = space.boot(build.vm_of(build.disk_boot_vmi(cluster, "vm")))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    answer = space.act_on_vm("vm", "migrate", {})
    assert (answer.code, answer.text) == (202, "")
    found, = moves.migrations(space)
    name = found["metadata"]["name"]
    assert name.startswith("kubevirt-migrate-vm-"), name
    assert found["metadata"]["labels"]["kubevirt.io/vmi-name"] == "vm"
    moves.reach(space, name, "Succeeded")
    moves.check_moved(space, nodes, "vm", before, name)
    witness.shell = space.shell("vm")
    witness.check(still_s=2)


@pytest.mark.case("MIG-002")
def test_what_objects_tell_of_a_move(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a running VMI with a disk to copy, a policy that slows migrations down, watches.
    Steps: create a migration.
    Expected: each phase once and in order; all names in one update; addresses and ports before TargetReady; the label
        on the way only; start before end; the migration shows the VMI's state.
    """
    name = policy(bandwidthPerMigration=moves.SLOW)
    space.boot(build.disk_boot_vmi(cluster, "vm"))
    before = moves.home(space, nodes, "vm")
    with (
        Watch(space.rest, kubevirt_path(moves.VMIM, space.name)) as migrations,
        Watch(space.rest, kubevirt_path(VMI, space.name)) as vmis,
    ):
        moves.migrate(space, "vm")
        moves.reach(space, "move", "Succeeded")
        after = moves.check_moved(space, nodes, "vm", before, "move")
        ended = moves.get(space, "move")
        assert ended is not None
        seen = [moves.phase(each) for _, each in migrations.seen("move")]
        history = [each for _, each in vmis.seen("vm")]
    entries = ended["status"]["phaseTransitionTimestamps"]
    assert [entry["phase"] for entry in entries] == PHASES
    times = [entry["phaseTransitionTimestamp"] for entry in entries]
    assert times == sorted(times)
    assert [each for index, each in enumerate(seen) if each and (index == 0 or seen[index - 1] != each)] == PHASES
    handed = next(each for each in history if moves.state(each).get("migrationUid") == ended["metadata"]["uid"])
    told = moves.state(handed)
    assert {key: told[key] for key in ("sourceNode", "sourcePod", "targetNode", "targetPod")} == {
        "sourceNode": before.node, "sourcePod": before.pod, "targetNode": after.node, "targetPod": after.pod}
    assert handed["metadata"]["labels"][moves.TARGET_LABEL] == after.node
    ready = next(each for each in history if moves.state(each).get("targetNodeAddress"))
    assert sorted(moves.state(ready)["targetDirectMigrationNodePorts"].values()) == [0, 49152, 49153]
    last = moves.state(space.vmi("vm"))
    assert last["startTimestamp"] <= last["endTimestamp"]
    assert last["targetNodeDomainReadyTimestamp"]
    assert (last["targetNodeDomainDetected"], last["migrationNetworkType"]) == (True, "Pod"), last
    assert (last["mode"], last["migrationPolicyName"]) == ("PreCopy", name)
    assert last["migrationConfiguration"]["bandwidthPerMigration"] == moves.SLOW


@pytest.mark.case("MIG-003")
def test_people_are_told_step_by_step(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a running VM, a policy that slows migrations down.
    Steps: create a migration; read the VM's status on the way and afterwards.
    Expected: events on the migration and on the VMI that name the node; Migrating, then Running.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    space.wait_vm_status("vm", "Migrating", within_s=patience.promised(10))
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    space.wait_vm_status("vm", "Running", within_s=patience.promised(10))
    for reason in ("SuccessfulCreate", "SuccessfulHandOver", "SuccessfulMigration"):
        space.wait_events("move", reason)
    for reason in ("PreparingTarget", "Migrating", "Migrated"):
        told = space.wait_events("vm", reason, "VirtualMachineInstance")[-1]
        assert after.node in told["message"], told


@pytest.mark.case("MIG-008")
def test_a_paused_guest_moves_and_stays_paused(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI with a witness, paused by the API.
    Steps: migrate; wait; unpause.
    Expected: paused by the user all the time, also on the other node; then the witness goes on with the next number.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    assert space.act_on_vmi("vm", "pause").code == 200
    space.wait_condition("vm", "Paused", "True")
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        moves.migrate(space, "vm")
        moves.reach(space, "move", "Succeeded")
        moves.check_moved(space, nodes, "vm", before, "move")
        patience.quiet(
            "the guest is not paused", lambda: condition(space.vmi("vm"), "Paused"),
            lambda found: found.get("reason") != "PausedByUser", for_s=5)
        shown = {condition(vmi, "Paused").get("reason") for _, vmi in watch.seen("vm")}
    assert shown == {"PausedByUser"}
    assert space.act_on_vmi("vm", "unpause").code == 200
    space.wait_condition("vm", "Paused", "")
    witness.shell = space.shell("vm")
    # The guest's clock stood still with it, so it sees no pause at all.
    witness.check(still_s=2)


@pytest.mark.case("MIG-029")
def test_a_console_ends_and_the_next_one_is_of_the_same_shell(
    space: Space, cluster: Cluster, nodes: Nodes
) -> None:
    """
    Preconditions: a running VMI with an open console, a variable set in its shell.
    Steps: migrate; open another console.
    Expected: the first is closed within 5 s after the end; the next is of the same shell; the log of the new pod has
        what is written there.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    shell.succeed("before=moved-$((6*7))")
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    shell.wait_closed(within_s=patience.promised(5))
    after = moves.check_moved(space, nodes, "vm", before, "move")
    again = space.shell("vm")
    assert again.succeed("echo $before") == "moved-42"
    path = f"/api/v1/namespaces/{space.name}/pods/{after.pod}/log?container=guest-console-log"
    patience.eventually(
        "the new pod logs the console", lambda: space.rest.get(path).text, lambda text: "moved-42" in text,
        within_s=patience.promised(20))


def _has_address(space: Space, name: str, address: str) -> None:
    space.wait_vmi(
        name, lambda vmi: bool(vmi["status"]["interfaces"][0].get("ipAddress") == address),
        f"its address is {address}, its pod's", within_s=patience.promised(10))


@pytest.mark.case("MIG-004")
@pytest.mark.demand(memory_mib=800, nodes=2, seconds=60)
def test_a_guest_moves_to_and_fro(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VMI with a witness.
    Steps: four migrations, one after the other.
    Expected: it moved each time; its address is that of its pod; processor and memory are the same.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    flags = shell.succeed("grep -E '^(model name|flags)' /proc/cpuinfo | sha256sum")
    here = moves.home(space, nodes, "vm")
    for number in range(4):
        moves.migrate(space, "vm", f"move-{number}")
        moves.reach(space, f"move-{number}", "Succeeded")
        here = moves.check_moved(space, nodes, "vm", here, f"move-{number}")
        pod = space.rest.get(f"/api/v1/namespaces/{space.name}/pods/{here.pod}").ok()
        _has_address(space, "vm", pod["status"]["podIP"])
    witness.shell = space.shell("vm")
    witness.check(still_s=2)
    assert witness.shell.succeed("grep -E '^(model name|flags)' /proc/cpuinfo | sha256sum") == flags
