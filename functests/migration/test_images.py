"""Images of a guest that moves: the very same ones, of their own format, and those that it only reads."""

import hashlib
import json
import random
import secrets

import pytest

from functests.libs import build, images, launcher, moves, qcow2
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)]
MIB = 1 << 20
DROP = "echo 3 > /proc/sys/vm/drop_caches; "


def _bytes(seed: int, size: int) -> bytes:
    """The same for each run, so that the registry gets them once."""
    return random.Random(seed).randbytes(size)


def _image(reference: str, **more: str) -> Manifest:
    return {"containerDisk": {"image": reference, **more}}


@pytest.mark.case("BLK-009")
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_an_image_keeps_its_format(space: Space, cluster: Cluster, nodes: Nodes, kind: str) -> None:
    """
    Preconditions: a guest with a containerDisk that holds a raw or a qcow2 file, ext4 with a file on it.
    Steps: migrate; read the file; check the file system.
    Expected: the file is the same and the file system has no fault; the overlay's backing file has the image's format
        on both nodes.
    """
    whole = _bytes(9, MIB) + bytes(31 * MIB)
    entries: dict[str, images.Entry] = (
        {"disk/disk.img": whole} if kind == "raw" else {"disk/disk.qcow2": qcow2.compressed(whole)})
    _, shell = space.boot(build.with_disk(
        build.kernel_boot_vmi(cluster, "vm"), "data", _image(images.push(cluster, entries))))
    nonce = secrets.token_hex(16)
    shell.succeed(
        f"mkfs.ext4 -q -F /dev/vda && mount /dev/vda /mnt && echo {nonce} > /mnt/nonce && sync")
    before = moves.home(space, nodes, "vm")
    assert _backing_format(nodes, before) == kind
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    assert _backing_format(nodes, after) == kind
    shell = space.shell("vm")
    assert shell.succeed(f"{DROP}cat /mnt/nonce") == nonce
    shell.succeed("umount /mnt && e2fsck -fn /dev/vda")


def _backing_format(nodes: Nodes, where: moves.Home) -> str:
    overlay = f"{launcher.EPHEMERAL}/disk-data/data/disk.qcow2"
    said = launcher.Launcher(nodes[where.node], where.pod_uid).inside(f"qemu-img info -U --output=json {overlay}")
    return str(json.loads(said)["backing-filename-format"])


@pytest.mark.case("BLK-010")
@pytest.mark.demand(vcpus=2, memory_mib=900, nodes=2, boots=2, seconds=60)
def test_a_tag_that_means_something_else_by_now_does_no_harm(
    space: Space, cluster: Cluster, nodes: Nodes
) -> None:
    """
    Preconditions: a guest with a containerDisk by a tag, which names another image of the same size after the start.
    Steps: migrate; read the disk; boot another guest by the tag.
    Expected: the target's pod runs the image of the source's, by its digest; the guest reads what it was; the new one
        has the other content.
    """
    contents = [_bytes(seed, MIB) for seed in (10, 11)]
    pushed = [images.push(cluster, {"disk/disk.img": content}) for content in contents]
    tag = space.name[-20:].strip("-")
    first = images.tag(cluster, pushed[0], tag)
    _, shell = space.boot(build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", _image(first)))
    read = f"{DROP}sha256sum < /dev/vda"
    known = hashlib.sha256(contents[0]).hexdigest()
    assert shell.succeed(read).split()[0] == known
    assert images.tag(cluster, pushed[1], tag) == first
    before = moves.home(space, nodes, "vm")
    source = space.rest.get(core_path("pods", space.name, before.pod)).ok()
    (runs,) = [entry["imageID"] for entry in source["status"]["containerStatuses"] if entry["name"] == "volumedata"]
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    target = space.rest.get(core_path("pods", space.name, after.pod)).ok()
    (asked,) = [one["image"] for one in target["spec"]["containers"] if one["name"] == "volumedata"]
    assert asked.partition("@")[2] == runs.rpartition("@")[2] != "", (asked, runs)
    assert space.shell("vm").succeed(read).split()[0] == known
    _, other = space.boot(build.with_disk(
        build.kernel_boot_vmi(cluster, "new"), "data", _image(first, imagePullPolicy="Always")))
    assert other.succeed(read).split()[0] == hashlib.sha256(contents[1]).hexdigest()


@pytest.mark.needs("two-nodes", "shared")
@pytest.mark.case("BLK-007")
def test_what_is_only_read_keeps_nobody_from_sharing(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a shared claim, a CD-ROM from a containerDisk that is mounted, a read-only disk from a
        configMap.
    Steps: migrate.
    Expected: LiveMigration; it moved; all three have the same content, the CD-ROM is mounted and read, a write to the
        read-only disk fails.
    """
    claim = build.pvc("data", storage_class="shared", mode="ReadWriteMany")
    space.rest.post(core_path("persistentvolumeclaims", space.name), claim).ok()
    settings = {"metadata": {"name": "settings"}, "data": {"word": secrets.token_hex(16)}}
    space.rest.post(core_path("configmaps", space.name), settings).ok()
    file = secrets.token_bytes(9999)
    disc = images.push(cluster, {"disk/disk.iso": images.iso("content", file)})
    manifest = build.with_disk(
        build.kernel_boot_vmi(cluster, "vm"), "data", {"persistentVolumeClaim": {"claimName": "data"}})
    manifest = build.with_disk(manifest, "disc", _image(disc), cdrom={"bus": "sata"})
    manifest = build.with_disk(
        manifest, "settings", {"configMap": {"name": "settings"}}, disk={"bus": "virtio", "readonly": True})
    _, shell = space.boot(manifest)
    space.wait_vmi("vm", lambda vmi: vmi["status"].get("migrationMethod") == "LiveMigration", "nothing is copied")
    shell.succeed("dd if=/dev/urandom of=/dev/vda bs=1M count=4 conv=fsync 2>/dev/null")
    shell.succeed("mkdir -p /tmp/settings /tmp/disc && mount -t iso9660 -o ro /dev/vdb /tmp/settings")
    shell.succeed("mount -t iso9660 -o ro /dev/sr0 /tmp/disc")
    look = (f"{DROP}for d in vda vdb sr0; do sha256sum < /dev/$d; done; sha256sum < /tmp/disc/content; "
            "cat /tmp/settings/word; echo; cat /sys/block/vdb/ro")
    known = shell.succeed(look)
    assert hashlib.sha256(file).hexdigest() in known, known
    assert known.splitlines()[-2:] == [settings["data"]["word"], "1"], known
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    told = moves.state(space.vmi("vm"))
    assert sorted(told["targetDirectMigrationNodePorts"].values()) == [0, 49152], told
    shell = space.shell("vm")
    assert shell.succeed(look) == known
    assert shell.run("dd if=/dev/zero of=/dev/vdb bs=2048 count=1 conv=fsync 2>&1").code != 0
