"""Guests that move with disks that were hot-plugged: attachment pods on both sides, cancels, evictions, other
claims."""

from collections.abc import Callable

import pytest

from functests.libs import build, commands, evictions, hotplug, moves, patience, records, volumemoves
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path, kubevirt_path
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)]
PODS = "kubevirt.io in (virt-launcher,hotplug-disk)"


def _add(space: Space, name: str, bus: str = "virtio") -> None:
    answer = space.act_on_vm("vm", "addvolume", hotplug.options(name, bus))
    assert answer.code == 202, answer.text
    hotplug.wait_ready(space, "vm", name)


def _remove(space: Space, name: str) -> None:
    assert space.act_on_vm("vm", "removevolume", {"name": name}).code == 202
    hotplug.wait_gone(space, "vm", name)


def _boot_plugged(space: Space, guest: build.Manifest) -> tuple[Console, str]:
    """A VM that may move, with a shared claim that was hot-plugged: its shell, and the disk's name there ("vda")."""
    volumemoves.make_claims(space, "data", storage_class="shared", mode="ReadWriteMany")
    _, shell = space.boot(build.vm_of(guest))
    _add(space, "data")
    space.wait_condition("vm", "LiveMigratable", "True")
    return shell, hotplug.find(shell, "data").removeprefix("/dev/")


@pytest.mark.needs("shared")
@pytest.mark.case("STO-055")
@pytest.mark.case("MIG-061")
def test_a_plugged_disk_moves_along(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM with a shared claim that was hot-plugged, to which its guest writes records.
    Steps: migrate; remove the volume and add it again.
    Expected: the migration names the attachment pod of the target; moved, the guest noticed nothing, every record is
        there; the one attachment pod is the target's, on its node; the volume goes and comes as before.
    """
    shell, device = _boot_plugged(space, build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    records.begin(shell, device)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    pod = hotplug.wait_attachments(space, ["data"])
    assert pod is not None
    told = moves.state(space.vmi("vm"))
    owners = [owner["uid"] for owner in pod["metadata"]["ownerReferences"]]
    assert (told["targetAttachmentPodUID"], pod["spec"]["nodeName"], owners) == (
        pod["metadata"]["uid"], after.node, [after.pod_uid])
    space.wait_vmi(
        "vm", lambda vmi: hotplug.status(vmi, "data").get("hotplugVolume") == {
            "attachPodName": pod["metadata"]["name"], "attachPodUID": pod["metadata"]["uid"]},
        "names the target's attachment pod")
    witness.shell = space.shell("vm")
    assert records.check(witness.shell, device) > 0
    witness.check(still_s=3)
    witness.shell.succeed("for p in /proc/[0-9]*; do grep -q '/run/write[r]' $p/cmdline && kill ${p##*/}; done; true")
    _remove(space, "data")
    assert not hotplug.has_device(witness.shell, device)
    _add(space, "data")
    hotplug.fill(witness.shell, hotplug.find(witness.shell, "data"), 1)


@pytest.mark.needs("shared")
@pytest.mark.case("MIG-061")
def test_a_disk_that_is_plugged_on_the_way_comes_after_the_move(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a VM with a witness whose migration runs slowly; a shared claim.
    Steps: add the claim as a volume; wait for both.
    Expected: it is accepted; the guest moves and does not notice; then it has the disk, by an attachment pod at the
        target, and keeps what it writes there.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    volumemoves.make_claims(space, "data", storage_class="shared", mode="ReadWriteMany")
    _, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    answer = space.act_on_vm("vm", "addvolume", hotplug.options("data", "virtio"))
    assert answer.code == 202, answer.text
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    hotplug.wait_ready(space, "vm", "data")
    pod = hotplug.wait_attachments(space, ["data"])
    assert pod is not None
    owners = [owner["uid"] for owner in pod["metadata"]["ownerReferences"]]
    assert (pod["spec"]["nodeName"], owners) == (after.node, [after.pod_uid])
    witness.shell = space.shell("vm")
    hotplug.fill(witness.shell, hotplug.find(witness.shell, "data"))
    witness.check(still_s=2)


@pytest.mark.needs("shared")
@pytest.mark.case("MIG-061")
def test_a_cancelled_move_leaves_no_attachment(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a VM with a shared claim that was hot-plugged; a migration of it that runs and is held up.
    Steps: cancel the migration; delete the VM and the claim.
    Expected: the guest stays, with its disk; the only attachment pod is the source's; afterwards there is none, and the
        claim is mounted on neither node.
    """
    policy(bandwidthPerMigration=moves.HELD)
    shell, device = _boot_plugged(space, build.kernel_boot_vmi(cluster, "vm"))
    written = hotplug.fill(shell, f"/dev/{device}")
    bound = space.rest.get(core_path("persistentvolumeclaims", space.name, "data")).ok()["spec"]["volumeName"]
    before = moves.home(space, nodes, "vm")
    shell.succeed(moves.DIRTY)
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    on = {pod["spec"]["nodeName"] for pod in hotplug.attachments(space)}
    assert before.node in on
    assert len(on) == 2, on
    space.rest.delete(f"{kubevirt_path(moves.VMIM, space.name)}/move").ok()
    patience.eventually("the migration is gone", lambda: moves.get(space, "move"), lambda seen: seen is None)
    moves.check_stayed(space, nodes, "vm", before)
    pod = hotplug.wait_attachments(space, ["data"], within_s=patience.promised(30))
    assert pod is not None
    assert pod["spec"]["nodeName"] == before.node
    assert hotplug.digest(shell, hotplug.find(shell, "data")) == written
    space.delete_vm("vm").ok()
    space.wait_vmi_gone("vm", within_s=patience.promised(60))
    hotplug.wait_attachments(space, [], within_s=patience.promised(30))
    space.rest.delete(core_path("persistentvolumeclaims", space.name, "data")).ok()
    for node in cluster.workers[:2]:
        patience.eventually(
            f"the claim is mounted no more on {node}",
            lambda node=node: nodes[node].run(f"grep -c {bound} /proc/mounts || true").strip(),  # type: ignore[misc]
            lambda count: count == "0", within_s=patience.promised(30))


@pytest.mark.case("BLK-019")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=60)
def test_a_plugged_disk_gets_another_claim(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM with updateVolumesStrategy Migration and a local claim that was hot-plugged, random bytes on it.
    Steps: name another claim in its place; then add one more volume and remove it.
    Expected: a migration brings guest and bytes to the new claim, which the target's attachment pod has; adding and
        removing makes no migration.
    """
    volumemoves.make_claims(space, "old", "new", "more")
    machine = build.vm_of(build.kernel_boot_vmi(cluster, "vm"))
    _, shell = space.boot(build.merged(machine, {"spec": {"updateVolumesStrategy": "Migration"}}))
    hotplug.patch_in(space, "vm", "data", claim="old")
    hotplug.wait_ready(space, "vm", "data")
    written = hotplug.fill(shell, hotplug.find(shell, "data"))
    before = moves.home(space, nodes, "vm")
    space.patch_vm("vm", {"spec": {"template": {"spec": {"volumes": [hotplug.volume("data", "new")]}}}}).ok()
    name = volumemoves.next_migration(space)
    moves.reach(space, name, "Succeeded", within_s=patience.boots(4))
    moves.check_moved(space, nodes, "vm", before, name)
    assert hotplug.wait_attachments(space, ["new"]) is not None
    shell = space.shell("vm")
    assert hotplug.digest(shell, hotplug.find(shell, "data")) == written
    known = [each["metadata"]["name"] for each in moves.migrations(space)]
    _add(space, "more")
    _remove(space, "more")
    assert [each["metadata"]["name"] for each in moves.migrations(space)] == known
    assert not hotplug.needs_restart(space, "vm")


@pytest.mark.serial
@pytest.mark.needs("shared")
@pytest.mark.case("DRN-015")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=60)
def test_a_node_is_drained_of_a_guest_with_a_plugged_disk(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with strategy LiveMigrate and a shared claim that was hot-plugged, to which it writes
        records.
    Steps: evict the attachment pod; drain the node of launcher and attachment pods.
    Expected: 429 "cannot evict hotplug pod"; the drain ends, the guest has moved and noticed nothing, every record is
        there, its kernel tells of no I/O error.
    """
    guest = build.evictable(build.kernel_boot_vmi(cluster, "vm"), cluster.workers[0])
    shell, device = _boot_plugged(space, guest)
    witness = Witness(shell)
    records.begin(shell, device)
    before = moves.home(space, nodes, "vm")
    pod = hotplug.wait_attachments(space, ["data"])
    assert pod is not None
    answer = evictions.evict(space, pod["metadata"]["name"])
    assert (answer.code, "cannot evict hotplug pod" in answer.message) == (429, True), answer.text
    try:
        limit_s = int(patience.promised(60))
        done = commands.shell(
            cluster, f"kubectl {evictions.drain(before.node, limit_s, pods=PODS)}", deadline_s=limit_s + 30)
        assert done.code == 0, done.stderr
    finally:
        space.rest.patch(f"/api/v1/nodes/{before.node}", {"spec": {"unschedulable": None}}).ok()
    (migration,) = moves.migrations(space)
    moves.reach(space, migration["metadata"]["name"], "Succeeded")
    moves.check_moved(space, nodes, "vm", before, migration["metadata"]["name"], is_drained=True)
    witness.shell = space.shell("vm")
    assert records.check(witness.shell, device) > 0
    assert witness.shell.run("dmesg | grep -i 'i/o error'").code == 1
    witness.check(still_s=3)
