"""ConfigDrive: cloud-init's data in OpenStack's layout."""

import hashlib
import json
import secrets
from typing import Any

import pytest

from functests.libs import build, guest, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.rest import core_path

LATEST = "/mnt/openstack/latest"


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def _meta_data(shell: Console) -> dict[str, Any]:
    """Mounts the drive, which must be the only disk."""
    shell.succeed("blkid /dev/vda | grep -q 'LABEL=\"config-2\"'")
    shell.succeed("mount -o ro /dev/vda /mnt")
    found: dict[str, Any] = json.loads(shell.succeed(f"cat {LATEST}/meta_data.json"))
    return found


@pytest.mark.demand(boots=2)
@pytest.mark.case("AGT-018")
def test_a_config_drive_says_the_same_after_a_restart(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM with a ConfigDrive, user data from a secret and network data inline.
    Steps: read the drive in the guest; stop and start the VM; read it again.
    Expected: label config-2; user_data and network_data.json are the same bytes; instance_id is <name>.<namespace>;
        uuid and hostname are the machine's; all of it is the same after the restart.
    """
    user, network = f"#cloud-config\n# {secrets.token_hex(16)} <&>\n", json.dumps({"links": [], "nonce": "ä"})
    secret = {"metadata": {"name": "seed"}, "stringData": {"userdata": user}}
    space.rest.post(core_path("secrets", space.name), secret).ok()
    drive = {"cloudInitConfigDrive": {"secretRef": {"name": "seed"}, "networkData": network}}
    vmi, shell = space.boot(build.vm_of(build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "drive", drive)))
    found = _meta_data(shell)
    assert found == {
        "instance_id": f"vm.{space.name}",
        "hostname": "vm",
        "uuid": shell.succeed("cat /sys/class/dmi/id/product_uuid").lower(),
    }
    for name, content in (("user_data", user), ("network_data.json", network)):
        assert shell.succeed(f"sha256sum < {LATEST}/{name}").split()[0] == _digest(content), name

    assert space.act_on_vm("vm", "stop").code == 202
    space.wait_vmi_gone("vm")
    assert space.act_on_vm("vm", "start").code == 202
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(2))
    assert _meta_data(space.shell("vm", boots=2)) == found


@pytest.mark.case("AGT-019")
def test_a_config_drive_tells_where_tagged_devices_are(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a guest with a card, a virtio disk and a SCSI disk that have tags, a virtio disk that has none, and a
        watchdog, which is behind a bridge for conventional PCI.
    Steps: boot it; read the drive's meta_data.json in the guest, and look where its kernel sees the devices.
    Expected: user_data and network_data.json are the same bytes; three devices, each with its tag at the guest's own
        address of it: the card with its MAC, the disks with their serials; no other one.
    """
    user, network = f"#cloud-config\n# {secrets.token_hex(16)}\n", json.dumps({"links": []})
    drive = {"cloudInitConfigDrive": {"userData": user, "networkData": network}}
    manifest = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "drive", drive, serial="drive")
    for name, bus, tag in (("plain", "virtio", ""), ("logs", "virtio", "Logs, ä"), ("data", "scsi", "data")):
        tagged = {"tag": tag} if tag else {}
        manifest = build.with_disk(
            manifest, name, {"emptyDisk": {"capacity": "16Mi"}}, serial=name, disk={"bus": bus}, **tagged)
    manifest["spec"]["domain"]["devices"]["watchdog"] = {"name": "dog", "i6300esb": {"action": "reset"}}
    manifest["spec"]["domain"]["devices"]["interfaces"][0]["tag"] = "front"
    _, shell = space.boot(manifest)
    shell.succeed(f"mount -o ro {guest.disk(shell, 'drive')} /mnt")
    told = json.loads(shell.succeed(f"cat {LATEST}/meta_data.json"))["devices"]
    logs = guest.disk(shell, "logs").rpartition("/")[2]
    unit = shell.succeed("basename $(readlink -f /sys/block/sda/device)").split(":")[-1]
    assert told == [
        {"type": "nic", "bus": "pci", "address": _pci_address(shell, "/sys/class/net/eth0"), "tags": ["front"],
         "mac": shell.succeed("cat /sys/class/net/eth0/address")},
        {"type": "disk", "bus": "pci", "address": _pci_address(shell, f"/sys/block/{logs}"),
         "tags": ["Logs, ä"], "serial": "logs"},
        {"type": "disk", "bus": "scsi", "address": f"0:0:0:{unit}", "tags": ["data"], "serial": "data"},
    ]
    for name, content in (("user_data", user), ("network_data.json", network)):
        assert shell.succeed(f"sha256sum < {LATEST}/{name}").split()[0] == _digest(content), name


def _pci_address(shell: Console, device: str) -> str:
    """Of a virtio device's PCI function, as the guest's kernel has it."""
    return shell.succeed(f"basename $(dirname $(readlink -f {device}/device))")
