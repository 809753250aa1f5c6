"""Disks as the guest's own kernel finds them: bus, order, place, serial, caching, queues, what may be written."""

import re
import secrets

import pytest

from functests.libs import build, claims, launcher, patience
from functests.libs.build import Manifest
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Object, Space, condition
from functests.libs.launcher import Launcher
from functests.libs.nodes import Nodes

CACHES = {"none": "write back", "writethrough": "write through", "writeback": "write back"}   # as the guest names them
EMPTY = 12                                     # virtio disks with nothing on them, each of its own size
LETTERS = "abcdefghijkl"
SERIAL = "serial-of-thirty-characters-xy"
BUSES = ("sata", "scsi")
SYNC_FAILED = "Synchronizing with the Domain failed."


def _sizes_mib() -> list[int]:
    return [16 + number for number in range(EMPTY)]


def _full_of_disks(cluster: Cluster) -> Manifest:
    """Twelve empty virtio disks, then an image on virtio (read-only), SATA and SCSI, and a CD-ROM; two vCPUs."""
    vmi = build.kernel_boot_vmi(cluster, "vm")
    for number, size in enumerate(_sizes_mib()):
        more: Manifest = {"cache": list(CACHES)[number]} if number < len(CACHES) else {}
        vmi = build.with_disk(vmi, f"empty{number}", {"emptyDisk": {"capacity": f"{size}Mi"}}, **more)
    image = {"containerDisk": {"image": cluster.image("tiny")}}
    fixed = {"disk": {"bus": "virtio", "readonly": True}, "serial": SERIAL}
    vmi = build.with_disk(vmi, "fixed", image, **fixed)
    for bus in BUSES:
        vmi = build.with_disk(vmi, bus, image, disk={"bus": bus}, serial=SERIAL)
    vmi = build.with_disk(vmi, "seed", {"cloudInitNoCloud": {"userData": "#cloud-config\n"}}, cdrom={})
    devices = {"blockMultiQueue": True}
    return build.merged(vmi, {"spec": {"domain": {"cpu": {"sockets": 2}, "devices": devices}}})


def _order(shell: Console) -> list[str]:
    """Size in MiB and PCI address of the empty disks, vda first."""
    said = shell.succeed(
        f"for l in {' '.join(LETTERS)}; do "
        "echo $(($(cat /sys/block/vd$l/size) / 2048)) "
        "$(readlink -f /sys/block/vd$l | grep -o '[0-9a-f:.]*/virtio'); done"
    )
    return [line.removesuffix("/virtio") for line in said.splitlines()]


def _scsi_names(shell: Console) -> dict[str, str]:
    """Names of the disks on SATA and on SCSI: the kernel numbers them as it finds them."""
    said = shell.succeed("for d in /sys/block/sd*; do echo ${d##*/} $(readlink -f $d); done")
    names = {}
    for line in said.splitlines():
        name, path = line.split()
        names["sata" if "/ata" in path else "scsi" if "/virtio" in path else path] = name
    return names


def _page_serial(shell: Console, name: str) -> str:
    """Serial number by the SCSI page for it (SPC-4, 7.8.15): four bytes, then text."""
    return shell.succeed(f"tail -c +5 /sys/block/{name}/device/vpd_pg80").strip()


def _digest(said: str) -> str:
    return said.split()[0]


def _cached(shell: Console, pod: Launcher) -> list[Claim]:
    """BOOT-014: what guest and node say of the caching of the first disks, and that they keep what is written."""
    found: list[Claim] = []
    files = pod.direct_files()
    for letter, number, (cache, named) in zip(LETTERS, range(EMPTY), CACHES.items(), strict=False):
        disk = f"/dev/vd{letter}"
        seen = shell.succeed(f"cat /sys/block/vd{letter}/queue/write_cache")
        direct = {path: past for path, past in files.items() if path.endswith(f"/empty{number}.qcow2")}
        shell.succeed("dd if=/dev/urandom of=/tmp/data bs=1M count=8 2>/dev/null && sha256sum /tmp/data")
        shell.succeed(f"dd if=/tmp/data of={disk} bs=1M conv=fsync 2>/dev/null; echo 3 > /proc/sys/vm/drop_caches")
        read = shell.succeed(f"dd if={disk} bs=1M count=8 2>/dev/null | cmp - /tmp/data && echo same")
        found += [
            (f"write cache of the guest with {cache}", seen, named),
            (f"QEMU passes the page cache with {cache}", list(direct.values()), [cache == "none"]),
            (f"8 MiB of the disk with {cache}", read, "same"),
        ]
    return found


@pytest.mark.demand(vcpus=2, boots=2, seconds=60)
@pytest.mark.case("BOOT-010")
@pytest.mark.case("BOOT-011")
@pytest.mark.case("BOOT-013")
@pytest.mark.case("BOOT-014")
@pytest.mark.case("BOOT-015")
def test_a_guest_finds_its_disks_as_they_are_listed(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM with twelve empty virtio disks of growing sizes, three of which name a cache mode, one image on
        virtio (read-only), SATA and SCSI with a serial of 30 characters, and a CD-ROM without a bus; two vCPUs and a
        queue for each.
    Steps: look at all of them in the guest; write to the fixed ones; write to the cached ones and read again; restart
        the VM without several queues.
    Expected: virtio disks in the order of the spec, before and after, at the same addresses; bus, content and serial
        (20 characters but on SCSI) of the images; fixed ones refuse writes and their files stay; each cache mode as
        named in guest and QEMU; two queues, then one.
    """
    vm = build.vm_of(_full_of_disks(cluster))
    space.create(vm)
    vmi = space.wait_running("vm", within_s=patience.boots(3))
    shell = space.shell("vm", boots=2)
    pod = launcher.of(space, vmi, nodes)
    image = _image_on_node(pod)
    known = _digest(pod.node.run(f"sha256sum {image}"))
    names = _scsi_names(shell)
    order = _order(shell)
    queues = "ls /sys/block/vda/mq | wc -l"
    found: list[Claim] = [
        ("sizes of vda to vdl", [int(line.split()[0]) for line in order], _sizes_mib()),
        ("buses of sd*", sorted(names), sorted(BUSES)),
        ("serial on virtio", shell.succeed("cat /sys/block/vdm/serial"), SERIAL[:20]),
        ("serial on SATA", _page_serial(shell, names["sata"]), SERIAL[:20]),
        ("serial on SCSI", _page_serial(shell, names["scsi"]), SERIAL),
        ("queues", shell.succeed(queues), "2"),
        ("label of the CD-ROM", 'LABEL="cidata"' in shell.succeed("blkid /dev/sr0"), True),
    ]
    for name in ("vdm", *names.values()):
        seen = _digest(shell.succeed(f"sha256sum /dev/{name}", within_s=patience.promised(30)))
        found.append((f"content of {name}", seen, known))
    seed = pod.path(_seed_of(pod))
    seed_before = _digest(pod.node.run(f"sha256sum {seed}"))
    for name in ("vdm", "sr0"):
        write = f"echo {secrets.token_hex(4)} | dd of=/dev/{name} bs=512 conv=sync,fsync"
        found += [
            (f"ro of {name}", shell.succeed(f"cat /sys/block/{name}/ro"), "1"),
            (f"writing to {name} fails", shell.run(write).code != 0, True),
        ]
    found += _cached(shell, pod)
    found += [
        ("the image on the node", _digest(pod.node.run(f"sha256sum {image}")), known),
        ("the CD-ROM's file on the node", _digest(pod.node.run(f"sha256sum {seed}")), seed_before),
    ]
    assert claims.wrong(found) == ""

    single = {"spec": {"template": {"spec": {"domain": {"devices": {"blockMultiQueue": False}}}}}}
    space.patch_vm("vm", single).ok()
    assert space.act_on_vm("vm", "restart").code == 202
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(3))
    shell = space.shell("vm", boots=2)
    assert _order(shell) == order
    assert shell.succeed(queues) == "1"


def _image_on_node(pod: Launcher) -> str:
    """The image's one file, in the container that passes it to the launcher."""
    processes = pod.node.processes(pod.pod_uid)
    helpers = [process.pid for process in processes if "container-disks/fixed/" in " ".join(process.argv)]
    assert len(helpers) == 1, processes
    (path,) = pod.node.run(f"ls -d /proc/{helpers[0]}/root/disk/*").split()
    return path


def _seed_of(pod: Launcher) -> str:
    """Path of the CD-ROM's file, as QEMU's command line has it."""
    (path,) = set(re.findall(r'"filename":"([^"]*\.iso)"', " ".join(pod.qemu.argv)))
    return str(path).removeprefix("/var")


@pytest.mark.demand(vcpus=1, memory_mib=300, boots=0)
@pytest.mark.case("BOOT-012")
def test_an_address_that_cannot_be_is_told(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: start a VMI with a disk at the second slot of a root port, which has one; delete it.
    Expected: Synchronized False, "Synchronizing with the Domain failed.", with the address; it can be deleted.
    """
    address = "0000:04:10.0"
    manifest = build.with_disk(
        build.kernel_boot_vmi(cluster, "vm"), "data", {"emptyDisk": {"capacity": "16Mi"}},
        disk={"bus": "virtio", "pciAddress": address},
    )  # fmt: skip
    space.create(manifest)

    def told(vmi: Object) -> bool:
        return condition(vmi, "Synchronized").get("status") == "False"

    vmi = space.wait_vmi("vm", told, "it is not synchronized", within_s=patience.boots(2))
    seen = condition(vmi, "Synchronized")
    assert (seen["reason"], address in seen["message"]) == (SYNC_FAILED, True), seen
    space.delete_vmi("vm").ok()
    space.wait_vmi_gone("vm", within_s=patience.boots(1))
