"""What admission fills in, warns about, and decides whoever asks."""

import json
from typing import Any

import pytest

from functests.libs import build, refusal
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.rest import JSON_PATCH, VM, VMI, kubevirt_path
from functests.libs.stack import API, log_of

CONTROLLER = "system:serviceaccount:kubevirt:kubevirt-controller"
DOMAIN = "spec.domain"
PCI_TOPOLOGY = "kubevirt.io/pci-topology-version"
NO_GUEST = pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
DIGEST = "sha256:" + "0" * 64


@NO_GUEST
@pytest.mark.case("ADM-005")
def test_the_old_field_is_warned_about(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: create a VM that says running, and the same with a run strategy (dry run).
    Expected: 201 both; a Warning header that names runStrategy with the first only.
    """
    vmi = build.kernel_boot_vmi(cluster, "vm")
    old = space.try_create(build.merged(build.vm_of(vmi, None), {"spec": {"running": False}}), dry_run=True)
    new = space.try_create(build.vm_of(vmi, "Halted"), dry_run=True)
    assert (old.code, new.code) == (201, 201), (old.text, new.text)
    headers = {name.lower(): value for name, value in old.headers.items()}
    assert "runStrategy" in headers.get("warning", ""), headers
    assert "warning" not in {name.lower() for name in new.headers}, new.headers


def _domain(**parts: Any) -> Manifest:
    return {"spec": {"domain": parts}}


@NO_GUEST
@pytest.mark.case("ADM-011")
@pytest.mark.case("ADM-012")
@pytest.mark.case("ADM-014")
def test_impossible_platforms_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: VMIs that boot from a disk and from a kernel and are admitted (the controls).
    Steps: create them with another machine type, another architecture, both bootloaders, secure boot without SMM,
        kernel arguments without a kernel, a kernel container without image or without files (dry run).
    Expected: 422 at the field of each; the machine type's message lists what is allowed, the architecture's says that
        it is not supported, secure boot's names SMM; EFI without secure boot is admitted.
    """
    disk, kernel = build.disk_boot_vmi(cluster, "vm"), build.kernel_boot_vmi(cluster, "vm")
    boot = f"{DOMAIN}.firmware.kernelBoot"
    wrong = refusal.misses(space, disk, [
        ("machine", f"{DOMAIN}.machine.type", _domain(machine={"type": "pc-i440fx-2.10"})),
        ("architecture", "spec.architecture", {"spec": {"architecture": "sparc"}}),
        ("two bootloaders", f"{DOMAIN}.firmware.bootloader",
         _domain(firmware={"bootloader": {"efi": {"secureBoot": False}, "bios": {}}})),
        ("secure boot", DOMAIN, _domain(firmware={"bootloader": {"efi": {}}})),
    ])  # fmt: skip
    wrong += refusal.misses(space, kernel, [
        ("arguments alone", f"{boot}.kernelArgs", _domain(firmware={"kernelBoot": {"container": None}})),
        ("no image", f"{boot}.container.image", _domain(firmware={"kernelBoot": {"container": {"image": ""}}})),
        ("no files", f"{boot}.container", _domain(firmware={"kernelBoot": {
            "kernelArgs": None, "container": {"kernelPath": None, "initrdPath": None}}})),
    ])  # fmt: skip
    assert not wrong, "\n".join(wrong)

    def said(patch: Manifest) -> str:
        return space.try_create(build.merged(disk, patch), dry_run=True).message

    machine = said(_domain(machine={"type": "pc-i440fx-2.10"}))
    assert "q35*" in machine, machine
    assert "pc-q35*" in machine, machine
    assert "unsupported architecture" in said({"spec": {"architecture": "sparc"}})
    assert "SMM" in said(_domain(firmware={"bootloader": {"efi": {}}}))
    plain = build.merged(disk, _domain(firmware={"bootloader": {"efi": {"secureBoot": False}}}))
    assert space.try_create(plain, dry_run=True).code == 201


@NO_GUEST
@pytest.mark.case("ADM-032")
def test_a_component_that_drops_a_field_gets_an_answer(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that fits on no node.
    Steps: as the controller's account, take spec.domain.cpu, memory, devices, and the whole domain away (dry run).
    Expected: 200, or 4xx with a Status, each time; no traceback in virt-api's log.
    """
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "vm"), "no-such-node"))
    path = f"{kubevirt_path(VMI, space.name, 'vm')}?dryRun=All"
    account = space.rest.as_user(CONTROLLER)
    for part in ("cpu", "memory", "devices", ""):
        patch = [{"op": "remove", "path": f"/spec/domain/{part}".rstrip("/")}]
        answer = account.patch(path, patch, JSON_PATCH)
        decided = answer.code == 200 or (400 <= answer.code < 500 and answer.body.get("kind") == "Status")
        assert decided, f"{part or 'domain'}: {answer.code} {answer.text[:500]}"
    log = log_of(space.rest, API, since_s=30)
    assert "Traceback" not in log, log[-3000:]


@pytest.mark.case("ADM-035")
def test_a_machine_keeps_its_identity(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: create two VMs that name no firmware, and one that gives its own; label the first; run it.
    Expected: UUID and serial are there, differ between the two and stay; machine type, architecture and PCI topology
        are set; what is given is kept; the guest's DMI tells the same UUID and serial.
    """
    for name in ("vm", "other"):
        space.create(build.vm_of(build.kernel_boot_vmi(cluster, name), "Halted"))
    uuid, serial = "5d307ca9-b3ef-428c-8861-06e72d69f223", "own-serial"
    own = build.merged(build.kernel_boot_vmi(cluster, "own"), _domain(firmware={"uuid": uuid, "serial": serial}))
    space.create(build.vm_of(own, "Halted"))

    def identity(name: str) -> tuple[str, str]:
        firmware = space.vm(name)["spec"]["template"]["spec"]["domain"]["firmware"]
        return firmware["uuid"], firmware["serial"]

    first, second = identity("vm"), identity("other")
    assert all(first), first
    assert not set(first) & set(second), (first, second)
    assert identity("own") == (uuid, serial)
    template = space.vm("vm")["spec"]["template"]
    assert template["metadata"]["annotations"][PCI_TOPOLOGY] == "v3", template["metadata"]
    assert template["spec"]["architecture"] == "amd64"
    assert template["spec"]["domain"]["machine"]["type"] == "q35"

    space.rest.patch(kubevirt_path(VM, space.name, "vm"), {"metadata": {"labels": {"functest": "x"}}}).ok()
    assert identity("vm") == first
    assert space.act_on_vm("vm", "start").code == 202
    space.wait_running("vm")
    shell = space.shell("vm")
    dmi = "/sys/class/dmi/id"
    assert shell.succeed(f"cat {dmi}/product_uuid").lower() == first[0]
    assert shell.succeed(f"cat {dmi}/product_serial") == first[1]


@NO_GUEST
@pytest.mark.case("ADM-038")
def test_volumes_and_devices_are_filled_in(space: Space) -> None:
    """
    Preconditions: none.
    Steps: create a VMI whose volumes have images without tag, latest, with a tag, with a digest, one of them without
        a disk and one whose disk says nothing; with a CD-ROM, a probe, a watchdog and an input without particulars.
    Expected: pull policies Always, Always, IfNotPresent, IfNotPresent; a disk for each volume, on SATA; the CD-ROM is
        read-only and closed; probe 10 and 1 s; the watchdog resets; the input is a USB tablet.
    """
    images = {"untagged": "r/i", "latest": "r/i:latest", "tagged": "r/i:1.2", "digest": f"r/i@{DIGEST}"}
    devices = {
        "disks": [{"name": "latest"}, {"name": "tagged", "cdrom": {}}], "watchdog": {"name": "dog", "i6300esb": {}},
        "inputs": [{"name": "pointer"}],
    }
    spec = {
        "domain": {"memory": {"guest": "128Mi"}, "devices": devices},
        "readinessProbe": {"tcpSocket": {"port": 22}},
        "volumes": [{"name": name, "containerDisk": {"image": image}} for name, image in images.items()],
    }
    manifest = {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "vm"}, "spec": spec,
    }
    stored = space.try_create(manifest, dry_run=True).ok()["spec"]
    policies = {volume["name"]: volume["containerDisk"]["imagePullPolicy"] for volume in stored["volumes"]}
    assert policies == {
        "untagged": "Always", "latest": "Always", "tagged": "IfNotPresent", "digest": "IfNotPresent",
    }
    disks = {disk["name"]: disk for disk in stored["domain"]["devices"]["disks"]}
    assert set(disks) == set(images), disks
    assert disks["latest"]["disk"] == disks["untagged"]["disk"] == {"bus": "sata"}, disks
    assert disks["tagged"]["cdrom"] == {"bus": "sata", "readonly": True, "tray": "closed"}, disks
    probe = stored["readinessProbe"]
    assert (probe["periodSeconds"], probe["timeoutSeconds"]) == (10, 1), probe
    found = stored["domain"]["devices"]
    assert found["watchdog"]["i6300esb"]["action"] == "reset", json.dumps(found)
    assert [(entry["bus"], entry["type"]) for entry in found["inputs"]] == [("usb", "tablet")], found["inputs"]
