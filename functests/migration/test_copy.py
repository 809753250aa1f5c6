"""Disks that are copied: under writes, again and again, in part only, and not to the end."""

import re
import signal
from collections.abc import Callable

import pytest

from functests.libs import build, launcher, moves, patience, records
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path, kubevirt_path
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)]
DROP = "echo 3 > /proc/sys/vm/drop_caches; "


def _with_empty_disk(cluster: Cluster, size: str) -> Manifest:
    return build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", {"emptyDisk": {"capacity": size}})


def _shared(space: Space) -> Manifest:
    claim = build.pvc("shared", storage_class="shared", mode="ReadWriteMany")
    space.rest.post(core_path("persistentvolumeclaims", space.name), claim).ok()
    return {"persistentVolumeClaim": {"claimName": "shared"}}


def _fill(shell: Console, device: str, mib: int) -> str:
    """Random bytes; their digest, as the disk tells it."""
    shell.succeed(
        f"dd if=/dev/urandom of=/dev/{device} bs=1M count={mib} conv=fsync 2>/dev/null", within_s=patience.promised(60))
    return _digest(shell, device, mib)


def _digest(shell: Console, device: str, mib: int) -> str:
    return shell.succeed(
        f"{DROP}dd if=/dev/{device} bs=1M count={mib} 2>/dev/null | sha256sum", within_s=patience.promised(60))


@pytest.mark.case("BLK-005")
@pytest.mark.parametrize("disk", ["overlay", "empty"])
def test_what_is_written_during_the_copy_arrives(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy, disk: str
) -> None:
    """
    Preconditions: a guest that writes records to the overlay of its containerDisk, or to an emptyDisk, all the time.
    Steps: migrate slowly.
    Expected: it moved; records were written meanwhile; every one of them is there; the writer saw no error.
    """
    policy(bandwidthPerMigration="4Mi")
    # tiny runs from memory, so its boot disk may be overwritten.
    manifest = build.disk_boot_vmi(cluster, "vm") if disk == "overlay" else _with_empty_disk(cluster, "64Mi")
    _, shell = space.boot(manifest)
    records.begin(shell)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    begun = int(patience.eventually("it writes", lambda: shell.run("cat /run/written").out.strip(), str.isdigit))
    moves.reach(space, "move", "Succeeded", within_s=patience.boots(4))
    moves.check_moved(space, nodes, "vm", before, "move")
    assert records.check(space.shell("vm")) > begun


@pytest.mark.needs("two-nodes", "shared")
@pytest.mark.case("BLK-006")
def test_only_what_is_not_shared_is_copied(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a shared claim, an emptyDisk and its containerDisk, 24 MiB of random bytes on the first.
    Steps: migrate.
    Expected: BlockMigration; the claim's file is the same one and was not sent; all contents are right.
    """
    manifest = build.with_disk(build.disk_boot_vmi(cluster, "vm"), "shared", _shared(space))
    manifest = build.with_disk(manifest, "empty", {"emptyDisk": {"capacity": "16Mi"}})
    _, shell = space.boot(manifest)
    known = {device: _fill(shell, device, mib) for device, mib in (("vdb", 24), ("vdc", 4))}
    before = moves.home(space, nodes, "vm")
    image = "/run/kubevirt-private/vmi-disks/shared/disk.img"
    inode = nodes[before.node].run(f"stat -c %i /proc/{before.qemu}/root{image}")
    assert space.vmi("vm")["status"]["migrationMethod"] == "BlockMigration"
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    assert nodes[after.node].run(f"stat -c %i /proc/{after.qemu}/root{image}") == inode
    found = launcher.Launcher(nodes[after.node], after.pod_uid).virsh("domjobinfo --completed --rawstats")
    sent = int(re.findall(r"^disk_processed\s*:?\s+(\d+)$", found, re.MULTILINE)[0])
    assert sent < 24 << 20, f"{sent} bytes of disks were sent, so the shared one was among them"
    shell = space.shell("vm")
    assert {device: _digest(shell, device, mib) for device, mib in (("vdb", 24), ("vdc", 4))} == known


@pytest.mark.case("BLK-008")
def test_a_large_empty_disk_stays_small(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: an emptyDisk of 1Gi with 8 MiB of random bytes.
    Steps: migrate.
    Expected: the same bytes; the file at the target takes at most 12 MiB, and at most 32 MiB were sent for it.
    """
    _, shell = space.boot(_with_empty_disk(cluster, "1Gi"))
    known = _fill(shell, "vda", 8)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    assert _digest(space.shell("vm"), "vda", 8) == known
    there = launcher.Launcher(nodes[after.node], after.pod_uid)
    found = there.virsh("domjobinfo --completed --rawstats")
    sent = int(re.findall(r"^disk_processed\s*:?\s+(\d+)$", found, re.MULTILINE)[0])
    assert sent <= 32 << 20, sent
    files = there.inside("du -k /var/run/libvirt/empty-disks/*").split()
    assert int(files[0]) <= 12 << 10, files


@pytest.mark.case("BLK-011")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=90)
def test_a_disk_is_copied_again_and_again(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest that writes records to the overlay of its containerDisk.
    Steps: four migrations, one after the other.
    Expected: each moved it; the chain is as deep as at first; every record is there.
    """
    _, shell = space.boot(build.disk_boot_vmi(cluster, "vm"))
    records.begin(shell)
    here = moves.home(space, nodes, "vm")

    def depth() -> int:
        xml = launcher.Launcher(nodes[here.node], here.pod_uid).virsh("dumpxml")
        return len(re.findall(r"<backingStore type=", xml))

    first = depth()
    for number in range(4):
        moves.migrate(space, "vm", f"move-{number}")
        moves.reach(space, f"move-{number}", "Succeeded")
        here = moves.check_moved(space, nodes, "vm", here, f"move-{number}")
        assert depth() == first
    records.check(space.shell("vm"))


@pytest.mark.case("BLK-012")
@pytest.mark.case("BLK-013")
@pytest.mark.parametrize("how", ["cancelled", "killed"])
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=60)
def test_a_copy_that_is_broken_off_does_no_harm(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy, how: str
) -> None:
    """
    Preconditions: an emptyDisk with 32 MiB of random bytes; so little bandwidth that its copy lasts.
    Steps: migrate; while the disk is copied delete the migration, or SIGKILL QEMU at the target; migrate again.
    Expected: the guest goes on where it was, and no block job is left; its disk is right; then it moves with it.
    """
    name = policy(bandwidthPerMigration=moves.HELD)
    _, shell = space.boot(_with_empty_disk(cluster, "64Mi"))
    witness = Witness(shell)
    known = _fill(shell, "vda", 32)
    before = moves.home(space, nodes, "vm")
    source = launcher.Launcher(nodes[before.node], before.pod_uid)
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    patience.eventually(
        "the disk is copied", lambda: source.virsh("blockjob --path vda"), lambda text: "Block Copy" in text,
        within_s=patience.promised(20))
    if how == "cancelled":
        space.rest.delete(kubevirt_path(moves.VMIM, space.name, "move")).ok()
        patience.eventually(
            "the migration is gone", lambda: moves.get(space, "move"), lambda found: found is None)
    else:
        told = moves.state(space.vmi("vm"))
        target = next(pod for pod in space.pods(space.vmi("vm")) if pod["metadata"]["name"] == told["targetPod"])
        node = nodes[told["targetNode"]]
        node.run(f"kill -{int(signal.SIGKILL)} {node.qemu(target['metadata']['uid']).pid}")
        moves.reach(space, "move", "Failed", within_s=patience.promised(60))
    moves.check_stayed(space, nodes, "vm", before)
    assert "No current block job" in source.virsh("blockjob --path vda")
    assert _digest(shell, "vda", 32) == known
    witness.check(still_s=1)
    space.rest.delete(f"{moves.POLICIES}/{name}").ok()
    moves.migrate(space, "vm", "again")
    moves.reach(space, "again", "Succeeded", within_s=patience.boots(4))
    moves.check_moved(space, nodes, "vm", before, "again")
    witness.shell = space.shell("vm")
    assert _digest(witness.shell, "vda", 32) == known
    witness.check(still_s=2)
