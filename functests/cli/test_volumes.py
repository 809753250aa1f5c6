"""addvolume and removevolume from the command line."""

import pytest

from cluster_up.exec import Result
from functests.libs import build, commands, hotplug
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.rest import core_path


@pytest.mark.case("CLI-017")
def test_a_claim_is_added_and_removed_by_command(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM that runs with a disk of its own; a claim.
    Steps: addvolume as a dry run, without --volume-name, with an unknown claim, with a bus that cannot be; then with
        --serial, --bus and --persist; removevolume of the VM's own disk and of an unknown one, then of the claim.
    Expected: each that cannot be exits 1 and names the flag or gives the server's words, and nothing changes; the disk
        appears with that serial and takes data; it disappears.
    """
    vmi = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "own", {"emptyDisk": {"capacity": "16Mi"}})
    _, shell = space.boot(build.vm_of(vmi))
    space.rest.post(core_path("persistentvolumeclaims", space.name), build.pvc("data", size="16Mi")).ok()

    def virtctl(*words: str) -> Result:
        return commands.virtctl(cluster, *words, "-n", space.name)

    def fails(done: Result, text: str) -> str:
        is_right = (done.code, text in done.stderr, "Traceback" in done.stderr) == (1, True, False)
        return "" if is_right else f"expected exit 1 with {text!r}, got {done}"

    dry = virtctl("addvolume", "vm", "--volume-name=data", "--dry-run")
    assert (dry.code, "Dry Run execution" in dry.stdout) == (0, True), dry
    wrong = [
        fails(virtctl("addvolume", "vm"), "volume-name"),
        fails(virtctl("addvolume", "vm", "--volume-name=unknown"), "unknown is not a PersistentVolumeClaim"),
        fails(virtctl("addvolume", "vm", "--volume-name=data", "--bus=sata"), "--bus"),
        fails(virtctl("removevolume", "vm", "--volume-name=own"), "because it is not hotpluggable"),
        fails(virtctl("removevolume", "vm", "--volume-name=nothing"), "because it does not exist"),
    ]
    assert not any(wrong), "\n".join(filter(None, wrong))
    assert hotplug.volumes_of(space.vm("vm")["spec"]["template"]["spec"]) == ["own"]

    done = virtctl("addvolume", "vm", "--volume-name=data", "--serial=by-hand", "--bus=virtio", "--persist")
    said = "Successfully submitted add volume request to VM vm for volume data"
    assert (done.code, done.stdout.strip(), done.stderr) == (0, said, ""), done
    hotplug.wait_ready(space, "vm", "data")
    device = hotplug.find(shell, "by-hand")
    hotplug.fill(shell, device)
    assert virtctl("removevolume", "vm", "--volume-name=data", "--persist").code == 0
    hotplug.wait_gone(space, "vm", "data")
    assert not hotplug.has_device(shell, device)
