"""Machines that are ended before, or while, they get somewhere."""

import pytest

from functests.libs import build, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition, phases
from functests.libs.rest import VMI, core_path, kubevirt_path
from functests.libs.watch import Watch


def _waits(cluster: Cluster, why: str) -> Manifest:
    if why == "no-node":
        return build.merged(build.disk_boot_vmi(cluster, "vm"), {"spec": {"nodeSelector": {"example.com/no": "node"}}})
    return build.with_disk(
        build.disk_boot_vmi(cluster, "vm"), "seed", {"cloudInitNoCloud": {"secretRef": {"name": "missing"}}}
    )


@pytest.mark.case("LIF-026")
@pytest.mark.parametrize("why", ["no-node", "no-secret"])
def test_a_machine_that_cannot_start_can_be_deleted(space: Space, cluster: Cluster, why: str) -> None:
    """
    Preconditions: a VMI that stays Scheduling: no node has its selector, or its cloud-init secret does not exist.
    Steps: delete it.
    Expected: it becomes Failed; object and pod are gone within 20 s.
    """
    space.create(_waits(cluster, why))
    vmi = space.wait_vmi("vm", lambda seen: seen["status"].get("phase") == "Scheduling", "Scheduling")
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        space.delete_vmi("vm").ok()
        last = watch.wait_for("the VMI is gone", lambda kind, _: kind == "DELETED", within_s=20)
    assert phases(last)[-1] == "Failed", phases(last)
    assert space.pods(vmi) == []


@pytest.mark.case("LIF-030")
def test_a_paused_machine_can_be_stopped(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a paused VM with 5 s of grace.
    Steps: stop it, and again.
    Expected: 202; the VMI is gone within 20 s; the VM has no Paused condition; the second stop is 409.
    """
    space.boot(build.vm_of(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 5)))
    assert space.act_on_vmi("vm", "pause").code == 200
    space.wait_vm_status("vm", "Paused")
    answer = space.act_on_vm("vm", "stop")
    assert answer.code == 202, answer.text
    space.wait_vmi_gone("vm", within_s=20)
    vm = space.wait_vm_status("vm", "Stopped")
    assert condition(vm, "Paused") == {}, vm["status"]
    again = space.act_on_vm("vm", "stop")
    assert (again.code, "VM is not running" in again.message) == (409, True), again.text


@pytest.mark.case("LIF-042")
def test_a_node_that_comes_late_is_waited_for(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: an Always VM whose selector no node has.
    Steps: read its status; give a node that label.
    Expected: ErrorUnschedulable, PodScheduled False Unschedulable on the VMI; then Running, without the condition; the
        VM's generation is the same.
    """
    label = f"example.com/{space.name[-6:]}"
    manifest = build.merged(build.kernel_boot_vmi(cluster, "vm"), {"spec": {"nodeSelector": {label: "late"}}})
    space.create(build.vm_of(manifest))
    space.wait_vm_status("vm", "ErrorUnschedulable")
    unscheduled = condition(space.vmi("vm"), "PodScheduled")
    assert (unscheduled["status"], unscheduled["reason"]) == ("False", "Unschedulable"), unscheduled
    generation = space.vm("vm")["metadata"]["generation"]
    node = f"/api/v1/nodes/{cluster.workers[0]}"
    space.rest.patch(node, {"metadata": {"labels": {label: "late"}}}).ok()
    try:
        running = space.wait_running("vm", within_s=patience.boots(2))
        assert condition(running, "PodScheduled") == {}, running["status"]
        assert space.vm("vm")["metadata"]["generation"] == generation
        assert space.shell("vm").succeed("echo $((6*7))") == "42"
    finally:
        space.rest.patch(node, {"metadata": {"labels": {label: None}}}).ok()


@pytest.mark.case("LIF-016")
def test_a_deleted_instance_is_made_anew(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running Always VM.
    Steps: delete its VMI.
    Expected: another VMI runs; the guest's product UUID is the one of before.
    """
    vmi, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    uuid = shell.succeed("cat /sys/class/dmi/id/product_uuid")
    space.delete_vmi("vm").ok()
    again = space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=30 + patience.boots(1))
    assert again["metadata"]["uid"] != vmi["metadata"]["uid"]
    assert space.shell("vm").succeed("cat /sys/class/dmi/id/product_uuid") == uuid


@pytest.mark.case("LIF-017")
@pytest.mark.parametrize("strategy", ["Always", "RerunOnFailure"])
def test_a_deleted_pod_shuts_its_guest_down(space: Space, cluster: Cluster, strategy: str) -> None:
    """
    Preconditions: a running VM with 30 s of grace.
    Steps: delete its launcher pod with the pod's own grace.
    Expected: the guest gets the power button, the VMI ends Succeeded; Always: another VMI boots; RerunOnFailure: the VM
        is Stopped and stays so for 30 s.
    """
    vmi, shell = space.boot(build.vm_of(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 30), strategy))
    uid = vmi["metadata"]["uid"]
    since = shell.position
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        space.rest.delete(core_path("pods", space.name, space.pod(vmi)["metadata"]["name"])).ok()
        shell.wait_for("power button, shutting down", within_s=20, since=since)
        ended = watch.wait_for(
            "the VMI ended",
            lambda _, obj: obj["metadata"]["uid"] == uid and obj["status"].get("phase") in ("Succeeded", "Failed"),
            within_s=30,
        )
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    if strategy == "Always":
        space.wait_running("vm", not_uid=uid, within_s=30 + patience.boots(1))
        assert space.shell("vm").succeed("echo $((6*7))") == "42"
        return
    space.wait_vmi_gone("vm", within_s=60)
    space.wait_vm_status("vm", "Stopped")
    patience.quiet("a VMI came", lambda: space.get_vmi("vm"), lambda seen: seen is not None, for_s=30)
    assert space.vm("vm")["spec"]["runStrategy"] == "RerunOnFailure"
