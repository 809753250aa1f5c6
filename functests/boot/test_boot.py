"""Boot forms and machine settings, proved from inside the guest."""

import re
import secrets
import uuid
from typing import Any

import pytest

from functests.libs import build, hardware, launcher, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes


@pytest.mark.demand(boots=2)
@pytest.mark.case("BOOT-001")
def test_a_disk_without_settings_boots_from_sata(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: boot a containerDisk whose disk entry has no target and no bus.
    Expected: the stored bus is sata; the guest's disk is sda behind ahci; BIOS, not EFI.
    """
    space.create(build.disk_boot_vmi(cluster, "vm", bus=None))
    disk = space.vmi("vm")["spec"]["domain"]["devices"]["disks"][0]
    assert disk["disk"]["bus"] == "sata", disk

    space.wait_running("vm")
    shell = space.shell("vm", boots=2)
    assert "/ata" in shell.succeed("readlink -f /sys/block/sda"), shell.run("ls -l /sys/block").out
    assert shell.run("test -e /sys/firmware/efi").code == 1
    assert shell.succeed("cat /sys/class/dmi/id/bios_vendor") == "SeaBIOS"


@pytest.mark.case("BOOT-002")
def test_kernel_boot_carries_its_arguments(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: none.
    Steps: boot kernel and initrd from a container with a nonce in kernelArgs and no disk; delete it.
    Expected: the guest's command line is kernelArgs to the byte, its kernel that of the image; it has no disk; no mount
    of its pod stays on the node.
    """
    manifest = build.kernel_boot_vmi(cluster, "vm", kernel_args=f"nonce={secrets.token_hex(8)} quiet")
    wanted = manifest["spec"]["domain"]["firmware"]["kernelBoot"]["kernelArgs"]
    vmi, shell = space.boot(manifest)
    assert shell.succeed("cat /proc/cmdline") == wanted
    release, is_own = shell.succeed("uname -r"), cluster.images["tiny-kernel"].get("kernel") == "own"
    assert release.endswith("-tiny") == is_own, release
    assert shell.succeed("grep -c '[sv]da' /proc/partitions || true") == "0"

    node = nodes[vmi["status"]["nodeName"]]
    mounts = f"grep -c {space.pod(vmi)['metadata']['uid']} /proc/mounts || true"
    space.delete_vmi("vm").ok()
    space.wait_vmi_gone("vm")
    patience.eventually("no mount of the pod is left", lambda: node.run(mounts).strip(), lambda count: count == "0")
    assert node.run(mounts).strip() == "0"


@pytest.mark.serial
@pytest.mark.demand(boots=2, seconds=70)
@pytest.mark.case("BOOT-027")
def test_kernel_and_initrd_are_given_back_until_the_next_boot(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest that booted a kernel, and no other one on the cluster that shares its files.
    Steps: wait; reset it; wait again.
    Expected: QEMU holds no page of kernel and initrd any more; the reset boots from the same files; they are given back
        again.
    """
    image = cluster.images["tiny-kernel"]
    files = [str(image["kernel_path"]), str(image["initrd_path"])]
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    pod, before = launcher.of(space, vmi, nodes), hardware.boot_id(shell)

    def held_kib() -> dict[str, int]:
        return {file: pod.mapped_kib(file) for file in files}

    def given_back(boot: str) -> None:
        # The node looks every 15 s, first after 30 s, and what the image's unpacking still has to write cannot go yet.
        patience.eventually(
            f"the files of the {boot} boot are given back", held_kib, lambda held: not any(held.values()),
            within_s=patience.promised(60),
        )

    qemu = pod.qemu.pid
    given_back("first")
    since = shell.position
    space.act_on_vmi("vm", "reset").ok()
    shell.wait_for("tiny: ready", within_s=patience.boots(2), since=since)
    shell.login(within_s=patience.boots(1))
    after = hardware.boot_id(shell)
    assert after != before, f"boot {after} is the one of before the reset"
    given_back("second")
    assert pod.qemu.pid == qemu


def _fault(path: str, value: Any) -> Manifest:
    """A merge patch that sets ``path`` (dots) below spec.domain."""
    for part in reversed(path.split(".")):
        value = {part: value}
    return {"spec": {"domain": value}}


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("BOOT-006")
def test_impossible_machines_are_refused_at_their_field(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with one fault at a time.
    Expected: 422, reason Invalid, a cause at the fault's own field, nothing stored.
    """
    control = build.disk_boot_vmi(cluster, "vm")
    kernel = build.kernel_boot_vmi(cluster, "vm")
    assert space.try_create(control, dry_run=True).code == 201
    assert space.try_create(kernel, dry_run=True).code == 201
    domain = "spec.domain"
    boot = f"{domain}.firmware.kernelBoot"
    disk = {"name": "root"}
    container = kernel["spec"]["domain"]["firmware"]["kernelBoot"]["container"]
    nic = {"name": "default", "masquerade": {}}
    faults: list[tuple[str, Manifest, Manifest]] = [
        (f"{domain}.firmware.bootloader", control, _fault("firmware.bootloader", {"efi": {}, "bios": {}})),
        (domain, control, _fault("firmware.bootloader", {"efi": {}})),
        (boot, kernel, _fault("firmware.kernelBoot.container", None)),
        (f"{boot}.container", kernel, _fault("firmware.kernelBoot.container", {"image": ""})),
        (
            f"{boot}.container",
            kernel,
            _fault("firmware.kernelBoot.container", {"kernelPath": None, "initrdPath": None}),
        ),
        (f"{boot}.container", kernel, _fault("firmware.kernelBoot.container.kernelPath", "boot/vmlinuz")),
        (
            f"{domain}.devices.disks[0].bootOrder",
            control,
            _fault("devices.disks", [{**disk, "disk": {"bus": "virtio"}, "bootOrder": 0}]),
        ),
        (
            f"{domain}.devices.interfaces[0].bootOrder",
            build.merged(control, _fault("devices.disks", [{**disk, "disk": {"bus": "virtio"}, "bootOrder": 1}])),
            _fault("devices.interfaces", [{**nic, "bootOrder": 1}]),
        ),
        (f"{domain}.machine.type", control, _fault("machine.type", "pc-i440fx")),
        (
            f"{domain}.cpu.features[0].policy",
            control,
            _fault("cpu.features", [{"name": "sse4.2", "policy": "maybe"}]),
        ),
        (
            f"{domain}.devices.inputs[0].type",
            control,
            _fault("devices.inputs", [{"name": "in", "type": "mouse", "bus": "usb"}]),
        ),
        (
            f"{domain}.devices.inputs[0].bus",
            control,
            _fault("devices.inputs", [{"name": "in", "type": "tablet", "bus": "ps2"}]),
        ),
        (
            f"{domain}.devices.disks[0].cdrom.bus",
            control,
            _fault("devices.disks", [{**disk, "cdrom": {"bus": "virtio"}}]),
        ),
        (
            f"{domain}.devices.disks[0].disk.bus",
            control,
            _fault("devices.disks", [{**disk, "disk": {"bus": "sata", "readonly": True}}]),
        ),
        (
            f"{domain}.devices.disks[0].cache",
            control,
            _fault("devices.disks", [{**disk, "disk": {"bus": "virtio"}, "cache": "fast"}]),
        ),
    ]
    assert container
    wrong = []
    for field, base, fault in faults:
        answer = space.try_create(build.merged(base, fault))
        fields = [cause.get("field") for cause in answer.causes]
        if answer.code != 422 or not any(str(seen).startswith(field) for seen in fields):
            wrong.append(f"{field}: got {answer.code} at {fields}: {answer.message[:300]}")
        if space.get_vmi("vm") is not None:
            wrong.append(f"{field}: the VMI was stored")
            space.delete_vmi("vm")
            space.wait_vmi_gone("vm")
    assert not wrong, "\n".join(wrong)


@pytest.mark.demand(vcpus=2)
@pytest.mark.case("BOOT-017")
@pytest.mark.parametrize(
    ("topology", "physical_ids", "siblings"),
    [({"sockets": 2, "cores": 1}, 2, 1), ({"sockets": 1, "cores": 1, "threads": 2}, 1, 2)],
    ids=["two-sockets", "two-threads"],
)
def test_cpu_topology_reaches_the_guest(
    space: Space, cluster: Cluster, topology: dict[str, int], physical_ids: int, siblings: int
) -> None:
    """
    Preconditions: none.
    Steps: boot with two vCPUs in two shapes.
    Expected: /proc/cpuinfo and status.currentCPUTopology show that shape.
    """
    manifest = build.merged(build.kernel_boot_vmi(cluster, "vm"), _fault("cpu", topology))
    _, shell = space.boot(manifest)
    cpuinfo = shell.succeed("cat /proc/cpuinfo")
    assert len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)) == 2
    assert len(set(re.findall(r"^physical id\s*: (\d+)", cpuinfo, re.MULTILINE))) == physical_ids, cpuinfo
    assert set(re.findall(r"^siblings\s*: (\d+)", cpuinfo, re.MULTILINE)) == {str(siblings)}, cpuinfo
    assert space.vmi("vm")["status"]["currentCPUTopology"] == {"sockets": 1, "cores": 1, "threads": 1, **topology}


@pytest.mark.case("BOOT-024")
def test_guest_memory_is_what_was_asked(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: boot with memory.guest 160Mi and a request of 96Mi.
    Expected: the guest's System RAM is 160 MiB within 2; status.memory says 160Mi three times.
    """
    manifest = build.merged(
        build.kernel_boot_vmi(cluster, "vm", memory="160Mi"), _fault("resources", {"requests": {"memory": "96Mi"}})
    )
    _, shell = space.boot(manifest)
    ranges = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM", shell.succeed("cat /proc/iomem"), re.MULTILINE)
    mebibytes = sum(int(end, 16) - int(start, 16) + 1 for start, end in ranges) / 2**20
    assert abs(mebibytes - 160) <= 2, ranges
    memory = space.vmi("vm")["status"]["memory"]
    assert {memory[key] for key in ("guestAtBoot", "guestCurrent", "guestRequested")} == {"160Mi"}, memory


@pytest.mark.demand(boots=2)
@pytest.mark.case("BOOT-031")
def test_firmware_identity_survives_a_restart(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: boot a VM with firmware uuid and serial; restart it.
    Expected: the guest's DMI shows both, before and after.
    """
    identity = {"uuid": str(uuid.uuid4()), "serial": secrets.token_hex(6)}
    vmi, shell = space.boot(
        build.vm_of(build.merged(build.kernel_boot_vmi(cluster, "vm"), _fault("firmware", identity)))
    )

    def dmi() -> dict[str, str]:
        return {
            "uuid": shell.succeed("cat /sys/class/dmi/id/product_uuid").lower(),
            "serial": shell.succeed("cat /sys/class/dmi/id/product_serial"),
        }

    assert dmi() == identity
    assert space.act_on_vm("vm", "restart").code == 202
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(2))
    shell = space.shell("vm")
    assert dmi() == identity
