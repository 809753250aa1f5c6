"""Disks on their way into a guest while its node's handler is replaced."""

import pytest

from functests.libs import build, hotplug, moves, patience, records
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, kubevirt_path
from functests.libs.stack import Stack
from functests.libs.watch import Watch
from functests.libs.witness import Witness

pytestmark = [pytest.mark.serial]


@pytest.mark.case("STO-058")
@pytest.mark.demand(boots=1, seconds=45)
def test_a_disk_comes_although_the_handler_goes(space: Space, cluster: Cluster, nodes: Nodes, stack: Stack) -> None:
    """
    Preconditions: a VM with a hot-plugged disk, to which its guest writes records; a second claim.
    Steps: PUT addvolume of the second, and delete the handler's pod of the node as soon as the volume is there; when
        the handler is back, remove the volume.
    Expected: the new disk becomes Ready and takes data; every record is there, the guest noticed nothing; the volume
        goes.
    """
    for name in ("used", "new"):
        space.rest.post(core_path("persistentvolumeclaims", space.name), build.pvc(name, size="16Mi")).ok()
    _, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    assert space.act_on_vm("vm", "addvolume", hotplug.options("used", "virtio")).code == 202
    hotplug.wait_ready(space, "vm", "used")
    device = hotplug.find(shell, "used").removeprefix("/dev/")
    witness = Witness(shell)
    records.begin(shell, device)
    before = moves.home(space, nodes, "vm")
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        assert space.act_on_vm("vm", "addvolume", hotplug.options("new")).code == 202
        watch.wait_for("the volume is there", lambda _, vmi: hotplug.phase(vmi, "new") != "",
                       within_s=patience.promised(15))
        stack.replace(stack.handler(before.node))
    hotplug.wait_ready(space, "vm", "used", "new", within_s=patience.promised(60))
    stack.wait_well()
    witness.shell = space.shell("vm")
    hotplug.fill(witness.shell, hotplug.find(witness.shell, "new"), 1)
    assert space.act_on_vm("vm", "removevolume", {"name": "new"}).code == 202
    hotplug.wait_gone(space, "vm", "new")
    assert records.check(witness.shell, device) > 0
    witness.check(still_s=3)
    assert moves.home(space, nodes, "vm") == before
