"""Disks: what a guest keeps, over which event, and what the node holds of it."""

import secrets

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space, condition
from functests.libs.launcher import EPHEMERAL
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, kubevirt_path
from functests.libs.watch import Watch


def _restart(space: Space, name: str, uid: str) -> Console:
    """Restart the VM by the API; a shell on the new VMI."""
    assert space.act_on_vm(name, "restart").code == 202
    space.wait_running(name, not_uid=uid, within_s=patience.boots(2))
    return space.shell(name, boots=2)


def _reboot(space: Space, name: str, shell: Console) -> Console:
    """Reboot from inside and wait for the next shell on the same console."""
    since = shell.position
    shell.send("sync; reboot -f\n")
    shell.wait_for("tiny: ready", within_s=patience.boots(2), since=since)
    return shell.login(within_s=patience.boots(1))


@pytest.mark.demand(boots=3)
@pytest.mark.case("STO-001")
def test_a_container_disk_forgets_at_restart_but_not_at_reboot(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM that boots from a containerDisk.
    Steps: write a nonce near the disk's end; reboot the guest; restart the VM.
    Expected: the nonce survives the reboot, not the restart; the rest stays the image's; the overlay is 107's alone.
    """
    vmi, shell = space.boot(build.vm_of(build.disk_boot_vmi(cluster, "vm")))
    nonce = secrets.token_hex(16)
    size = int(shell.succeed("cat /sys/block/vda/size"))
    place = f"bs=512 seek={size - 8}"
    digest = "dd if=/dev/vda bs=1M count=1 2>/dev/null | sha256sum"
    untouched = shell.succeed(digest)
    shell.succeed(f"echo {nonce} | dd of=/dev/vda {place} conv=sync,fsync 2>/dev/null")
    read = f"dd if=/dev/vda bs=512 skip={size - 8} count=1 2>/dev/null | head -c 32"

    pod = space.pod(vmi)
    node = nodes[vmi["status"]["nodeName"]]
    qemu = node.qemu(pod["metadata"]["uid"])
    overlay = f"/proc/{qemu.pid}/root{EPHEMERAL}/disk-data/root/disk.qcow2"
    assert node.run(f"stat -c '%a %u' {overlay}").split() == ["640", "107"]
    targets = {entry["name"]: entry.get("target") for entry in space.vmi("vm")["status"]["volumeStatus"]}
    assert targets["root"] == "vda", targets

    shell = _reboot(space, "vm", shell)
    assert shell.succeed(read) == nonce
    shell = _restart(space, "vm", vmi["metadata"]["uid"])
    assert shell.succeed(read) != nonce
    assert shell.succeed(digest) == untouched


@pytest.mark.demand(boots=3)
@pytest.mark.case("STO-010")
def test_an_empty_disk_lives_as_long_as_its_pod(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM with an emptyDisk of 1G.
    Steps: write 8 MiB of random bytes; reboot the guest; restart the VM.
    Expected: 999292928 bytes; the content survives the reboot, is zero after the restart; the file leaves with the pod.
    """
    manifest = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", {"emptyDisk": {"capacity": "1G"}})
    vmi, shell = space.boot(build.vm_of(manifest))
    assert shell.succeed("blockdev --getsize64 /dev/vda") == "999292928"
    shell.succeed("dd if=/dev/urandom of=/dev/vda bs=1M count=8 conv=fsync 2>/dev/null", within_s=patience.promised(30))
    digest = "dd if=/dev/vda bs=1M count=8 2>/dev/null | sha256sum"
    written = shell.succeed(digest)
    zero = shell.succeed("dd if=/dev/zero bs=1M count=8 2>/dev/null | sha256sum")
    node = nodes[vmi["status"]["nodeName"]]
    pod = space.pod(vmi)["metadata"]["uid"]
    find = f"find /var/lib/kubelet/pods/{pod} -name data.qcow2 2>/dev/null || true"
    assert node.run(find).strip(), "the emptyDisk's file is not in the pod's folder"

    shell = _reboot(space, "vm", shell)
    assert shell.succeed(digest) == written
    shell = _restart(space, "vm", vmi["metadata"]["uid"])
    assert shell.succeed(digest) == zero
    patience.eventually("the file leaves with the pod", lambda: node.run(find).strip(), lambda found: not found)


@pytest.mark.demand(boots=3)
@pytest.mark.case("STO-011")
def test_a_blank_claim_becomes_a_disk_that_keeps_its_content(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM with a blank file system claim of 64Mi.
    Steps: boot; write 8 MiB; stop; start.
    Expected: disk.img is sparse, of whole MiB, owned by 107; the content stays; volumeStatus has the claim.
    """
    space.rest.post(f"/api/v1/namespaces/{space.name}/persistentvolumeclaims", build.pvc("data")).ok()
    source = {"persistentVolumeClaim": {"claimName": "data"}}
    vmi, shell = space.boot(build.vm_of(build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", source)))
    node = nodes[vmi["status"]["nodeName"]]
    qemu = node.qemu(space.pod(vmi)["metadata"]["uid"])
    image = f"/proc/{qemu.pid}/root/run/kubevirt-private/vmi-disks/data/disk.img"
    size, blocks, owner = (int(part) for part in node.run(f"stat -c '%s %b %u' {image}").split())
    assert owner == 107
    assert blocks * 512 < size, f"disk.img is not sparse: {blocks} blocks for {size} bytes"
    assert size % 2**20 == 0
    assert int(shell.succeed("blockdev --getsize64 /dev/vda")) == size == 64 * 2**20
    volume = next(entry for entry in space.vmi("vm")["status"]["volumeStatus"] if entry["name"] == "data")
    claim = volume["persistentVolumeClaimInfo"]
    assert (claim["claimName"], claim["accessModes"]) == ("data", ["ReadWriteOnce"])
    assert claim["capacity"]["storage"]

    shell.succeed("dd if=/dev/urandom of=/dev/vda bs=1M count=8 conv=fsync 2>/dev/null", within_s=patience.promised(30))
    digest = "echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vda bs=1M count=8 2>/dev/null | sha256sum"
    written = shell.succeed(digest)
    assert space.act_on_vm("vm", "stop").code == 202
    space.wait_vmi_gone("vm", within_s=patience.boots(1))
    assert space.act_on_vm("vm", "start").code == 202
    space.wait_running("vm")
    assert space.shell("vm").succeed(digest) == written


@pytest.mark.demand(boots=2)
@pytest.mark.case("STO-016")
def test_a_missing_claim_is_waited_for(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: an Always VM that names a claim that does not exist.
    Steps: create the VM; read its state; create the claim.
    Expected: Pending with the conditions and status that name the claim; then it runs.
    """
    source = {"persistentVolumeClaim": {"claimName": "late"}}
    manifest = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", source)
    with Watch(space.rest, kubevirt_path(VMI, space.name)):
        space.create(build.vm_of(manifest))
        space.wait_vm_status("vm", "ErrorPvcNotFound")
    vmi = space.vmi("vm")
    assert vmi["status"]["phase"] == "Pending"
    scheduled = condition(vmi, "PodScheduled")
    text = f"PVC {space.name}/late does not exist, waiting for it to appear"
    assert (scheduled["status"], scheduled["reason"], scheduled["message"]) == ("False", "Unschedulable", text)
    synchronized = condition(vmi, "Synchronized")
    assert (synchronized["status"], synchronized["reason"]) == ("False", "FailedPvcNotFound")

    space.rest.post(f"/api/v1/namespaces/{space.name}/persistentvolumeclaims", build.pvc("late")).ok()
    space.wait_running("vm", within_s=patience.boots(2))
    space.wait_vm_status("vm", "Running")
