"""The guest, or its QEMU, ends or reboots by itself."""

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, phases
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, kubevirt_path
from functests.libs.watch import Watch


def _events(space: Space, uid: str, reason: str) -> list[tuple[str, str]]:
    """(type, message) of the events with that reason about the VMI with that uid."""
    return [
        (event["type"], event["message"])
        for event in space.events("vm", "VirtualMachineInstance")
        if event["reason"] == reason and event["involvedObject"].get("uid") == uid
    ]


@pytest.mark.demand(boots=3)
@pytest.mark.case("LIF-005")
@pytest.mark.case("REC-001")
def test_a_killed_qemu_is_a_crash_and_the_vm_runs_again(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running Always VM.
    Steps: SIGKILL its QEMU on the node.
    Expected: Warning Stopped and no SyncFailed, Failed within 10 s; a new VMI runs without back-off, the strategy
        is the same; nothing of the old one is left.
    """
    vmi, _ = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    uid = vmi["metadata"]["uid"]
    pod = space.pod(vmi)["metadata"]["uid"]
    node = nodes[vmi["status"]["nodeName"]]
    qemu = node.qemu(pod)
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        node.run(f"kill -9 {qemu.pid}")
        watch.wait_for(
            "the VMI failed",
            lambda _, obj: obj["metadata"]["uid"] == uid and obj["status"].get("phase") == "Failed",
            within_s=patience.promised(10),
        )
    space.wait_running("vm", not_uid=uid, within_s=patience.boots(2))
    assert space.shell("vm").succeed("echo $((3*3))") == "9"
    assert ("Warning", "The VirtualMachineInstance crashed.") in [
        (kind, message.rstrip(".") + ".") for kind, message in _events(space, uid, "Stopped")
    ]
    vm = space.vm("vm")
    assert "startFailure" not in vm["status"]
    assert vm["spec"]["runStrategy"] == "Always"
    assert _events(space, uid, "SyncFailed") == []
    patience.eventually("nothing of the old pod runs", lambda: node.processes(pod), lambda left: not left)


@pytest.mark.demand(boots=3)
@pytest.mark.case("LIF-004")
@pytest.mark.case("REC-034")
def test_an_always_vm_comes_back_after_poweroff(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running Always VM.
    Steps: power off inside the guest.
    Expected: the VMI ends Succeeded with a Normal event Stopped; a new one boots without back-off.
    """
    vmi, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    uid = vmi["metadata"]["uid"]
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        shell.send("poweroff -f\n")
        ended = watch.wait_for(
            "the VMI ended",
            lambda _, obj: obj["metadata"]["uid"] == uid and obj["status"].get("phase") in ("Succeeded", "Failed"),
            within_s=patience.promised(20),
        )
    assert phases(ended)[-1] == "Succeeded"
    space.wait_running("vm", not_uid=uid, within_s=patience.boots(3))
    space.shell("vm")
    assert [kind for kind, _ in _events(space, uid, "Stopped")] == ["Normal"]
    assert "startFailure" not in space.vm("vm")["status"]


@pytest.mark.demand(boots=5)
@pytest.mark.case("REC-036")
def test_a_reboot_keeps_the_machine(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VMI with an emptyDisk.
    Steps: reboot inside the guest three times.
    Expected: same VMI, pod and QEMU; each boot is new; the disk keeps its content; DHCP gives the same address.
    """
    manifest = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", {"emptyDisk": {"capacity": "16Mi"}})
    vmi, shell = space.boot(manifest)
    pod = space.pod(vmi)["metadata"]["uid"]
    qemu = nodes[vmi["status"]["nodeName"]].qemu(pod)
    shell.succeed("echo kept-on-disk | dd of=/dev/vda bs=512 conv=sync,fsync 2>/dev/null")
    address = "ip -4 -o addr show dev eth0 | awk '{print $4}'"
    patience.eventually("eth0 has its address", lambda: shell.succeed(address), lambda seen: seen == "10.0.2.2/24")

    boots = {shell.succeed("cat /proc/sys/kernel/random/boot_id")}
    for _ in range(3):
        since = shell.position
        shell.send("reboot -f\n")
        shell.wait_for("tiny: ready", within_s=patience.boots(1), since=since)
        shell.login(within_s=patience.boots(1))
        boots.add(shell.succeed("cat /proc/sys/kernel/random/boot_id"))
        assert shell.succeed("head -c 12 /dev/vda") == "kept-on-disk"
        patience.eventually("the same address", lambda: shell.succeed(address), lambda seen: seen == "10.0.2.2/24")
    assert len(boots) == 4
    after = space.vmi("vm")
    assert after["metadata"]["uid"] == vmi["metadata"]["uid"]
    assert phases(after)[-1] == "Running"
    assert nodes[vmi["status"]["nodeName"]].qemu(pod).pid == qemu.pid
