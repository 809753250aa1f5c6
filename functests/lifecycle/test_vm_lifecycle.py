"""VirtualMachine: start, stop, delete, and what the object says meanwhile."""

import re

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, condition, phases
from functests.libs.nodes import Nodes
from functests.libs.rest import VM, VMI, core_path, kubevirt_path
from functests.libs.watch import Watch


@pytest.mark.case("LIF-001")
def test_an_always_vm_boots_and_tells_its_story(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: none.
    Steps: create a VM with runStrategy Always.
    Expected: the phases in order; Starting, then Running; status, events, labels and the node's one QEMU agree; shell.
    """
    with Watch(space.rest, kubevirt_path(VM, space.name)) as watch:
        vmi, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
        # Seen by the watch itself, which may be behind what a GET tells.
        watch.wait_for(
            "Running", lambda _, vm: vm.get("status", {}).get("printableStatus") == "Running",
            within_s=patience.boots(1),
        )  # fmt: skip
        words = [obj.get("status", {}).get("printableStatus") for _, obj in watch.seen("vm")]
    assert words.index("Starting") < words.index("Running"), words
    assert shell.succeed("echo $((40+2))") == "42"

    vmi = space.vmi("vm")
    assert phases(vmi) == ["Pending", "Scheduling", "Scheduled", "Running"]
    stamps = [entry["phaseTransitionTimestamp"] for entry in vmi["status"]["phaseTransitionTimestamps"]]
    assert stamps == sorted(stamps)
    vm = space.wait_vm("vm", lambda vm: bool(vm["status"].get("ready")), "is ready")
    assert vm["status"]["printableStatus"] == "Running"
    assert condition(vm, "Ready")["status"] == "True"

    node = vmi["status"]["nodeName"]
    assert vmi["metadata"]["labels"]["kubevirt.io/nodeName"] == node
    qemu = nodes[node].qemu(space.pod(vmi)["metadata"]["uid"])
    uuid = vmi["spec"]["domain"]["firmware"]["uuid"]
    assert uuid in " ".join(qemu.argv), f"QEMU does not carry the firmware UUID {uuid}"

    assert len(space.wait_events("vm", "SuccessfulCreate", "VirtualMachine")) == 1
    story = space.wait_reasons("vm", "VirtualMachineInstance", "SuccessfulCreate", "Created", "Started")
    assert [story.count(reason) for reason in ("SuccessfulCreate", "Created", "Started")] == [1, 1, 1], story
    warnings = [event for event in space.events("vm") if event["type"] == "Warning"]
    assert not warnings, warnings


def _nothing_runs(nodes: Nodes, vmi: Object, pod: Object) -> None:
    """A process that is just ending may be seen by one look more."""
    node, uid = nodes[vmi["status"]["nodeName"]], pod["metadata"]["uid"]
    patience.eventually(
        "no process of the pod is left", lambda: node.processes(uid), lambda left: not left,
        within_s=patience.promised(5),
    )  # fmt: skip


@pytest.mark.demand(boots=2)
@pytest.mark.case("LIF-002")
def test_stop_shuts_the_guest_down(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running Always VM with two minutes of grace.
    Steps: PUT stop.
    Expected: 202, Halted, the guest's own shutdown; nothing left; the status of a stopped VM.
    """
    vmi, shell = space.boot(build.vm_of(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 120)))
    pod = space.pod(vmi)
    since = shell.position
    with Watch(space.rest, kubevirt_path(VM, space.name)) as watch:
        answer = space.act_on_vm("vm", "stop")
        assert answer.code == 202, answer.text
        shell.wait_for("power button, shutting down", within_s=patience.promised(15), since=since)
        space.wait_vmi_gone("vm", within_s=patience.promised(30))
        # Stopped as soon as the VMI is final, so the object of that moment may still know the VMI.
        vm = space.wait_vm("vm", lambda vm: not {"created", "ready"} & vm["status"].keys(), "has no VMI any more")
        history = [obj for _, obj in watch.seen("vm")]

    assert vm["spec"]["runStrategy"] == "Halted"
    assert vm["status"]["printableStatus"] == "Stopped"
    ready = condition(vm, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "VMINotExists")
    assert not vm["status"].get("stateChangeRequests")
    assert not [obj for obj in history if condition(obj, "Failure")], "condition Failure was seen"
    assert space.rest.get(core_path("pods", space.name, pod["metadata"]["name"])).code == 404
    _nothing_runs(nodes, vmi, pod)
    space.wait_events("vm", "ShuttingDown", "VirtualMachineInstance")
    space.wait_events("vm", "SuccessfulDelete", "VirtualMachine")
    stopped = space.wait_events("vm", "Stopped", "VirtualMachineInstance")
    assert [event["type"] for event in stopped] == ["Normal"], stopped


@pytest.mark.case("LIF-007")
@pytest.mark.parametrize(("strategy", "after"), [("Halted", "Always"), ("Manual", "Manual")])
def test_start_of_a_stopped_vm(space: Space, cluster: Cluster, strategy: str, after: str) -> None:
    """
    Preconditions: a VM that does not run.
    Steps: PUT start, and again while it runs.
    Expected: 202 and a shell; the strategy as the API promises; then 409.
    """
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), strategy))
    answer = space.act_on_vm("vm", "start")
    assert answer.code == 202, answer.text
    space.wait_running("vm")
    assert space.shell("vm").succeed("echo $((5*5))") == "25"

    vm = space.wait_vm("vm", lambda vm: not vm["status"].get("stateChangeRequests"), "requests are done")
    assert vm["spec"]["runStrategy"] == after
    again = space.act_on_vm("vm", "start")
    assert (again.code, "VM is already running" in again.message) == (409, True), again.text


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("LIF-008")
def test_actions_that_make_no_sense_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a Halted and a Manual VM, neither running.
    Steps: stop, restart, bad options, a body that is no JSON, an unknown VM.
    Expected: the codes and texts of the API; nothing changed.
    """
    for name, strategy in (("halted", "Halted"), ("manual", "Manual")):
        space.create(build.vm_of(build.kernel_boot_vmi(cluster, name), strategy))
        space.wait_vm_status(name, "Stopped")
    before = {name: space.vm(name)["metadata"]["resourceVersion"] for name in ("halted", "manual")}
    wrong: list[str] = []

    def expect(code: int, text: str, name: str, verb: str, body: object = None) -> None:
        answer = space.act_on_vm(name, verb, body)
        if answer.code != code or text not in answer.message:
            wrong.append(f"{verb} {name} {body!r}: expected {code} {text!r}, got {answer.code} {answer.text[:300]}")

    for name in ("halted", "manual"):
        expect(409, "VM is not running", name, "stop")
    expect(409, "", "halted", "restart")
    expect(409, "VM is not running: Halted", "manual", "restart")
    for seconds in (5, -1):
        expect(400, "", "manual", "restart", {"gracePeriodSeconds": seconds})
    expect(400, "", "manual", "start", "this is no JSON {")
    for verb in ("start", "stop", "restart"):
        expect(404, "nobody", "nobody", verb)
    assert not wrong, "\n".join(wrong)
    assert {name: space.vm(name)["metadata"]["resourceVersion"] for name in before} == before


@pytest.mark.demand(boots=2)
@pytest.mark.case("LIF-009")
def test_stop_without_grace_kills_the_guest(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VM with 600 s of grace whose guest ignores the power button.
    Steps: PUT stop with gracePeriod 0.
    Expected: the VMI's grace becomes 0 before its deletion; no button; Succeeded; all gone within 20 s.
    """
    manifest = build.kernel_boot_vmi(cluster, "vm", kernel_args="tiny.powerbutton=0")
    vmi, shell = space.boot(build.vm_of(build.with_grace(manifest, 600)))
    pod = space.pod(vmi)
    since = shell.position
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        assert space.act_on_vm("vm", "stop", {"gracePeriod": 0}).code == 202
        space.wait_vmi_gone("vm", within_s=patience.promised(20))
        watch.wait_for("deleted", lambda kind, _: kind == "DELETED", within_s=patience.promised(5))
        history = [obj for _, obj in watch.seen("vm")]

    deleting = next(index for index, obj in enumerate(history) if "deletionTimestamp" in obj["metadata"])
    graces = [obj["spec"]["terminationGracePeriodSeconds"] for obj in history[: deleting + 1]]
    assert graces[0] == 600
    assert graces[-1] == 0, f"the VMI was deleted with grace {graces[-1]}"
    assert "power button" not in shell.transcript[since:]
    assert phases(history[-1])[-1] == "Succeeded", phases(history[-1])
    _nothing_runs(nodes, vmi, pod)


@pytest.mark.demand(boots=2)
@pytest.mark.case("LIF-023")
def test_deleting_a_vm_takes_everything_in_order(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM.
    Steps: delete it.
    Expected: Terminating; pod, VMI and VM go in that order, each finalizer dropped only then.
    """
    vmi, _ = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    controller = "kubevirt.io/virtualMachineControllerFinalize"
    foreground = "kubevirt.io/foregroundDeleteVirtualMachine"
    assert controller in space.vm("vm")["metadata"]["finalizers"]
    assert {controller, foreground} <= set(vmi["metadata"]["finalizers"])

    with (
        Watch(space.rest, kubevirt_path(VM, space.name)) as vms,
        Watch(space.rest, kubevirt_path(VMI, space.name)) as vmis,
        Watch(space.rest, core_path("pods", space.name)) as pods,
    ):
        space.delete_vm("vm").ok()
        gone = {
            what: watch.wait_for(f"{what} is gone", lambda kind, _: kind == "DELETED", within_s=patience.boots(1) + 30)
            for what, watch in (("pod", pods), ("vmi", vmis), ("vm", vms))
        }
        statuses = [obj.get("status", {}).get("printableStatus") for _, obj in vms.seen("vm")]
        orders = [obj["metadata"].get("finalizers", []) for _, obj in vmis.seen("vm")]

    versions = {what: int(obj["metadata"]["resourceVersion"]) for what, obj in gone.items()}
    assert versions["pod"] < versions["vmi"] < versions["vm"], versions
    assert "Terminating" in statuses, statuses
    drops = [finalizers for finalizers in orders if foreground not in finalizers]
    assert all(controller in finalizers or not finalizers for finalizers in drops), orders


@pytest.mark.case("LIF-045")
def test_keys_that_clients_depend_on(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: read VM and VMI while starting, running, paused, stopping and stopped.
    Expected: condition times always present; created and ready true or absent; unset strategy absent; Ready's reasons.
    """
    manifest = build.vm_of(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 120), None)
    with (
        Watch(space.rest, kubevirt_path(VM, space.name)) as vms,
        Watch(space.rest, kubevirt_path(VMI, space.name)) as vmis,
    ):
        space.create(build.merged(manifest, {"spec": {"running": True}}))
        space.wait_running("vm")
        # So that it takes its time on the way down, and everybody gets to see what is told of it then.
        space.shell("vm").succeed("printf '#!/bin/sh\\nsleep 3\\n' > /etc/powerbutton; chmod +x /etc/powerbutton")
        assert space.act_on_vmi("vm", "pause").code == 200
        space.wait_condition("vm", "Paused", "True")
        assert space.act_on_vmi("vm", "unpause").code == 200
        space.wait_condition("vm", "Paused", "")
        assert space.act_on_vm("vm", "stop").code == 202
        space.wait_vmi_gone("vm", within_s=patience.promised(40))
        # Stopped as soon as the VMI is final; that it is gone comes later, and the watch may be behind both.
        vms.wait_for(
            "stopped without a VMI",
            lambda _, vm: vm.get("status", {}).get("printableStatus") == "Stopped"
            and condition(vm, "Ready").get("reason") == "VMINotExists",
            within_s=patience.boots(1),
        )
        machines = [obj for _, obj in vms.seen("vm")]
        instances = [obj for _, obj in vmis.seen("vm")]

    missing = [
        f"{entry['type']} at {obj.get('status', {}).get('phase')}: no {key}"
        for obj in instances
        for entry in obj.get("status", {}).get("conditions", [])
        for key in ("lastProbeTime", "lastTransitionTime")
        if key not in entry
    ]
    assert not missing, missing
    for machine in machines:
        status = machine.get("status", {})
        assert status.get("created", True) is True
        assert status.get("ready", True) is True
        assert "runStrategy" not in machine["spec"], "an unset strategy appeared"
    reasons = {condition(machine, "Ready").get("reason") for machine in machines}
    assert {"VMINotExists", "PodTerminating"} <= reasons, reasons
    assert reasons & {"PodNotExists", "GuestNotRunning", "PodConditionMissing"}, reasons
    assert not [key for key in reasons if key is not None and not re.fullmatch(r"[A-Za-z]+", key)], reasons
