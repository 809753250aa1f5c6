"""How a disk is attached: bus, serial number, read-only, cache, I/O mode, order of boot, whether it may move."""

import json
import secrets
from typing import Any

import pytest

from functests.libs import build, images, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space, condition
from functests.libs.nodes import Nodes, Process
from functests.libs.rest import core_path
from functests.libs.volumes import NodeVolumes

MIB = 1 << 20
O_DIRECT = 0o40000


def _with_claim(manifest: Manifest, claim: str, **disk: Any) -> Manifest:
    return build.with_disk(manifest, claim, {"persistentVolumeClaim": {"claimName": claim}}, **disk)


def _block_devices(qemu: Process) -> dict[str, dict[str, Any]]:
    """QEMU's -blockdev arguments for files of claims, by volume."""
    found = {}
    for flag, value in zip(qemu.argv, qemu.argv[1:], strict=False):
        if flag == "-blockdev" and "/vmi-disks/" in value:
            node = json.loads(value)
            if node.get("driver") == "file":
                found[node["filename"].split("/")[-2]] = node
    return found


@pytest.mark.demand(boots=2)
@pytest.mark.case("STO-019")
@pytest.mark.case("STO-033")
def test_read_only_disks_and_serial_numbers(node_volumes: NodeVolumes, space: Space, cluster: Cluster) -> None:
    """
    Preconditions: two claims with random data, as read-only disks: virtio with a serial of 20 characters, SCSI with 30.
    Steps: boot a VM with them; read their flags and serials; write to both; restart the VM.
    Expected: ro is 1, a write fails; the serials are exactly the given ones, again after the restart; disk.img of both
        is unchanged.
    """
    here = cluster.workers[-1]
    serials = {"fast": "A.b_c+d-0123456789xy", "slow": "S" + secrets.token_hex(14) + "-"}
    volumes = {name: node_volumes.make(space, here, name) for name in serials}
    manifest = build.on_node(build.kernel_boot_vmi(cluster, "vm"), here)
    for (name, serial), bus in zip(serials.items(), ("virtio", "scsi"), strict=True):
        volumes[name].run("head -c 1M /dev/urandom > disk.img; chown 107:107 disk.img")
        manifest = _with_claim(manifest, name, disk={"bus": bus, "readonly": True}, serial=serial)
    before = {name: volume.sha() for name, volume in volumes.items()}

    def told(shell: Console) -> dict[str, str]:
        page = shell.succeed("cat /sys/block/sda/device/vpd_pg80 | tail -c +5")
        return {"fast": shell.succeed("cat /sys/block/vda/serial"), "slow": page.strip("\0 ")}

    vmi, shell = space.boot(build.vm_of(manifest))
    for device in ("vda", "sda"):
        assert shell.succeed(f"cat /sys/block/{device}/ro") == "1", device
        assert shell.run(f"dd if=/dev/zero of=/dev/{device} bs=512 count=1 conv=fsync 2>&1").code != 0, device
    assert told(shell) == serials
    assert space.act_on_vm("vm", "restart").code == 202
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(2))
    assert told(space.shell("vm", boots=2)) == serials
    assert {name: volume.sha() for name, volume in volumes.items()} == before


@pytest.mark.case("STO-029")
@pytest.mark.case("STO-031")
def test_cache_and_io_modes(node_volumes: NodeVolumes, space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: claims with a sparse disk.img (cache none and writethrough), and preallocated ones, of which one asks
        for I/O by threads.
    Steps: boot a VMI with all; read QEMU's open files and the guest's caches; write 8 MiB to each and read them; write
        a nonce with fsync to two; kill QEMU.
    Expected: O_DIRECT is set for cache none only; the guest's cache is "write through" for writethrough only; native
        I/O for the preallocated one, not for the others; all data right; both nonces are in disk.img.
    """
    here = cluster.workers[-1]
    disks: dict[str, tuple[str, dict[str, str]]] = {
        "none": ("truncate -s 16M", {"cache": "none"}),
        "through": ("truncate -s 16M", {"cache": "writethrough"}),
        "solid": ("head -c 16M /dev/zero >", {}),
        "threads": ("head -c 16M /dev/zero >", {"io": "threads"}),
    }
    volumes = {}
    manifest = build.on_node(build.kernel_boot_vmi(cluster, "vm"), here)
    for name, (make, settings) in disks.items():
        volumes[name] = node_volumes.make(space, here, name)
        volumes[name].run(f"{make} disk.img; sync; chown 107:107 disk.img")
        manifest = _with_claim(manifest, name, **settings)
    vmi, shell = space.boot(manifest)
    devices = dict(zip(disks, ("vda", "vdb", "vdc", "vdd"), strict=True))
    node = nodes[here]
    qemu = node.qemu(space.pod(vmi)["metadata"]["uid"])

    script = (
        f"cd /proc/{qemu.pid}; for fd in fd/*; do case $(readlink $fd) in */vmi-disks/*/disk.img|*/disk.img) "
        "echo $(readlink $fd) $(grep flags: fdinfo/${fd#fd/});; esac; done"
    )
    flags = {}
    for line in node.run(script).splitlines():
        path, _, value = line.split()
        owner = next((name for name, volume in volumes.items() if f"/{name}/" in path or volume.name in path), "")
        flags[owner] = int(value, 8)
    direct = {name: bool(flags[name] & O_DIRECT) for name in ("none", "through")}
    assert direct == {"none": True, "through": False}, flags
    caches = {name: shell.succeed(f"cat /sys/block/{devices[name]}/queue/write_cache") for name in ("none", "through")}
    assert caches == {"none": "write back", "through": "write through"}
    modes = {name: entry.get("aio", "threads") for name, entry in _block_devices(qemu).items()}
    assert modes == {"none": "threads", "through": "threads", "solid": "native", "threads": "threads"}, modes

    for device in devices.values():
        shell.succeed("dd if=/dev/urandom of=/tmp/data bs=1M count=8 2>/dev/null")
        shell.succeed(f"dd if=/tmp/data of=/dev/{device} bs=1M conv=fsync 2>/dev/null")
        read = f"echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/{device} bs=1M count=8 2>/dev/null | sha256sum"
        assert shell.succeed(read) == shell.succeed("sha256sum < /tmp/data"), device
    nonces = {name: secrets.token_hex(16) for name in ("none", "through")}
    for name, nonce in nonces.items():
        shell.succeed(f"echo {nonce} | dd of=/dev/{devices[name]} bs=512 seek=30000 conv=sync,fsync 2>/dev/null")
    node.run(f"kill -9 {qemu.pid}")
    read = "dd if=disk.img bs=512 skip=30000 count=1 2>/dev/null | head -c 32"
    found = {name: volumes[name].run(read) for name in nonces}
    assert found == nonces


@pytest.mark.case("STO-028")
def test_an_empty_disk_on_each_bus(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: boot a VMI with empty disks of 128Mi on virtio, SCSI, and without a bus, and one on USB.
    Expected: each (that on USB where the guest's kernel knows it) is under the driver of its bus (SATA where none is
        given), has the size, and gives back 4 MiB of random data past the caches; targets are vda, sda style, and none
        comes twice.
    """
    manifest = build.kernel_boot_vmi(cluster, "vm")
    for name, disk in {"fast": {"bus": "virtio"}, "scsi": {"bus": "scsi"}, "any": {}, "stick": {"bus": "usb"}}.items():
        manifest = build.with_disk(manifest, name, {"emptyDisk": {"capacity": "128Mi"}}, disk=disk, serial=f"sn-{name}")
    _, shell = space.boot(manifest)
    targets = {entry["name"]: entry.get("target", "") for entry in space.vmi("vm")["status"]["volumeStatus"]}
    assert targets["fast"] == "vda", targets
    assert sorted(targets[name] for name in ("scsi", "any", "stick")) == ["sda", "sdb", "sdc"], targets

    # Device letters of the guest are hints only: the driver finds the disk. Debian's cloud kernel has no USB; a disk on
    # it comes a second after the others.
    drivers = {"fast": "virtio_blk", "scsi": "virtio_scsi", "any": "ahci"}
    if cluster.images["tiny-kernel"].get("kernel") == "own":
        drivers["stick"] = "usb-storage"
    listed = patience.eventually(
        "a disk for each driver",
        lambda: shell.succeed("for d in /sys/block/[sv]d*; do echo $d $(readlink -f $d/device); done").splitlines(),
        lambda lines: len(lines) >= len(drivers),
    )
    found = {}
    for line in listed:
        block, path = line.split()
        probe = f"p={path}; while [ $p != / ]; do readlink $p/driver; p=${{p%/*}}; [ -n \"$p\" ] || p=/; done"
        above = shell.run(probe).out
        name = next((name for name, driver in drivers.items() if f"/{driver}\n" in f"{above}\n"), "")
        found[name] = block.rpartition("/")[2]
    assert sorted(found) == sorted(drivers), (found, listed)
    for name, device in found.items():
        assert shell.succeed(f"blockdev --getsize64 /dev/{device}") == str(128 * MIB), name
        shell.succeed("dd if=/dev/urandom of=/tmp/data bs=1M count=4 2>/dev/null")
        shell.succeed(f"dd if=/tmp/data of=/dev/{device} bs=1M conv=fsync 2>/dev/null")
        read = f"echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/{device} bs=1M count=4 2>/dev/null | sha256sum"
        assert shell.succeed(read) == shell.succeed("sha256sum < /tmp/data"), name


@pytest.mark.needs("shared")
@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2)
@pytest.mark.case("STO-021")
def test_whether_a_claim_lets_its_guest_move(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a ReadWriteMany claim of class shared, a ReadWriteOnce claim of class local.
    Steps: run a VMI with each.
    Expected: LiveMigratable True with method LiveMigration; False, DisksNotLiveMigratable, a text that names the claim
        and says that it is not shared.
    """
    claims = (build.pvc("moves", storage_class="shared", mode="ReadWriteMany"), build.pvc("stays"))
    for claim in claims:
        space.rest.post(core_path("persistentvolumeclaims", space.name), claim).ok()
    for name in ("moves", "stays"):
        space.create(_with_claim(build.kernel_boot_vmi(cluster, name), name))
    for name in ("moves", "stays"):
        space.wait_running(name)
    moves = space.wait_condition("moves", "LiveMigratable", "True")
    assert moves["status"]["migrationMethod"] == "LiveMigration"
    stays = condition(space.wait_condition("stays", "LiveMigratable", "False"), "LiveMigratable")
    assert stays["reason"] == "DisksNotLiveMigratable"
    assert "claim stays is not shared" in stays["message"], stays


@pytest.mark.demand(boots=2)
@pytest.mark.case("STO-034")
def test_the_disk_with_the_lower_order_boots(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: two images that boot, and differ in one word of the kernel's command line.
    Steps: boot a VM with both, bootOrder 2 and 1 against their order in the list; swap the numbers, restart.
    Expected: the guest's command line is first the second image's, then the first one's.
    """
    disk = images.content(cluster, "tiny", "disk/disk.img")
    words = {"first": b"console=tty0 console", "second": b"console=tty1 console"}     # of one length: files stay whole
    assert disk.count(words["first"]) == 1, "the boot loader's configuration is not where it was"
    references = {"first": cluster.image("tiny")}
    references["second"] = images.push(cluster, {"disk/disk.img": disk.replace(words["first"], words["second"])})
    manifest = build.disk_boot_vmi(cluster, "vm")
    spec = manifest["spec"]

    def disks(first: int, second: int) -> list[Manifest]:
        return [{"name": name, "disk": {"bus": "virtio"}, "bootOrder": order}
                for name, order in (("first", first), ("second", second))]  # fmt: skip

    spec["volumes"] = [{"name": name, "containerDisk": {"image": image}} for name, image in references.items()]
    spec["domain"]["devices"]["disks"] = disks(2, 1)
    vmi, shell = space.boot(build.vm_of(manifest))
    assert words["second"].decode() in shell.succeed("cat /proc/cmdline")
    swapped = {"spec": {"template": {"spec": {"domain": {"devices": {"disks": disks(1, 2)}}}}}}
    space.patch_vm("vm", swapped).ok()
    assert space.act_on_vm("vm", "restart").code == 202
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(2))
    assert words["first"].decode() in space.shell("vm", boots=2).succeed("cat /proc/cmdline")
