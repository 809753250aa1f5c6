"""A running guest gets other claims: updateVolumesStrategy Migration, when all goes well, and what is refused."""

import pytest

from functests.libs import moves, patience, records, volumemoves
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, kubevirt_path
from functests.libs.volumes import NodeVolumes
from functests.libs.watch import Watch
from functests.libs.witness import Witness

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)]


@pytest.mark.case("BLK-014")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=60)
def test_a_claim_is_exchanged_and_exchanged_back(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM on a claim of one node, which writes records to it.
    Steps: name another such claim in its template; when it is there, the first one again.
    Expected: VolumesChange; one migration with the labels of its kind, which moves the guest; the VMI has the new
        claim, the old one is used by no pod, nothing tells of a change any more; every record is there; the same once
        more, and the guest noticed nothing.
    """
    volumemoves.make_claims(space, "p1", "p2")
    _, shell = space.boot(volumemoves.machine(cluster, "p1"))
    witness = Witness(shell)
    records.begin(shell)
    before = moves.home(space, nodes, "vm")
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        volumemoves.change(space, "p2")
        after = volumemoves.check_changed(space, nodes, before, {"p1": "p2"})
        seen = [vmi for _, vmi in watch.seen("vm")]
    assert "True" in [condition(vmi, volumemoves.CHANGE).get("status") for vmi in seen]
    begun = next(vmi["status"]["migratedVolumes"] for vmi in seen if vmi["status"].get("migratedVolumes"))
    assert [(each["volumeName"], each["sourcePVCInfo"]["claimName"], each["destinationPVCInfo"]["claimName"])
            for each in begun] == [("vol1", "p1", "p2")]
    meta = volumemoves.migrations(space)[0]["metadata"]
    assert meta["labels"][volumemoves.LABEL] == "vm"
    assert volumemoves.ANNOTATION in meta["annotations"]
    assert meta["name"].startswith("kubevirt-workload-update-")
    assert space.vmi("vm")["status"]["migrationMethod"] == "LiveMigration"
    shell = space.shell("vm")
    first = records.check(shell)
    volumemoves.change(space, "p1")
    volumemoves.check_changed(space, nodes, after, {"p2": "p1"}, [meta["name"]])
    witness.shell = space.shell("vm")
    assert records.check(witness.shell) > first
    witness.check(still_s=3)


@pytest.mark.needs("two-nodes", "shared")
@pytest.mark.case("BLK-015")
def test_a_guest_comes_to_shared_storage(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM on a claim of one node, which writes records to it.
    Steps: name a shared claim in its template; migrate it by hand afterwards.
    Expected: it is not migratable at first, and afterwards it is, without a copy; it moves; every record is there.
    """
    volumemoves.make_claims(space, "p1")
    volumemoves.make_claims(space, "shared", storage_class="shared", mode="ReadWriteMany")
    _, shell = space.boot(volumemoves.machine(cluster, "p1"))
    records.begin(shell)
    before = moves.home(space, nodes, "vm")
    assert condition(space.wait_condition("vm", "LiveMigratable", "False"), "LiveMigratable")["reason"] == (
        "DisksNotLiveMigratable")
    volumemoves.change(space, "shared")
    after = volumemoves.check_changed(space, nodes, before, {"p1": "shared"})
    vmi = space.wait_condition("vm", "LiveMigratable", "True")
    assert vmi["status"]["migrationMethod"] == "LiveMigration"
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", after, "move")
    assert sorted(moves.state(space.vmi("vm"))["targetDirectMigrationNodePorts"].values()) == [0, 49152]
    records.check(space.shell("vm"))


@pytest.mark.case("BLK-016")
def test_a_claim_that_is_missing_is_waited_for(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM on a claim of one node, random bytes on it.
    Steps: name a claim in its template that does not exist; make it.
    Expected: VolumesChange is False and says so; no migration, and the VMI has its claim; then the guest moves to the
        new one by itself, with its data.
    """
    volumemoves.make_claims(space, "p1")
    _, shell = space.boot(volumemoves.machine(cluster, "p1"))
    shell.succeed("dd if=/dev/urandom of=/dev/vda bs=1M count=8 conv=fsync 2>/dev/null")
    digest = "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda bs=1M 2>/dev/null | sha256sum"
    data = shell.succeed(digest, within_s=patience.promised(60))
    before = moves.home(space, nodes, "vm")
    volumemoves.change(space, "p2")
    vmi = space.wait_condition("vm", volumemoves.CHANGE, "False")
    assert "One of the destination volumes doesn't exist" in condition(vmi, volumemoves.CHANGE)["message"]
    patience.quiet("a migration without its claim", lambda: volumemoves.migrations(space), bool, for_s=5)
    assert volumemoves.claims_of(space.vmi("vm")) == ["p1"]
    assert condition(space.vm("vm"), "RestartRequired") == {}
    volumemoves.make_claims(space, "p2")
    volumemoves.check_changed(space, nodes, before, {"p1": "p2"})
    assert space.shell("vm").succeed(digest, within_s=patience.promised(60)) == data


@pytest.mark.case("BLK-017")
def test_no_claim_of_the_node_is_left_behind(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM on two claims of one node, records on the first, random bytes on the second.
    Steps: replace the second one only; then both in one patch.
    Expected: RestartRequired says which volume would stay behind, and nothing is begun; then one migration moves both.
    """
    volumemoves.make_claims(space, "p1", "p2", "q1", "q2")
    _, shell = space.boot(volumemoves.machine(cluster, "p1", "p2"))
    records.begin(shell)
    shell.succeed("dd if=/dev/urandom of=/dev/vdb bs=1M count=8 conv=fsync 2>/dev/null")
    digest = "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vdb bs=1M count=8 2>/dev/null | sha256sum"
    data = shell.succeed(digest, within_s=patience.promised(60))
    before = moves.home(space, nodes, "vm")
    volumemoves.change(space, "p1", "q2")
    vm = space.wait_vm(
        "vm", lambda vm: condition(vm, "RestartRequired").get("status") == "True", "says that it takes a restart")
    assert condition(vm, "RestartRequired")["message"] == (
        "cannot migrate the VM. The volume vol1 is RWO and not included in the migration volumes")
    patience.quiet("a migration of one of two", lambda: volumemoves.migrations(space), bool, for_s=5)
    assert volumemoves.claims_of(space.vmi("vm")) == ["p1", "p2"]
    volumemoves.change(space, "q1", "q2")
    volumemoves.check_changed(space, nodes, before, {"p1": "q1", "p2": "q2"})
    shell = space.shell("vm")
    records.check(shell)
    assert shell.succeed(digest, within_s=patience.promised(60)) == data


@pytest.mark.case("BLK-018")
def test_a_disk_that_others_may_have_is_not_exchanged(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM whose disk is shareable.
    Steps: name another claim for it in the template; take that back.
    Expected: RestartRequired names the volume and its kind; no migration is made, the guest is left alone; the
        condition goes.
    """
    volumemoves.make_claims(space, "p1", "p2")
    _, shell = space.boot(volumemoves.machine(cluster, "p1", shareable=True))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    volumemoves.change(space, "p2")
    vm = space.wait_vm(
        "vm", lambda vm: condition(vm, "RestartRequired").get("status") == "True", "says that it takes a restart")
    message = condition(vm, "RestartRequired")["message"]
    assert message == "invalid volumes to update with migration: shareable: [vol1]"
    patience.quiet("a migration of a shareable disk", lambda: volumemoves.migrations(space), bool, for_s=5)
    assert volumemoves.claims_of(space.vmi("vm")) == ["p1"]
    assert moves.home(space, nodes, "vm") == before
    volumemoves.change(space, "p1")
    space.wait_vm("vm", lambda vm: condition(vm, "RestartRequired") == {}, "needs no restart")
    witness.check()


@pytest.mark.case("BLK-023")
@pytest.mark.parametrize("what", ["claim", "file"])
def test_a_larger_destination_changes_nothing_for_the_guest(
    node_volumes: NodeVolumes, space: Space, cluster: Cluster, nodes: Nodes, what: str
) -> None:
    """
    Preconditions: a VM on a claim of 64 MiB with records; a claim that is twice as large, empty or with a file of that
        size, full of other bytes, in it.
    Steps: name the larger claim in the template.
    Expected: the guest moves; its disk is as large as before, every record is there, and nothing else.
    """
    volumemoves.make_claims(space, "p1")
    _, shell = space.boot(volumemoves.machine(cluster, "p1"))
    size = shell.succeed("blockdev --getsize64 /dev/vda")
    zeros = shell.succeed("dd if=/dev/vda bs=1M skip=32 count=8 2>/dev/null | sha256sum")
    records.begin(shell)
    before = moves.home(space, nodes, "vm")
    if what == "claim":
        volumemoves.make_claims(space, "large", size="128Mi")
    else:
        there = node_volumes.make(space, _other(cluster, before.node), "large", size="128Mi")
        there.run("head -c 128M /dev/urandom > disk.img; chown 107:107 disk.img; chmod 0660 disk.img")
    volumemoves.change(space, "large")
    volumemoves.check_changed(space, nodes, before, {"p1": "large"})
    shell = space.shell("vm")
    assert shell.succeed("blockdev --getsize64 /dev/vda") == size == str(64 << 20)
    records.check(shell)
    assert shell.succeed("dd if=/dev/vda bs=1M skip=32 count=8 2>/dev/null | sha256sum") == zeros


def _other(cluster: Cluster, node: str) -> str:
    return next(worker for worker in cluster.workers if worker != node)
