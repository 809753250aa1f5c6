"""A change of claims that does not come to its end: taken back, without room, or with a guest that dies on the way."""

import itertools
from collections.abc import Callable

import pytest

from functests.libs import moves, patience, records, volumemoves
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, condition
from functests.libs.moves import Home
from functests.libs.nodes import Nodes
from functests.libs.rest import VM, Answer, core_path, kubevirt_path, subresource_path
from functests.libs.volumes import NodeVolumes
from functests.libs.watch import Watch
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=600, nodes=2, seconds=60)]
RECOVERY = "VM recovery required"


def _held(space: Space, cluster: Cluster, policy: Policy) -> tuple[Witness, str]:
    """A guest with records on p1 that goes to p2 so slowly that it never gets there; the migration's name."""
    policy(bandwidthPerMigration=moves.HELD)
    volumemoves.make_claims(space, "p1", "p2")
    _, shell = space.boot(volumemoves.machine(cluster, "p1"))
    witness = Witness(shell)
    records.begin(shell)
    shell.succeed(moves.DIRTY)
    volumemoves.change(space, "p2")
    name = volumemoves.next_migration(space)
    moves.reach(space, name, "Running")
    return witness, name


def _source(vmi: Object) -> str:
    return str(moves.state(vmi)["sourcePod"])


def _put(space: Space, verb: str) -> Answer:
    return space.rest.put(subresource_path(VM, space.name, "vm", verb))


@pytest.mark.case("BLK-020")
def test_a_change_is_taken_back(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a guest on its way to another claim, which it never reaches.
    Steps: name the first claim in the template again.
    Expected: the migration is aborted and gone; the VMI has its claim, VolumesChange is False with the reason; the VM
        knows of no change; the guest is where it was, and every record is there.
    """
    witness, name = _held(space, cluster, policy)
    vmi = space.vmi("vm")
    assert volumemoves.claims_of(vmi) == ["p2"]
    source = _source(vmi)
    volumemoves.change(space, "p1")
    patience.eventually(
        "the migration is gone", lambda: moves.get(space, name), lambda found: found is None,
        within_s=patience.promised(30))
    vmi = space.wait_vmi("vm", lambda vmi: not vmi["status"].get("migratedVolumes"), "its change is forgotten")
    assert volumemoves.claims_of(vmi) == ["p1"]
    change = condition(vmi, volumemoves.CHANGE)
    assert (change["status"], change["reason"]) == ("False", "VolumesChangeCancellation"), change
    told = moves.state(vmi)
    assert (told["failed"], told["abortStatus"]) == (True, "Succeeded"), told
    vm = space.wait_vm("vm", lambda vm: condition(vm, "RestartRequired") == {}, "needs no restart")
    assert not vm["status"].get("volumeUpdateState", {}).get("volumeMigrationState"), vm["status"]
    patience.eventually("the target's pod has gone", lambda: volumemoves.users(space, "p2"), lambda found: not found)
    assert moves.home(space, nodes, "vm").pod == source
    records.check(witness.shell)
    witness.check(still_s=1)
    assert condition(space.wait_condition("vm", "LiveMigratable", "False"), "LiveMigratable")["reason"] == (
        "DisksNotLiveMigratable")


@pytest.mark.case("BLK-021")
def test_a_change_can_only_be_taken_back(space: Space, cluster: Cluster, policy: Policy) -> None:
    """
    Preconditions: a guest on its way to another claim, which it never reaches.
    Steps: name a third claim in the template.
    Expected: the VM has Failure with the reason and what is possible; the migration goes on, to the second claim.
    """
    witness, name = _held(space, cluster, policy)
    volumemoves.make_claims(space, "p3")
    volumemoves.change(space, "p3")
    vm = space.wait_vm("vm", lambda vm: condition(vm, "Failure").get("status") == "True", "refuses it")
    failure = condition(vm, "Failure")
    assert failure["reason"] == "VolumesUpdateError", failure
    assert "The volume can only be reverted to the previous version during the update" in failure["message"]
    patience.quiet(
        "the running copy ends", lambda: moves.phase(moves.get(space, name)), lambda phase: phase != "Running", for_s=5)
    assert volumemoves.claims_of(space.vmi("vm")) == ["p2"]
    assert [each["metadata"]["name"] for each in volumemoves.migrations(space)] == [name]
    witness.check(still_s=1)
    volumemoves.change(space, "p2")
    space.wait_vm("vm", lambda vm: condition(vm, "Failure") == {}, "has no fault")


def _elsewhere(cluster: Cluster, node: str) -> str:
    return next(worker for worker in cluster.workers if worker != node)


def _on_local(space: Space, cluster: Cluster, nodes: Nodes) -> tuple[Witness, Home]:
    """A guest with records on p1."""
    volumemoves.make_claims(space, "p1")
    _, shell = space.boot(volumemoves.machine(cluster, "p1"))
    witness = Witness(shell)
    records.begin(shell)
    return witness, moves.home(space, nodes, "vm")


def _failed(space: Space, count: int, within_s: float) -> list[Object]:
    return patience.eventually(
        f"{count} migrations have failed", lambda: volumemoves.migrations(space),
        lambda found: len(found) >= count and all(moves.phase(each) == "Failed" for each in found[:count]),
        within_s=within_s)


@pytest.mark.case("BLK-022")
@pytest.mark.demand(memory_mib=600, nodes=2, seconds=120)
def test_a_smaller_destination_is_refused_again_and_again(
    node_volumes: NodeVolumes, space: Space, cluster: Cluster, nodes: Nodes
) -> None:
    """
    Preconditions: a guest with records on a disk of 64 MiB; a claim on the other node with a file of 32 MiB.
    Steps: name that claim in the template; after three migrations take it back.
    Expected: each migration has failed because the destination is smaller; the pauses between them grow, from 20 s on;
        the guest noticed nothing; no more are made once it is taken back.
    """
    witness, before = _on_local(space, cluster, nodes)
    small = node_volumes.make(space, _elsewhere(cluster, before.node), "small")
    small.run("truncate -s 32M disk.img; chown 107:107 disk.img; chmod 0660 disk.img")
    volumemoves.change(space, "small")
    found = _failed(space, 3, patience.promised(120))
    for each in found:
        reason = each["status"]["migrationState"]["failureReason"]
        assert "destination volume is smaller than the source volume" in reason, reason
    pauses = [
        moves.seconds_between(moves.entered(earlier, "Failed"), later["metadata"]["creationTimestamp"])
        for earlier, later in itertools.pairwise(found)]
    assert pauses[0] >= 19, pauses
    assert pauses[1] >= 39, pauses
    volumemoves.change(space, "p1")
    change = space.wait_vmi("vm", lambda vmi: volumemoves.claims_of(vmi) == ["p1"], "has its claim back")
    assert condition(change, volumemoves.CHANGE)["reason"] == "VolumesChangeCancellation"
    moves.check_stayed(space, nodes, "vm", before)
    assert small.run("stat -c %s disk.img") == str(32 << 20)
    records.check(witness.shell)
    witness.check(still_s=1)


@pytest.mark.case("BLK-026")
@pytest.mark.parametrize("room", ["32m", "60m"])
@pytest.mark.demand(memory_mib=600, nodes=2, seconds=75)
def test_a_destination_without_room_harms_nobody(
    node_volumes: NodeVolumes, space: Space, cluster: Cluster, nodes: Nodes, room: str
) -> None:
    """
    Preconditions: a guest with a disk of 64 MiB, full of random bytes; a claim on the other node with 32 MiB of room,
        which is seen before anything is copied, or with 60, which is seen at the end of the copy.
    Steps: name that claim in the template; take it back when a migration has failed; name one with room.
    Expected: the migration says that there is too little space; the guest is where it was, never paused, without an
        error; then it moves with its data.
    """
    volumemoves.make_claims(space, "p1")
    _, shell = space.boot(volumemoves.machine(cluster, "p1"))
    witness = Witness(shell)
    shell.succeed(
        "dd if=/dev/urandom of=/dev/vda bs=1M count=64 conv=fsync 2>/dev/null", within_s=patience.promised(60))
    digest = "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda bs=1M 2>/dev/null | sha256sum"
    data = shell.succeed(digest, within_s=patience.promised(60))
    before = moves.home(space, nodes, "vm")
    node_volumes.make(space, _elsewhere(cluster, before.node), "small", room=room)
    volumemoves.change(space, "small")
    failed = _failed(space, 1, patience.boots(3))[0]
    assert "space" in failed["status"]["migrationState"]["failureReason"], failed["status"]
    volumemoves.change(space, "p1")
    space.wait_vmi("vm", lambda vmi: volumemoves.claims_of(vmi) == ["p1"], "has its claim back")
    moves.check_stayed(space, nodes, "vm", before)
    assert not condition(space.vmi("vm"), "Paused")
    assert "IOerror" not in space.reasons("vm")
    witness.check(still_s=1)
    volumemoves.make_claims(space, "roomy")
    volumemoves.change(space, "roomy")
    volumemoves.check_changed(
        space, nodes, before, {"p1": "roomy"}, [each["metadata"]["name"] for each in volumemoves.migrations(space)])
    witness.shell = space.shell("vm")
    assert witness.shell.succeed(digest, within_s=patience.promised(60)) == data
    witness.check(still_s=3)


@pytest.mark.case("BLK-024")
@pytest.mark.demand(memory_mib=600, nodes=2, boots=2, seconds=75)
def test_a_vm_that_is_stopped_on_the_way_waits_for_a_person(
    node_volumes: NodeVolumes, space: Space, cluster: Cluster, nodes: Nodes
) -> None:
    """
    Preconditions: a guest with records on a claim; another claim on the same node, so that no node takes the target.
    Steps: name that claim in the template; restart the VM; stop it; start it; name the first claim; start it.
    Expected: the restart is refused; after the stop the VM asks for recovery and does not start; once its claim is back
        it does, and every record is there.
    """
    witness, before = _on_local(space, cluster, nodes)
    node_volumes.make(space, before.node, "near")
    volumemoves.change(space, "near")
    name = volumemoves.next_migration(space)
    moves.reach(space, name, "Scheduling")
    refused = _put(space, "restart")
    assert (refused.code, RECOVERY in refused.message) == (409, True), refused
    written = int(witness.shell.succeed("sync; cat /run/written"))
    assert _put(space, "stop").code == 202
    space.wait_vmi_gone("vm")
    vm = space.wait_vm(
        "vm", lambda vm: condition(vm, "ManualRecoveryRequired").get("status") == "True", "asks for recovery")
    assert vm["status"]["printableStatus"] == "Stopped", vm["status"]
    refused = _put(space, "start")
    assert (refused.code, RECOVERY in refused.message) == (409, True), refused
    volumemoves.change(space, "p1")
    space.wait_vm("vm", lambda vm: condition(vm, "ManualRecoveryRequired") == {}, "asks for nothing")
    assert space.act_on_vm("vm", "start").code == 202
    space.wait_running("vm", not_uid=before.uid)
    _check_records(space, written)


@pytest.mark.case("BLK-025")
@pytest.mark.demand(memory_mib=600, nodes=2, boots=2, seconds=75)
def test_a_guest_that_dies_on_the_way_starts_from_nothing_by_itself(
    space: Space, cluster: Cluster, policy: Policy
) -> None:
    """
    Preconditions: a guest with records on its way to another claim, which it never reaches.
    Steps: delete its pod without grace; name the first claim in the template again.
    Expected: the migration and the VMI have failed; the VM asks for recovery and does not start, although it is to run
        always; with its first claim it does, and every record is there.
    """
    witness, name = _held(space, cluster, policy)
    vmi = space.vmi("vm")
    written = int(witness.shell.succeed("cat /run/written"))
    with (Watch(space.rest, kubevirt_path(moves.VMIM, space.name)) as migrations,
          Watch(space.rest, kubevirt_path("virtualmachineinstances", space.name)) as vmis):
        space.rest.delete(core_path("pods", space.name, _source(vmi)), {"gracePeriodSeconds": 0}).ok()
        migrations.wait_for(
            "the migration has failed",
            lambda _, each: each["metadata"]["name"] == name and moves.phase(each) == "Failed",
            within_s=patience.promised(60))
        vmis.wait_for(
            "the VMI has failed", lambda _, each: each["status"].get("phase") == "Failed",
            within_s=patience.promised(60))
    space.wait_vm(
        "vm", lambda vm: condition(vm, "ManualRecoveryRequired").get("status") == "True", "asks for recovery")
    space.wait_vmi_gone("vm")
    patience.quiet("a guest on half a copy", lambda: space.get_vmi("vm"), lambda found: found is not None, for_s=5)
    volumemoves.change(space, "p1")
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"])
    assert condition(space.vm("vm"), "ManualRecoveryRequired") == {}
    _check_records(space, written)


def _check_records(space: Space, written: int) -> None:
    """A guest that was booted anew finds what the earlier one had written."""
    shell = space.shell("vm")
    counted = (
        f"dd if=/dev/vda bs=512 count={written} 2>/dev/null | "
        "awk '{if ($1+0 != NR-1) bad++} END {print NR, bad+0}'"
    )
    assert written > 0
    assert shell.succeed(counted) == f"{written} 0"
