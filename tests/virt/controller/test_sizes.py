"""A running guest's sockets change on the fake API server: VM, VMI and migration, with the nodes played by the test."""

from msgspec.structs import replace

from tests.virt.controller.rig import NAMESPACE, Rig, running, virtual_machine
from tests.virt.controller.test_volumes import jobs, node_says, of_vm
from virt.api import conditions, core, names, resize, v1
from virt.api.kinds import KUBEVIRT, POD, VM, VMI, VMIM

MOVABLE = v1.Condition(type="LiveMigratable", status="True")


def kubevirt(*methods: str) -> v1.KubeVirt:
    return v1.KubeVirt(
        metadata=core.ObjectMeta(name="kubevirt", namespace="kubevirt"),
        spec=v1.KubeVirtSpec(workload_update_strategy=v1.KubeVirtWorkloadUpdateStrategy(
            workload_update_methods=methods)),
        status=v1.KubeVirtStatus(phase="Deployed", target_deployment_id="x", observed_deployment_id="x"))


async def guest(rig: Rig, *methods: str) -> core.Pod:
    rig.kube.put(KUBEVIRT, kubevirt(*methods))
    await rig.kube.create(VM, virtual_machine(run_strategy="Always"), NAMESPACE)
    pod = await rig.boot()
    node_says(rig, conditions_=(MOVABLE,))
    await rig.settle()
    return pod


def ask(rig: Rig, sockets: int) -> None:
    vm = rig.vm()
    assert vm is not None
    assert vm.spec.template is not None
    spec = vm.spec.template.spec
    spec = replace(spec, domain=replace(spec.domain, cpu=v1.CPU(sockets=sockets)))
    rig.kube.put(VM, replace(
        vm, metadata=replace(vm.metadata, generation=vm.metadata.generation + 1),
        spec=replace(vm.spec, template=replace(vm.spec.template, spec=spec))))


def live(rig: Rig) -> v1.VirtualMachineInstance:
    vmi = rig.vmi()
    assert vmi is not None
    return vmi


def request(pod: core.Pod) -> object:
    return next(each for each in pod.spec.containers if each.name == "compute").resources.requests["cpu"]


async def test_more_sockets_move_the_guest_to_a_larger_pod() -> None:
    async with running() as rig:
        first = await guest(rig, "LiveMigrate")
        assert (live(rig).spec.domain.cpu or v1.CPU()).max_sockets == 4
        ask(rig, 2)
        (job,) = await jobs(rig)
        assert names.WORKLOAD_UPDATE_ANNOTATION in job.metadata.annotations
        assert names.VOLUME_UPDATE_LABEL not in job.metadata.labels
        assert conditions.is_true(live(rig).status.conditions, resize.CPUS)
        assert (of_vm(rig, resize.CPUS), of_vm(rig, "RestartRequired")) == ("True", "")
        pods = (await rig.kube.list(POD, NAMESPACE)).items
        target = next(pod for pod in pods if pod.metadata.uid != first.metadata.uid)
        assert (request(first), request(target)) == ("100m", "200m")
        rig.kube.put(VMI, replace(live(rig), status=resize.settled(live(rig), "2026-01-01T00:00:00Z")))
        await rig.settle()
        vm = rig.vm()
        assert vm is not None
        assert vm.status.observed_generation == vm.metadata.generation
        assert of_vm(rig, resize.CPUS) == ""


async def test_nobody_moves_a_guest_until_the_cluster_lets_guests_be_moved() -> None:
    async with running() as rig:
        await guest(rig)
        ask(rig, 2)
        assert await jobs(rig) == ()
        assert conditions.is_true(live(rig).status.conditions, resize.CPUS)
        known = rig.kube.peek(KUBEVIRT, "kubevirt", "kubevirt")
        assert known is not None
        rig.kube.put(KUBEVIRT, replace(known, spec=kubevirt("LiveMigrate").spec))
        assert len(await jobs(rig)) == 1


async def test_fewer_sockets_leave_the_guest_alone() -> None:
    async with running() as rig:
        await guest(rig, "LiveMigrate")
        ask(rig, 9)
        await rig.settle()
        assert of_vm(rig, "RestartRequired") == "True"
        assert (live(rig).spec.domain.cpu or v1.CPU()).sockets == 1
        ask(rig, 1)
        await rig.settle()
        assert of_vm(rig, "RestartRequired") == ""
        assert await jobs(rig) == ()


async def test_a_pod_made_before_the_change_is_not_the_target() -> None:
    async with running() as rig:
        await guest(rig)
        await rig.kube.create(VMIM, v1.VirtualMachineInstanceMigration(
            metadata=core.ObjectMeta(name="by-hand"),
            spec=v1.VirtualMachineInstanceMigrationSpec(vmi_name="vm1")), NAMESPACE)
        await rig.settle()
        ask(rig, 2)
        await rig.settle()
        small = next(pod for pod in (await rig.kube.list(POD, NAMESPACE)).items
                     if names.MIGRATION_JOB_UID_LABEL in pod.metadata.labels)
        assert request(small) == "100m"
        rig.runs(small, "node2")
        (job,) = await jobs(rig)
        assert job.status.phase == "Failed"
        assert job.status.migration_state is not None
        assert "was to have more" in job.status.migration_state.failure_reason
        assert live(rig).status.migration_state is None
