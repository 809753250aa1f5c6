"""Machines that are ended before, or while, they get somewhere."""

import pytest

from functests.libs import build, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, condition, phases
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
        last = watch.wait_for("the VMI is gone", lambda kind, _: kind == "DELETED", within_s=patience.promised(20))
    assert phases(last)[-1] == "Failed", phases(last)
    assert space.pods(vmi) == []


_COPIED = ("LiveMigratable", "AgentConnected", "Paused")


def _told(obj: Object) -> dict[str, tuple[str, ...]]:
    """Status, reason and message of the conditions that a VM copies from its VMI."""
    return {
        entry["type"]: tuple(entry.get(key, "") for key in ("status", "reason", "message"))
        for entry in obj["status"].get("conditions", [])
        if entry["type"] in _COPIED
    }


@pytest.mark.demand(seconds=35)
@pytest.mark.case("LIF-046")
@pytest.mark.case("LIF-030")
def test_a_paused_machine_can_be_stopped(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a paused VM with 5 s of grace, whose guest runs the agent.
    Steps: compare the conditions of VM and VMI; stop it, and again.
    Expected: the VM has LiveMigratable, AgentConnected and Paused as the VMI has them; 202; the VMI is gone within
        20 s; the VM has none of these for 10 s; the second stop is 409.
    """
    space.boot(build.vm_of(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 5)))
    space.wait_condition("vm", "AgentConnected", "True")
    assert space.act_on_vmi("vm", "pause").code == 200
    space.wait_vm_status("vm", "Paused")
    instance, _ = patience.eventually(
        "the VM says what its VMI says", lambda: (_told(space.vmi("vm")), _told(space.vm("vm"))),
        lambda seen: seen[0] == seen[1],
    )  # fmt: skip
    assert set(instance) == set(_COPIED), instance
    answer = space.act_on_vm("vm", "stop")
    assert answer.code == 202, answer.text
    space.wait_vmi_gone("vm", within_s=patience.promised(20))
    space.wait_vm("vm", lambda vm: vm["status"].get("printableStatus") == "Stopped" and not _told(vm), "knows no VMI")
    patience.quiet("a stale condition came back", lambda: _told(space.vm("vm")), bool, for_s=10)
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


@pytest.mark.demand(boots=2)
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
    again = space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.promised(30))
    assert again["metadata"]["uid"] != vmi["metadata"]["uid"]
    assert space.shell("vm").succeed("cat /sys/class/dmi/id/product_uuid") == uuid


@pytest.mark.demand(boots=2, seconds=70)
@pytest.mark.case("LIF-017")
@pytest.mark.parametrize("strategy", ["Always", "RerunOnFailure"])
def test_a_deleted_pod_shuts_its_guest_down(space: Space, cluster: Cluster, strategy: str) -> None:
    """
    Preconditions: a running VM with a PVC and 30 s of grace; its guest writes a line when the power button comes.
    Steps: delete its launcher pod with the pod's own grace.
    Expected: the VMI ends Succeeded. Always: another VMI boots; RerunOnFailure: the VM is Stopped and stays so for
        30 s, then it is started. The line is on the PVC.
    """
    space.rest.post(f"/api/v1/namespaces/{space.name}/persistentvolumeclaims", build.pvc("data")).ok()
    manifest = build.with_disk(
        build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 30), "data",
        {"persistentVolumeClaim": {"claimName": "data"}},
    )  # fmt: skip
    vmi, shell = space.boot(build.vm_of(manifest, strategy))
    shell.succeed("mke2fs -q -t ext4 /dev/vda && mount /dev/vda /mnt")
    shell.succeed(
        "printf '#!/bin/sh\necho saved >> /mnt/line\nsync\n' > /etc/powerbutton; chmod +x /etc/powerbutton"
    )
    uid = vmi["metadata"]["uid"]
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        space.rest.delete(core_path("pods", space.name, space.pod(vmi)["metadata"]["name"])).ok()
        ended = watch.wait_for(
            "the VMI ended",
            lambda _, obj: obj["metadata"]["uid"] == uid and obj["status"].get("phase") in ("Succeeded", "Failed"),
            within_s=patience.promised(40),
        )
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    if strategy == "RerunOnFailure":
        space.wait_vmi_gone("vm", within_s=patience.promised(60))
        space.wait_vm_status("vm", "Stopped")
        patience.quiet("a VMI came", lambda: space.get_vmi("vm"), lambda seen: seen is not None, for_s=30)
        assert space.act_on_vm("vm", "start").code == 202
    space.wait_running("vm", not_uid=uid, within_s=patience.promised(60))
    assert space.shell("vm").succeed("mount /dev/vda /mnt && cat /mnt/line") == "saved"
    assert space.vm("vm")["spec"]["runStrategy"] == strategy
