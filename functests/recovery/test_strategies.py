"""What a run strategy makes of a guest that ended: by itself, or by a crash."""

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, kubevirt_path
from functests.libs.watch import Watch

QUIET_S = 30


def _end(space: Space, nodes: Nodes, vmi: Object, phase: str) -> None:
    """End the guest so that its VMI becomes ``phase``: by its own power-off, or by SIGKILL of its QEMU."""
    uid = vmi["metadata"]["uid"]
    shell = space.shell("vm")
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        if phase == "Succeeded":
            shell.send("poweroff -f\n")
        else:
            node = nodes[vmi["status"]["nodeName"]]
            node.run(f"kill -9 {node.qemu(space.pod(vmi)['metadata']['uid']).pid}")
        ended = watch.wait_for(
            "the VMI ended",
            lambda _, obj: obj["metadata"]["uid"] == uid and obj["status"].get("phase") in ("Succeeded", "Failed"),
            within_s=patience.promised(20),
        )
    assert ended["status"]["phase"] == phase, ended["status"]
    told = patience.eventually("the end is told", lambda: _events(space, uid, "Stopped"), bool)
    assert told == [{"Succeeded": "Normal", "Failed": "Warning"}[phase]], told


def _events(space: Space, uid: str, reason: str) -> list[str]:
    """Types of the events with that reason about the VMI with that uid."""
    return [
        event["type"]
        for event in space.events("vm", "VirtualMachineInstance")
        if event["reason"] == reason and event["involvedObject"].get("uid") == uid
    ]


def _started(space: Space, cluster: Cluster) -> Object:
    """The running VMI of a Manual VM, which runs only when somebody starts it."""
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "Manual"))
    assert space.act_on_vm("vm", "start").code == 202
    return space.wait_running("vm")


def _stays(space: Space, uid: str, phase: str) -> None:
    """Nobody touches the ended VMI for as long as QUIET_S."""
    patience.quiet(
        f"the {phase} VMI was touched",
        lambda: (space.vmi("vm")["metadata"]["uid"], space.vmi("vm")["status"]["phase"]),
        lambda seen: seen != (uid, phase),
        for_s=QUIET_S,
    )


@pytest.mark.demand(boots=2)
@pytest.mark.case("LIF-005")
@pytest.mark.case("REC-002")
def test_rerun_on_failure_starts_a_crashed_guest_again(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running RerunOnFailure VM.
    Steps: SIGKILL its QEMU.
    Expected: Failed with a Warning Stopped and no SyncFailed; a new VMI boots without back-off; the strategy is the
        same.
    """
    vmi, _ = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "RerunOnFailure"))
    _end(space, nodes, vmi, "Failed")
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(2))
    assert space.shell("vm").succeed("echo $((6*7))") == "42"
    vm = space.vm("vm")
    assert vm["spec"]["runStrategy"] == "RerunOnFailure"
    assert "startFailure" not in vm["status"], vm["status"]
    assert _events(space, vmi["metadata"]["uid"], "SyncFailed") == []


@pytest.mark.demand(boots=2, seconds=60)
@pytest.mark.case("REC-002")
def test_a_crashed_manual_vm_waits_for_its_start(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running Manual VM.
    Steps: SIGKILL its QEMU; wait; start.
    Expected: the VMI stays Failed for 30 s, the VM is Stopped; start is 202 and a new VMI boots.
    """
    uid = (vmi := _started(space, cluster))["metadata"]["uid"]
    _end(space, nodes, vmi, "Failed")
    space.wait_vm_status("vm", "Stopped")
    _stays(space, uid, "Failed")
    answer = space.act_on_vm("vm", "start")
    assert answer.code == 202, answer.text
    space.wait_running("vm", not_uid=uid, within_s=patience.boots(2))
    assert space.shell("vm").succeed("echo $((6*7))") == "42"


@pytest.mark.demand(seconds=50)
@pytest.mark.case("LIF-004")
@pytest.mark.case("REC-035")
def test_rerun_on_failure_lets_a_clean_end_be(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running RerunOnFailure VM.
    Steps: power off inside the guest.
    Expected: Succeeded; the VMI goes, none comes for 30 s; the VM is Stopped and keeps its strategy.
    """
    vmi, _ = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "RerunOnFailure"))
    _end(space, nodes, vmi, "Succeeded")
    space.wait_vmi_gone("vm", within_s=patience.promised(60))
    space.wait_vm_status("vm", "Stopped")
    patience.quiet("a VMI came", lambda: space.get_vmi("vm"), lambda seen: seen is not None, for_s=QUIET_S)
    assert space.vm("vm")["spec"]["runStrategy"] == "RerunOnFailure"


@pytest.mark.demand(boots=2, seconds=60)
@pytest.mark.case("LIF-004")
@pytest.mark.case("REC-035")
def test_a_manual_vm_keeps_what_ended(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running Manual VM.
    Steps: power off inside the guest; wait; start.
    Expected: the Succeeded VMI is kept for 30 s; start replaces it and a new one boots.
    """
    uid = (vmi := _started(space, cluster))["metadata"]["uid"]
    _end(space, nodes, vmi, "Succeeded")
    _stays(space, uid, "Succeeded")
    assert space.act_on_vm("vm", "start").code == 202
    space.wait_running("vm", not_uid=uid, within_s=patience.boots(2))
    assert space.shell("vm").succeed("echo $((6*7))") == "42"


@pytest.mark.demand(seconds=50)
@pytest.mark.case("LIF-004")
@pytest.mark.case("LIF-005")
@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_once_vm_stays_down(space: Space, cluster: Cluster, nodes: Nodes, phase: str) -> None:
    """
    Preconditions: a running VM of strategy Once.
    Steps: power off inside the guest, or SIGKILL its QEMU; wait; start, restart.
    Expected: Succeeded with a Normal Stopped, or Failed with a Warning Stopped, once, and no SyncFailed; the VMI stays
        so for 30 s; the VM is Stopped; start and restart are refused with 409 that names the strategy.
    """
    vmi, _ = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "Once"))
    uid = vmi["metadata"]["uid"]
    _end(space, nodes, vmi, phase)
    _stays(space, uid, phase)
    space.wait_vm_status("vm", "Stopped")
    assert len(_events(space, uid, "Stopped")) == 1
    assert _events(space, uid, "SyncFailed") == []
    for verb in ("start", "restart"):
        answer = space.act_on_vm("vm", verb)
        assert (answer.code, "Once" in answer.message) == (409, True), answer.text


@pytest.mark.case("REC-032")
def test_a_guest_that_reboots_after_a_panic_is_the_same_machine(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VMI without a panic device whose kernel reboots 1 s after a panic.
    Steps: let its kernel panic.
    Expected: another boot, the same VMI and QEMU, no phase but Running.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm", kernel_args="panic=1"))
    first = shell.succeed("cat /proc/sys/kernel/random/boot_id")
    node = nodes[vmi["status"]["nodeName"]]
    uid = space.pod(vmi)["metadata"]["uid"]
    qemu = node.qemu(uid)
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        shell.send("echo c > /proc/sysrq-trigger\n")
        # A console that sees a panic waits for no shell: the next one comes after it.
        shell.wait_for("Kernel panic - ", within_s=patience.promised(10))
        second = patience.eventually(
            "another boot",
            lambda: space.shell("vm", boots=2).succeed("cat /proc/sys/kernel/random/boot_id"),
            lambda seen: seen != first,
            within_s=patience.boots(2),
        )
        seen = {(obj["metadata"]["uid"], obj["status"].get("phase")) for _, obj in watch.seen("vm")}
    assert second != first
    assert seen == {(vmi["metadata"]["uid"], "Running")}, seen
    assert node.qemu(uid).pid == qemu.pid
