"""VM -> VMI -> pod and back, all controllers together."""

import pytest

from tests.virt.controller.rig import IMAGE, NAMESPACE, instance, running, virtual_machine
from virt.api import conditions, core, names, v1
from virt.api.kinds import EVENT, PVC, RESOURCE_QUOTA, VM, VMI
from virt.controller.vmi.pod.naming import pod_name


async def test_an_always_vm_comes_up() -> None:
    async with running() as rig:
        await rig.kube.create(VM, virtual_machine(run_strategy="Always"), NAMESPACE)
        pod = await rig.launcher()
        vmi = await rig.phase("Scheduling")
        assert pod.metadata.name == pod_name(vmi)
        assert pod.spec.containers[0].image == IMAGE
        assert vmi.status.active_pods == {pod.metadata.uid: ""}
        assert vmi.status.memory is not None
        assert vmi.status.memory.memory_overhead == f"{288 * 1024 + 256}Ki"
        rig.place(pod, "node2")
        await rig.until(lambda: (found := rig.vmi()) and names.NODE_NAME_LABEL in found.metadata.labels)
        vmi = await rig.phase("Scheduling")
        assert not vmi.status.node_name
        assert vmi.status.active_pods == {pod.metadata.uid: "node2"}
        rig.runs(pod, "node2")
        vmi = await rig.phase("Scheduled")
        assert vmi.status.node_name == vmi.metadata.labels[names.NODE_NAME_LABEL] == "node2"
        assert vmi.status.active_pods == {pod.metadata.uid: "node2"}
        assert vmi.status.qos_class == "Burstable"
        vm = await rig.printable("Starting")
        assert vm.status.created
        assert not vm.status.ready
        rig.guest("Running")
        vm = await rig.printable("Running")
        await rig.until(lambda: (found := rig.vm()) and found.status.ready)
        vmi = await rig.phase("Running")
        assert [entry.phase for entry in vmi.status.phase_transition_timestamps] == [
            "Pending", "Scheduling", "Scheduled", "Running"]
        assert vmi.status.virtual_machine_revision_name == f"revision-start-vm-{vm.metadata.uid}-1"
        await rig.settle()
        reasons = [event.reason for event in (await rig.kube.list(EVENT, NAMESPACE)).items]
        assert sorted(reasons) == ["SuccessfulCreate", "SuccessfulCreate"]
        writes = len(rig.kube.writes)
        await rig.settle()
        assert len(rig.kube.writes) == writes


async def test_a_quota_of_limits_is_met() -> None:
    async with running() as rig:
        for namespace, hard in ((NAMESPACE, {"limits.cpu": "9", "pods": "5"}), ("other", {"limits.memory": "1Gi"})):
            quota = core.ResourceQuota(
                metadata=core.ObjectMeta(name="q", namespace=namespace), spec=core.ResourceQuotaSpec(hard=hard))
            await rig.kube.create(RESOURCE_QUOTA, quota, namespace)
        await rig.until(lambda: len(list(rig.controllers.caches.quotas.store)) == 2)
        await rig.kube.create(VMI, instance(), NAMESPACE)
        pod = await rig.launcher()
        assert all("cpu" in container.resources.limits for container in pod.spec.containers)
        assert "memory" not in pod.spec.containers[0].resources.limits


async def test_a_deleted_vm_goes_in_order() -> None:
    async with running() as rig:
        await rig.kube.create(VM, virtual_machine(run_strategy="Always"), NAMESPACE)
        pod = await rig.boot()
        await rig.printable("Running")
        await rig.kube.delete(VM, "vm1", NAMESPACE)
        await rig.printable("Terminating")
        await rig.until(lambda: (found := rig.vmi()) and found.metadata.deletion_timestamp)
        rig.guest("Succeeded")
        await rig.pods_deleted()
        rig.gone(pod)
        await rig.until(lambda: rig.vm() is None)
        assert rig.vmi() is None
        writes = [(call.verb, call.plural) for call in rig.kube.writes if call.plural != "events"]
        assert [plural for verb, plural in writes if verb == "delete"] == [
            "virtualmachines", "virtualmachineinstances", "pods"]
        assert writes[-1] == ("patch", "virtualmachines"), "the VM's own finalizer goes last"


async def test_a_stopped_guest_of_an_always_vm_gets_a_successor() -> None:
    async with running() as rig:
        await rig.kube.create(VM, virtual_machine(run_strategy="Always"), NAMESPACE)
        pod = await rig.boot()
        first = await rig.phase("Running")
        rig.guest("Succeeded")
        await rig.pods_deleted()
        rig.gone(pod)
        second = await rig.until(
            lambda: found if (found := rig.vmi()) and found.metadata.uid != first.metadata.uid else None)
        assert second.status.phase in ("", "Pending", "Scheduling")
        vm = rig.vm()
        assert vm is not None
        assert vm.status.start_failure is None


async def test_halting_deletes_the_vmi_and_leaves_the_vm_stopped() -> None:
    async with running() as rig:
        await rig.kube.create(VM, virtual_machine(run_strategy="Always"), NAMESPACE)
        pod = await rig.boot()
        vm = await rig.printable("Running")
        rig.kube.put(VM, v1.VirtualMachine(
            metadata=vm.metadata, status=vm.status,
            spec=v1.VirtualMachineSpec(run_strategy="Halted", template=vm.spec.template)))
        await rig.printable("Stopping")
        rig.guest("Succeeded")
        await rig.pods_deleted()
        rig.gone(pod)
        vm = await rig.printable("Stopped")
        await rig.until(lambda: rig.vmi() is None)
        await rig.settle()
        vm = await rig.printable("Stopped")
        assert not vm.status.created
        ready = conditions.find(vm.status.conditions, "Ready")
        assert ready is not None
        assert ready.reason == "VMINotExists"
        reasons = {event.reason for event in (await rig.kube.list(EVENT, NAMESPACE)).items}
        assert "SuccessfulDelete" in reasons


async def test_a_missing_pvc_is_told_and_waited_for() -> None:
    claim = v1.Volume(name="data", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name="data"))
    async with running() as rig:
        await rig.kube.create(VM, virtual_machine(run_strategy="Always", volumes=(claim,)), NAMESPACE)
        await rig.printable("ErrorPvcNotFound")
        assert await rig.pod() is None
        await rig.kube.create(PVC, core.PersistentVolumeClaim(metadata=core.ObjectMeta(name="data")), NAMESPACE)
        await rig.launcher()
        vmi = await rig.until(
            lambda: found if (found := rig.vmi()) and not conditions.find(found.status.conditions, "Synchronized")
            else None)
        assert not conditions.find(vmi.status.conditions, "PodScheduled")
        await rig.printable("Starting")


@pytest.mark.parametrize("bare", [True, False])
async def test_a_vmi_deleted_while_it_waits_for_a_node_ends_failed(bare: bool) -> None:
    async with running() as rig:
        if bare:
            rig.kube.put(VMI, instance("vm1"))
        else:
            await rig.kube.create(VM, virtual_machine(run_strategy="Once"), NAMESPACE)
        await rig.launcher()
        await rig.phase("Scheduling")
        seen: list[str] = []
        await rig.kube.delete(VMI, "vm1", NAMESPACE)
        old = rig.vmi()
        assert old is not None or not bare

        def over() -> bool:
            vmi = rig.vmi()
            if vmi is not None and vmi.status.phase not in seen:
                seen.append(vmi.status.phase)
            return vmi is None or (old is not None and vmi.metadata.uid != old.metadata.uid)

        await rig.until(over)
        assert any(
            operation.get("value") == "Failed"
            for call in rig.kube.writes if call.plural == "virtualmachineinstances" and call.verb == "patch"
            for operation in call.body
        )


async def test_the_readiness_gate_follows_the_guest() -> None:
    async with running() as rig:
        rig.kube.put(VMI, instance("vm1"))
        await rig.boot()
        gate = names.UNPAUSED_READINESS_GATE

        async def shows(status: str) -> bool:
            pod = await rig.pod()
            found = conditions.find(pod.status.conditions, gate) if pod else None
            return found is not None and found.status == status

        await rig.settle()
        assert await shows("True")
        vmi = await rig.phase("Running")
        paused = v1.Condition(type="Paused", status="True", reason="PausedByUser")
        rig.kube.put(VMI, v1.VirtualMachineInstance(
            metadata=vmi.metadata, spec=vmi.spec,
            status=v1.VirtualMachineInstanceStatus(
                phase="Running", node_name=vmi.status.node_name, active_pods=vmi.status.active_pods,
                conditions=(*vmi.status.conditions, paused))))
        await rig.settle()
        assert await shows("False")
