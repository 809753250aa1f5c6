"""What a guest is started by: EFI, BIOS on the serial port, boot order, and kernels that are not there."""

import re
import secrets

import pytest

from functests.libs import build, claims, hardware, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Object, Space, condition, phases
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path

# A variable of nobody, and the global ones (UEFI 2.10, 3.3).
OWN_GUID, GLOBAL_GUID = "6e1b1a52-7c3f-4d0e-9a55-0d6c6b1f7a10", "8be4df61-93ca-11d2-aa0d-00e098032b8c"
VARIABLES = "/sys/firmware/efi/efivars"
KEPT = r"\007\000\000\000"              # non-volatile, for boot and runtime
BOCHS, DISPLAY_NOT_VGA = "1234:1111", "0380"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
GONE_WITHIN_S = 30


def _restart(space: Space, uid: str) -> tuple[Object, Console]:
    """Restart the VM ``vm`` by the API; its new VMI and a shell on it."""
    assert space.act_on_vm("vm", "restart").code == 202
    vmi = space.wait_running("vm", not_uid=uid, within_s=patience.boots(2))
    return vmi, _shell(space, vmi)


def _shell(space: Space, vmi: Object) -> Console:
    """When the guest is up: firmware would take what is typed at it for a wish to see its menus."""
    patience.eventually(
        "the guest is up", lambda: _serial_log(space, vmi), lambda text: "tiny: ready" in text,
        within_s=patience.boots(4), every_s=1,
    )  # fmt: skip
    return space.shell(vmi["metadata"]["name"])


@pytest.mark.demand(boots=5, memory_mib=640)
@pytest.mark.case("BOOT-003")
def test_efi_keeps_variables_as_long_as_the_vmi(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM with EFI, without secure boot; the firmware starts the kernel.
    Steps: look at the firmware in the guest; write a variable; reboot the guest; restart the VM.
    Expected: EFI without secure boot; the display is bochs; the variable survives the reboot, not the restart.
    """
    # With less the firmware has no place left for the initrd.
    vmi = build.kernel_boot_vmi(cluster, "vm", memory="320Mi")
    firmware = {
        "bootloader": {"efi": {"secureBoot": False}},
        "kernelBoot": {"container": {"kernelPath": cluster.images["tiny-kernel"]["packed_kernel_path"]}},
    }
    space.create(build.vm_of(build.merged(vmi, {"spec": {"domain": {"firmware": firmware}}})))
    running = space.wait_running("vm", within_s=patience.boots(2))
    shell = _shell(space, running)

    name = f"{VARIABLES}/Probe-{OWN_GUID}"
    nonce = secrets.token_hex(8)
    mount = f"mount -t efivarfs none {VARIABLES}"
    shell.succeed(mount)
    secure = shell.run(f"tail -c 1 {VARIABLES}/SecureBoot-{GLOBAL_GUID} 2>/dev/null | od -An -tu1").out.strip()
    displays = [pci.kind[:4] for pci in hardware.pci_devices(shell) if pci.id == BOCHS]
    shell.succeed(f"printf '{KEPT}{nonce}' > {name}")
    read = f"tail -c +5 {name}"
    found: list[claims.Claim] = [
        ("EFI in the guest", shell.run("test -d /sys/firmware/efi").code, 0),
        ("secure boot", secure in ("", "0"), True),
        ("classes of bochs displays", displays, [DISPLAY_NOT_VGA]),
        ("the variable", shell.succeed(read), nonce),
    ]
    assert claims.wrong(found) == ""

    since, before = shell.position, hardware.boot_id(shell)
    shell.send("sync; reboot -f\n")
    shell.wait_for("tiny: ready", within_s=patience.boots(3), since=since)
    shell.login(within_s=patience.boots(1))
    assert hardware.boot_id(shell) != before
    assert shell.succeed(f"{mount} && {read}") == nonce

    _, shell = _restart(space, running["metadata"]["uid"])
    assert int(shell.succeed(f"{mount} && ls {VARIABLES} | wc -l")) > 5, "the guest sees no EFI variables"
    assert shell.run(f"test -e {name}").code == 1, "the variable survived the restart of the VM"


@pytest.mark.demand(vcpus=1, memory_mib=0, boots=0)
@pytest.mark.case("BOOT-007")
def test_a_missing_kernel_is_named_and_leaves_nothing(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: none.
    Steps: start a VMI whose kernelBoot image lacks the kernel's path; delete it.
    Expected: it never runs; Synchronized is False with the path in its message; 30 s later VMI, pod and mounts are
        gone.
    """
    path = f"/boot/vmlinuz-{secrets.token_hex(4)}"
    container = {"firmware": {"kernelBoot": {"container": {"kernelPath": path}}}}
    space.create(build.merged(build.kernel_boot_vmi(cluster, "vm"), {"spec": {"domain": container}}))
    vmi = space.wait_vmi(
        "vm", lambda seen: path in condition(seen, "Synchronized").get("message", ""), f"a condition names {path}",
        within_s=patience.boots(2),
    )  # fmt: skip
    assert condition(vmi, "Synchronized")["status"] == "False", condition(vmi, "Synchronized")
    assert "Running" not in phases(vmi), phases(vmi)
    pod = space.pods(vmi)[0]
    node = nodes[pod["spec"]["nodeName"]]

    space.delete_vmi("vm").ok()
    space.wait_vmi_gone("vm", within_s=patience.promised(GONE_WITHIN_S))
    mounts = f"grep -c {pod['metadata']['uid']} /proc/mounts || true"
    left = patience.eventually(
        "no pod and no mount is left", lambda: (len(space.pods(vmi)), node.run(mounts).strip()),
        lambda seen: seen == (0, "0"), within_s=patience.promised(GONE_WITHIN_S),
    )  # fmt: skip
    assert left == (0, "0")


def _ordered(vm: Manifest, *orders: int) -> Manifest:
    """A patch of the VM that gives its disks these boot orders."""
    disks = vm["spec"]["template"]["spec"]["domain"]["devices"]["disks"]
    changed = [{**disk, "bootOrder": order} for disk, order in zip(disks, orders, strict=True)]
    return {"spec": {"template": {"spec": {"domain": {"devices": {"disks": changed}}}}}}


@pytest.mark.demand(boots=2)
@pytest.mark.case("BOOT-008")
def test_disks_boot_in_their_order(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM whose first disk is blank and of order 2; its second one can be booted and is of order 1.
    Steps: boot; copy the second disk to the blank one, with another word on its kernel's command line; swap the orders
        and restart the VM.
    Expected: first the second disk boots, then the copy.
    """
    space.rest.post(core_path("persistentvolumeclaims", space.name), build.pvc("copy")).ok()
    claim = {"persistentVolumeClaim": {"claimName": "copy"}}
    vmi = build.with_disk(build.disk_boot_vmi(cluster, "vm"), "copy", claim, serial="copy")
    vmi["spec"]["domain"]["devices"]["disks"].reverse()
    vm = build.vm_of(vmi)
    vm = build.merged(vm, _ordered(vm, 2, 1))
    running, shell = space.boot(vm)
    word = f"copied={secrets.token_hex(6)}"
    assert "BOOT_IMAGE" in shell.succeed("cat /proc/cmdline")
    assert shell.succeed("cat /sys/block/vda/serial") == "copy"
    shell.succeed("dd if=/dev/vdb of=/dev/vda bs=1M conv=fsync 2>/dev/null")
    shell.succeed("mount -t vfat /dev/vda /mnt")
    shell.succeed(f"sed -i 's/^append /append {word} /' /mnt/syslinux.cfg && umount /mnt && sync")

    space.patch_vm("vm", _ordered(vm, 1, 2)).ok()
    _, shell = _restart(space, running["metadata"]["uid"])
    assert word in shell.succeed("cat /proc/cmdline").split()


def _serial_log(space: Space, vmi: Object) -> str:
    """What the guest has said on its serial port, without what moves the cursor."""
    path = core_path("pods", space.name, space.pod(vmi)["metadata"]["name"])
    answer = space.rest.get(f"{path}/log?container=guest-console-log")
    return ESCAPES.sub("", answer.text) if answer.code == 200 else ""


@pytest.mark.demand(vcpus=2, memory_mib=700, boots=2)
@pytest.mark.case("BOOT-009")
def test_the_bios_talks_on_the_serial_port(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: start two VMIs without a disk, with the BIOS on the serial port; the network card of one has a boot order.
    Expected: SeaBIOS says that there is nothing to boot; only the other one loads iPXE, which asks DHCP by its MAC.
    """
    nic = {"name": "default", "masquerade": {}}
    for name, card in (("idle", nic), ("network", {**nic, "bootOrder": 1})):
        domain = {
            "firmware": {"kernelBoot": None, "bootloader": {"bios": {"useSerial": True}}},
            "devices": {"interfaces": [card]},
        }
        space.create(build.merged(build.kernel_boot_vmi(cluster, name, memory="64Mi"), {"spec": {"domain": domain}}))
    idle = space.wait_running("idle", within_s=patience.boots(2))
    network = space.wait_running("network", within_s=patience.boots(2))

    said = patience.eventually(
        "nothing to boot", lambda: _serial_log(space, idle), lambda text: "No bootable device" in text,
        within_s=patience.boots(2),
    )  # fmt: skip
    assert "SeaBIOS" in said, said
    assert "iPXE" not in said, said

    network = space.wait_vmi(
        "network", lambda seen: bool(seen["status"].get("interfaces", [{}])[0].get("mac")), "its card has a MAC"
    )
    mac = network["status"]["interfaces"][0]["mac"]
    asks = re.compile(rf"(DHCP|Configuring) \(net0 {mac}\)", re.IGNORECASE)
    said = patience.eventually(
        f"iPXE asks for an address for {mac}", lambda: _serial_log(space, network),
        lambda text: bool(asks.search(text)), within_s=patience.boots(3),
    )  # fmt: skip
    assert 0 <= said.find("iPXE") < asks.search(said).start(), said  # type: ignore[union-attr]
