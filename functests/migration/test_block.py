"""Disks that are not shared go along with their guest."""

import secrets

import pytest

from functests.libs import build, moves, records
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=800, nodes=2)]
# Below /proc/PID/root: /var/run is an absolute link there and would lead into the node's own /run.
OVERLAY = "/run/kubevirt-ephemeral-disks/disk-data/root/disk.qcow2"


@pytest.mark.case("BLK-001")
def test_what_was_written_to_a_container_disk_goes_along(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI on a containerDisk, 4 MiB of random bytes at the disk's end, synced.
    Steps: migrate; drop the guest's caches; read.
    Expected: BlockMigration; the same bytes, also of what was not written; the overlay is qcow2; the source's is gone.
    """
    _, shell = space.boot(build.disk_boot_vmi(cluster, "vm"))
    size = int(shell.succeed("blockdev --getsize64 /dev/vda")) // 2**20
    where = size - 4
    shell.succeed(f"dd if=/dev/urandom of=/dev/vda bs=1M count=4 seek={where} conv=fsync 2>/dev/null")
    read = (
        "echo 3 > /proc/sys/vm/drop_caches; "
        f"dd if=/dev/vda bs=1M skip={where} count=4 2>/dev/null | sha256sum; "
        f"dd if=/dev/vda bs=1M count={where} 2>/dev/null | sha256sum"
    )
    written = shell.succeed(read)
    before = moves.home(space, nodes, "vm")
    assert space.vmi("vm")["status"]["migrationMethod"] == "BlockMigration"
    source = nodes[before.node].run(f"readlink -f /proc/{before.qemu}/root; "
                                    f"find /var/lib/kubelet/pods/{before.pod_uid} -name disk.qcow2").split()
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    assert space.shell("vm").succeed(read) == written
    head = nodes[after.node].run(f"head -c 4 /proc/{after.qemu}/root{OVERLAY} | od -An -c")
    assert "Q F I 373" in " ".join(head.split()), head
    assert source, "the source had an overlay"


@pytest.mark.case("BLK-002")
def test_an_empty_disk_goes_along(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI with an emptyDisk of 64Mi, ext4 with files on it.
    Steps: migrate; look at the tree; check the file system.
    Expected: the same files, the same size, no fault.
    """
    manifest = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", {"emptyDisk": {"capacity": "64Mi"}})
    _, shell = space.boot(manifest)
    nonce = secrets.token_hex(8)
    shell.succeed("mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt")
    shell.succeed(
        f"mkdir -p /mnt/a/b && echo {nonce} > /mnt/a/b/nonce && "
        "dd if=/dev/urandom of=/mnt/a/blob bs=1M count=8 2>/dev/null && sync")
    look = "cd /mnt && find . -type f ! -path './lost+found/*' | sort | xargs sha256sum; cd /"
    tree = shell.succeed(look)
    assert nonce in shell.succeed("cat /mnt/a/b/nonce")
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    shell = space.shell("vm")
    shell.succeed("echo 3 > /proc/sys/vm/drop_caches")
    assert shell.succeed(look) == tree
    assert shell.succeed("blockdev --getsize64 /dev/vda") == str(64 * 2**20)
    shell.succeed("umount /mnt && e2fsck -fn /dev/vda")


@pytest.mark.needs("shared")
@pytest.mark.case("MIG-005")
def test_a_shared_disk_is_not_copied(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI with a disk on a ReadWriteMany claim and nothing else, records on it.
    Steps: migrate while more is written.
    Expected: LiveMigration; the ports are those of libvirt and memory; every record is there; the target has it open.
    """
    claim = build.pvc("data", storage_class="shared", mode="ReadWriteMany")
    space.rest.post(f"/api/v1/namespaces/{space.name}/persistentvolumeclaims", claim).ok()
    source = {"persistentVolumeClaim": {"claimName": "data"}}
    _, shell = space.boot(build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", source))
    records.begin(shell)
    before = moves.home(space, nodes, "vm")
    assert space.wait_vmi("vm", lambda vmi: vmi["status"].get("migrationMethod"), "its method is known")[
        "status"]["migrationMethod"] == "LiveMigration"
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    told = moves.state(space.vmi("vm"))
    assert sorted(told["targetDirectMigrationNodePorts"].values()) == [0, 49152]
    records.check(space.shell("vm"))
    image = "/run/kubevirt-private/vmi-disks/data/disk.img"
    assert nodes[after.node].run(f"stat -c %s /proc/{after.qemu}/root{image}").strip() == str(64 * 2**20)
