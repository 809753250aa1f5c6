"""Disks of images under guests that move: what is only read comes from the image again, and from the very same one."""

import re
import secrets

import pytest

from functests.libs import build, images, launcher, moves, qcow2
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)]
MIB = 1 << 20
DROP = "echo 3 > /proc/sys/vm/drop_caches; "


@pytest.mark.needs("two-nodes", "shared")
@pytest.mark.case("BLK-007")
def test_what_is_only_read_is_not_copied(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a shared claim, a CD-ROM from an image, mounted, and a read-only disk of a config map.
    Steps: migrate.
    Expected: LiveMigration, without a port for disks; the CD-ROM stays mounted and readable; all contents are the same;
        the disk of the config map still cannot be written to.
    """
    claim = build.pvc("shared", storage_class="shared", mode="ReadWriteMany")
    space.rest.post(core_path("persistentvolumeclaims", space.name), claim).ok()
    space.rest.post(
        core_path("configmaps", space.name), {"metadata": {"name": "config"}, "data": {"key": "value"}}).ok()
    image = images.push(cluster, {"disk/some.iso": images.iso("content", secrets.token_bytes(9999))})
    manifest = build.kernel_boot_vmi(cluster, "vm")
    manifest = build.with_disk(manifest, "shared", {"persistentVolumeClaim": {"claimName": "shared"}})
    manifest = build.with_disk(manifest, "config", {"configMap": {"name": "config"}},
                               disk={"bus": "virtio", "readonly": True})
    manifest = build.with_disk(manifest, "iso", {"containerDisk": {"image": image}}, cdrom={"bus": "sata"})
    _, shell = space.boot(manifest)
    shell.succeed("dd if=/dev/urandom of=/dev/vda bs=1M count=4 conv=fsync 2>/dev/null", within_s=60)
    shell.succeed("mkdir -p /tmp/iso && mount -t iso9660 -o ro /dev/sr0 /tmp/iso")
    look = f"{DROP}sha256sum /dev/vda /dev/vdb /dev/sr0 /tmp/iso/content"
    known = shell.succeed(look, within_s=60)
    before = moves.home(space, nodes, "vm")
    assert space.vmi("vm")["status"]["migrationMethod"] == "LiveMigration"
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    assert sorted(moves.state(space.vmi("vm"))["targetDirectMigrationNodePorts"].values()) == [0, 49152]
    shell = space.shell("vm")
    assert shell.succeed(look, within_s=60) == known
    assert shell.succeed("cat /sys/block/vdb/ro") == "1"
    assert shell.run("dd if=/dev/zero of=/dev/vdb bs=512 count=1 conv=fsync 2>&1").code != 0


@pytest.mark.case("BLK-009")
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_the_overlay_knows_the_format_of_its_image(space: Space, cluster: Cluster, nodes: Nodes, kind: str) -> None:
    """
    Preconditions: a guest with a disk of an image that holds a raw file, or a qcow2 file.
    Steps: write in the middle of it; migrate.
    Expected: the image's format is that of the overlay's backing file on both nodes; the guest reads what it had.
    """
    raw = secrets.token_bytes(4 * MIB)
    image = images.push(cluster, {"disk/disk": raw if kind == "raw" else qcow2.compressed(raw)})
    _, shell = space.boot(build.with_disk(
        build.kernel_boot_vmi(cluster, "vm"), "data", {"containerDisk": {"image": image}}))
    shell.succeed("dd if=/dev/urandom of=/dev/vda bs=64k seek=20 count=8 conv=notrunc,fsync 2>/dev/null", within_s=60)
    known = shell.succeed(f"{DROP}sha256sum /dev/vda", within_s=60)
    before = moves.home(space, nodes, "vm")
    assert _backing(nodes, before) == kind
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    assert _backing(nodes, after) == kind
    assert space.shell("vm").succeed(f"{DROP}sha256sum /dev/vda", within_s=60) == known


def _backing(nodes: Nodes, home: moves.Home) -> str:
    """The format of what the one disk's overlay stands on, as libvirt has opened it."""
    xml = launcher.Launcher(nodes[home.node], home.pod_uid).virsh("dumpxml")
    found = re.findall(r"<backingStore type='file'[^>]*>\s*<format type='(\w+)'/>", xml)
    assert len(found) == 1, xml
    return str(found[0])


@pytest.mark.case("BLK-010")
@pytest.mark.demand(vcpus=2, memory_mib=700, nodes=2, boots=2, seconds=60)
def test_a_tag_that_has_moved_does_not_change_a_guests_disk(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a disk of an image's tag, 1 MiB of it written over.
    Steps: give that tag to another image; migrate; boot another guest from the tag.
    Expected: the target's pod names the image by its digest; the guest's disk is the same, also where it was never
        written to; the new guest has the new image.
    """
    tag, first, second = f"moved-{secrets.token_hex(6)}", secrets.token_bytes(4 * MIB), secrets.token_bytes(4 * MIB)
    image = images.push(cluster, {"disk/disk": first}, tag=tag)
    source = {"containerDisk": {"image": image, "imagePullPolicy": "Always"}}
    _, shell = space.boot(build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", source))
    shell.succeed("dd if=/dev/urandom of=/dev/vda bs=1M count=1 conv=notrunc,fsync 2>/dev/null", within_s=60)
    known = shell.succeed(f"{DROP}sha256sum /dev/vda", within_s=60)
    tail = "dd if=/dev/vda bs=1M skip=1 2>/dev/null | sha256sum"
    untouched = shell.succeed(tail)
    before = moves.home(space, nodes, "vm")
    assert images.push(cluster, {"disk/disk": second}, tag=tag) == image
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    pod = space.rest.get(core_path("pods", space.name, after.pod)).ok()
    asked = next(each["image"] for each in pod["spec"]["containers"] if each["name"] == "volumedata")
    assert "@sha256:" in asked, asked
    assert space.shell("vm").succeed(f"{DROP}sha256sum /dev/vda", within_s=60) == known
    _, other = space.boot(build.with_disk(build.kernel_boot_vmi(cluster, "other"), "data", source))
    assert other.succeed(tail) != untouched
