"""Container disks: which files of an image reach the guest, and which are refused."""

import hashlib
import secrets

import pytest

from functests.libs import build, images, patience, qcow2
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.images import Entry, Folder, Link, Pipe
from functests.libs.kube import Object, Space, condition, phases

MIB = 1 << 20
AT_ONCE = 2                     # guests of the tests with faulty images


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.case("STO-002")
@pytest.mark.case("STO-007")
@pytest.mark.case("STO-037")
def test_images_reach_the_guest_byte_for_byte(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: images with a compressed qcow2 file in /disk, a raw file at /custom-disk/downloaded, an ISO in /disk.
    Steps: boot a VM with them as virtio disks and as a SATA CD-ROM; write to the CD-ROM; take its disk and volume out
        of the VM's template.
    Expected: each whole device is its source; the ISO mounts, its file is the same, a write fails; the guest keeps its
        CD-ROM, the VM says RestartRequired and nothing fails over and over.
    """
    packed, plain = secrets.token_bytes(2 * MIB) + bytes(2 * MIB), secrets.token_bytes(MIB)
    file = secrets.token_bytes(9999)
    sources: dict[str, tuple[dict[str, Entry], Manifest, Manifest]] = {
        "packed": ({"disk/disk.qcow2": qcow2.compressed(packed)}, {}, {}),
        "plain": ({"custom-disk/downloaded": plain}, {"path": "/custom-disk/downloaded"}, {}),
        "iso": ({"disk/some.iso": images.iso("content", file)}, {}, {"cdrom": {"bus": "sata"}}),
    }
    manifest = build.kernel_boot_vmi(cluster, "vm")
    for name, (entries, source, disk) in sources.items():
        image = {"containerDisk": {"image": images.push(cluster, entries), **source}}
        manifest = build.with_disk(manifest, name, image, **disk)
    vmi, shell = space.boot(build.vm_of(manifest))
    for device, content in (("vda", packed), ("vdb", plain)):
        assert shell.succeed(f"sha256sum < /dev/{device}").split()[0] == _sha(content), device
    assert shell.succeed("cat /sys/block/sr0/ro") == "1"
    shell.succeed("mkdir -p /tmp/iso && mount -t iso9660 -o ro /dev/sr0 /tmp/iso")
    assert shell.succeed("sha256sum < /tmp/iso/content").split()[0] == _sha(file)
    assert shell.run("umount /tmp/iso; dd if=/dev/zero of=/dev/sr0 bs=2048 count=1 conv=fsync 2>&1").code != 0

    spec = space.vm("vm")["spec"]["template"]["spec"]
    disks = [disk for disk in spec["domain"]["devices"]["disks"] if disk["name"] != "iso"]
    kept = {
        "volumes": [volume for volume in spec["volumes"] if volume["name"] != "iso"],
        "domain": {"devices": {"disks": disks}},
    }
    space.patch_vm("vm", {"spec": {"template": {"spec": kept}}}).ok()
    vm = space.wait_vm(
        "vm", lambda seen: condition(seen, "RestartRequired").get("status") == "True", "needs a restart")
    assert not condition(vm, "Failure"), vm["status"]["conditions"]
    before = len(space.events("vm"))
    patience.quiet(
        "the VM fails, again and again",
        lambda: (len(space.events("vm")) - before, condition(space.vm("vm"), "Failure")),
        lambda seen: seen[0] > 1 or bool(seen[1]), for_s=10,
    )  # fmt: skip
    shell.succeed("mount -t iso9660 -o ro /dev/sr0 /tmp/iso")
    assert shell.succeed("sha256sum < /tmp/iso/content").split()[0] == _sha(file)
    assert space.vmi("vm")["metadata"]["uid"] == vmi["metadata"]["uid"]


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("STO-004")
def test_paths_that_lead_out_of_the_image_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with containerDisk paths "/", with "..", without a leading "/", with "//".
    Expected: 422 at the volume's containerDisk, with a text that says why; nothing is stored.
    """
    absolute = "must be an absolute path to a file without relative components"
    wrong = []
    for path, text in (
        ("/", "must not point to root"), ("/disk/../../etc/passwd", absolute), ("disk/a.img", absolute),
        ("//disk/a.img", absolute),
    ):  # fmt: skip
        volume = {"name": "root", "containerDisk": {"image": cluster.image("tiny"), "path": path}}
        answer = space.try_create(build.merged(build.disk_boot_vmi(cluster, "vm"), {"spec": {"volumes": [volume]}}))
        fields = [(cause.get("field"), text in str(cause.get("message"))) for cause in answer.causes]
        if (answer.code, fields) != (422, [("spec.volumes[0].containerDisk", True)]):
            wrong.append(f"{path}: {answer.code} {answer.text[:300]}")
    assert not wrong, "\n".join(wrong)
    assert space.get_vmi("vm") is None


def _synchronized(vmi: Object) -> str:
    found = condition(vmi, "Synchronized")
    return str(found.get("message", "")) if found.get("status") == "False" else ""


def _misses(space: Space, cluster: Cluster, faults: dict[str, tuple[dict[str, Entry], str]]) -> list[str]:
    """Each image as a second disk of a VMI of its own; what is told of those that run, or do not say their text and the
    volume's name. No more at a time than the tests declare: the rest of the nodes' processors is their neighbours'."""
    names = list(faults)
    return [miss for first in range(0, len(names), AT_ONCE)
            for miss in _missed(space, cluster, {name: faults[name] for name in names[first:first + AT_ONCE]})]


def _missed(space: Space, cluster: Cluster, faults: dict[str, tuple[dict[str, Entry], str]]) -> list[str]:
    for name, (entries, _) in faults.items():
        image = {"containerDisk": {"image": images.push(cluster, entries)}}
        manifest = build.with_disk(build.kernel_boot_vmi(cluster, name, memory="64Mi"), "odd", image)
        assert space.try_create(manifest).code == 201
    wrong = []
    for name, (_, text) in faults.items():
        within_s = 60 + patience.boots(2)
        said = _synchronized(
            space.wait_vmi(name, lambda seen: bool(_synchronized(seen)), "says what is wrong", within_s=within_s))
        if text not in said or "volume odd" not in said:
            wrong.append(f"{name}: {said!r}")
        patience.eventually(            # events are written behind the state that they tell of
            f"{name} has the event", lambda name=name: space.reasons(name),  # type: ignore[misc]
            lambda reasons: "SyncFailed" in reasons,
        )  # fmt: skip
    for name in faults:
        if "Running" in phases(space.vmi(name)):
            wrong.append(f"{name} ran: {phases(space.vmi(name))}")
        space.delete_vmi(name).ok()
    for name in faults:
        space.wait_vmi_gone(name, within_s=patience.promised(60))
    return wrong


@pytest.mark.demand(vcpus=AT_ONCE, memory_mib=700, boots=AT_ONCE, seconds=90)
@pytest.mark.case("STO-003")
@pytest.mark.case("SEC-018")
def test_faulty_images_are_named_and_never_run(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: images with an empty /disk, two files, a qcow2 file with a backing file (by path, by json:), one with
        an external data file, a VMDK file.
    Steps: create a VMI with each as its second disk; delete them.
    Expected: none ever runs; condition Synchronized and event SyncFailed name the volume and what is wrong; all go.
    """
    backing = "expected no backing file, but found"
    misses = _misses(space, cluster, {
        "empty": ({"disk": Folder()}, "no file found in folder"),
        "two": ({"disk/a.img": b"a" * 512, "disk/b.img": b"b" * 512}, "more than one file found in folder"),
        "backing": ({"disk/a.qcow2": qcow2.head(backing="/etc/shadow")}, backing),
        "json": ({"disk/a.qcow2": qcow2.head(backing='json:{"driver":"nbd","host":"10.0.0.1"}')}, backing),
        "data": ({"disk/a.qcow2": qcow2.head(data_file=True)}, "expected no external data file"),
        "vmdk": ({"disk/a.vmdk": b"KDMV".ljust(65536, b"\0")}, "unsupported image format: vmdk"),
    })  # fmt: skip
    assert not misses, "\n".join(misses)


@pytest.mark.demand(vcpus=AT_ONCE, memory_mib=700, boots=AT_ONCE, seconds=90)
@pytest.mark.case("STO-005")
@pytest.mark.case("SEC-017")
def test_images_without_a_plain_file_never_run(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: images where /disk or the file in it is a link out of the image, where the file is a folder or a
        pipe.
    Steps: create a VMI with each as its second disk; delete them.
    Expected: none ever runs or hangs; each condition names the volume and what is in the file's place; all go.
    """
    link = "symbolic link"
    misses = _misses(space, cluster, {
        "folder-link": ({"disk": Link("/etc")}, "is not a folder"),
        "file-link": ({"disk/a.img": Link("/etc/passwd")}, link),
        "environ": ({"disk/a.img": Link("/proc/1/environ")}, link),
        "folder": ({"disk/disk.img": Folder()}, "is not a regular file"),
        "pipe": ({"disk/a.img": Pipe()}, "is not a regular file"),
    })  # fmt: skip
    assert not misses, "\n".join(misses)
