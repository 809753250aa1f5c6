"""A guest that has come to a launcher of another image than new ones have."""

import pytest

from functests.libs import build, growth, moves, patience, releases, settings
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, kubevirt_path
from functests.libs.watch import Watch
from functests.libs.witness import Witness

TAG = "functest-other"


@pytest.mark.needs("two-nodes")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=60)
@pytest.mark.timeout(300)
@pytest.mark.case("UPD-002")
def test_a_guest_in_an_outdated_launcher_is_moved_to_a_new_one(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a cluster whose guests may be migrated to be up to date; a running VM.
    Steps: migrate it to a launcher of the same image under another tag.
    Expected: the VMI is marked as outdated and the KubeVirt object counts it; a migration of its own accord brings it
        to a launcher of the image that new guests get, and the mark is gone; the guest noticed nothing.
    """
    methods = settings.kubevirt(space.rest)["spec"]["workloadUpdateStrategy"]["workloadUpdateMethods"]
    assert methods == ["LiveMigrate"], methods
    releases.tagged(cluster, TAG)
    image = cluster.component_images["virt-launcher"]
    _, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    with (
        Watch(space.rest, kubevirt_path(VMI, space.name)) as watch,
        Watch(space.rest, settings.KUBEVIRTS) as counts,
    ):
        space.rest.post(kubevirt_path(moves.VMIM, space.name), {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
            "metadata": {"name": "move", "annotations": {
                moves.TARGET_IMAGE: f"{image.rpartition(':')[0]}:{TAG}"}},
            "spec": {"vmiName": "vm"}}).ok()
        moves.reach(space, "move", "Succeeded")
        away = moves.check_moved(space, nodes, "vm", before, "move")
        made = patience.eventually(
            "a migration is made by itself", lambda: growth.names(growth.migrations(space)), bool)
        moves.reach(space, made[0], "Succeeded", within_s=patience.boots(4))
        after = moves.check_moved(space, nodes, "vm", away, made[0])
        vmi = space.wait_vmi(
            "vm", lambda vmi: vmi["status"]["launcherContainerImageVersion"] == image, "has the launcher of new guests")
        marks = [growth.OUTDATED in seen["metadata"]["labels"] for _, seen in watch.seen("vm")]
        counted = [seen["status"].get("outdatedVirtualMachineInstanceWorkloads") for _, seen in counts.seen("kubevirt")]
    assert after.pod != away.pod
    assert True in marks
    assert growth.OUTDATED not in vmi["metadata"]["labels"], vmi["metadata"]["labels"]
    assert any(counted), counted
    assert made[0].startswith(growth.PREFIX)
    assert len(made) == 1, made
    witness.shell = space.shell("vm")
    witness.check(still_s=3)
