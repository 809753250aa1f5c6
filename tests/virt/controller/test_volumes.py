"""Claims of a running guest change on the fake API server: VM, VMI and migration, with the nodes played by the test."""

from msgspec.structs import replace

from tests.virt.controller.rig import NAMESPACE, Rig, running, virtual_machine
from virt.api import conditions, core, names, v1, volumechange
from virt.api.kinds import CONTROLLER_REVISION, POD, PVC, VM, VMI, VMIM

Migration = v1.VirtualMachineInstanceMigration


def volume(claim: str) -> v1.Volume:
    return v1.Volume(name="data", persistent_volume_claim=v1.PersistentVolumeClaimVolumeSource(claim_name=claim))


async def claim(rig: Rig, name: str) -> None:
    await rig.kube.create(PVC, core.PersistentVolumeClaim(
        metadata=core.ObjectMeta(name=name),
        spec=core.PersistentVolumeClaimSpec(access_modes=("ReadWriteOnce",))), NAMESPACE)


async def guest(rig: Rig, *claims: str) -> core.Pod:
    """A VM on the first claim, whose node has said that it may leave with its disks."""
    for name in claims:
        await claim(rig, name)
    await rig.kube.create(VM, virtual_machine(
        volumes=(volume(claims[0]),), run_strategy="Always", update_volumes_strategy="Migration"), NAMESPACE)
    pod = await rig.boot()
    node_says(rig, conditions_=(v1.Condition(type="StorageLiveMigratable", status="True"),))
    await rig.settle()
    return pod


def node_says(rig: Rig, *, conditions_: tuple[v1.Condition, ...] = (), **status: object) -> None:
    vmi = rig.vmi()
    assert vmi is not None
    found = vmi.status.conditions
    for each in conditions_:
        found = conditions.with_condition(found, each, "2026-01-01T00:00:00Z")
    rig.kube.put(VMI, replace(vmi, status=replace(vmi.status, conditions=found, **status)))


def name_claim(rig: Rig, name: str) -> None:
    """The template gets another claim; the API server counts its generations."""
    vm = rig.vm()
    assert vm is not None
    assert vm.spec.template is not None
    template = replace(vm.spec.template, spec=replace(vm.spec.template.spec, volumes=(volume(name),)))
    rig.kube.put(VM, replace(
        vm, metadata=replace(vm.metadata, generation=vm.metadata.generation + 1),
        spec=replace(vm.spec, template=template)))


async def jobs(rig: Rig) -> tuple[Migration, ...]:
    await rig.settle()
    return (await rig.kube.list(VMIM, NAMESPACE)).items


def of_vm(rig: Rig, type_: str) -> str:
    vm = rig.vm()
    assert vm is not None
    found = conditions.find(vm.status.conditions, type_)
    return found.status if found is not None else ""


def live(rig: Rig) -> str:
    vmi = rig.vmi()
    assert vmi is not None
    return volumechange.claims(vmi.spec)["data"]


def remembered(rig: Rig) -> bool:
    vm = rig.vm()
    assert vm is not None
    return vm.status.volume_update_state is not None


async def begun(rig: Rig) -> Migration:
    """The change to p2 has begun, and its node says that the guest can go."""
    await guest(rig, "p1", "p2")
    name_claim(rig, "p2")
    await rig.settle()
    assert not await jobs(rig), "the node has not said that it can go"
    node_says(rig, conditions_=(v1.Condition(type="LiveMigratable", status="True"),))
    (job,) = await jobs(rig)
    return job


async def test_the_target_has_the_new_claim_and_the_vm_forgets_when_the_guest_has_come() -> None:
    async with running() as rig:
        job = await begun(rig)
        assert job.metadata.generate_name == "kubevirt-workload-update-"
        assert job.metadata.labels[names.VOLUME_UPDATE_LABEL] == "vm1"
        assert job.metadata.annotations[names.WORKLOAD_UPDATE_ANNOTATION] == ""
        assert (job.spec.vmi_name, job.spec.priority) == ("vm1", "system-maintenance")
        assert (live(rig), remembered(rig), of_vm(rig, "RestartRequired")) == ("p2", True, "")
        pods = (await rig.kube.list(POD, NAMESPACE)).items
        target = next(pod for pod in pods if names.MIGRATION_JOB_UID_LABEL in pod.metadata.labels)
        mounted = {
            pod.metadata.name: [each.persistent_volume_claim.claim_name for each in pod.spec.volumes
                                if each.persistent_volume_claim is not None] for pod in pods}
        assert sorted(mounted.values()) == [["p1"], ["p2"]]
        assert mounted[target.metadata.name] == ["p2"]
        vmi = rig.vmi()
        assert vmi is not None
        here = volumechange.settled(vmi)
        rig.kube.put(VMI, here)
        await rig.settle()
        assert not remembered(rig)
        assert of_vm(rig, "RestartRequired") == ""
        vm = rig.vm()
        assert vm is not None
        assert vm.status.observed_generation == vm.metadata.generation == 2
        assert len((await rig.kube.list(CONTROLLER_REVISION, NAMESPACE)).items) == 1


async def test_a_change_taken_back_takes_its_migration_along() -> None:
    async with running() as rig:
        job = await begun(rig)
        name_claim(rig, "p1")
        await rig.settle()
        assert (live(rig), remembered(rig)) == ("p1", False)
        assert any(call.verb == "delete" and call.plural == VMIM.plural and call.name == job.metadata.name
                   for call in rig.kube.writes)
        vmi = rig.vmi()
        assert vmi is not None
        assert vmi.status.migrated_volumes == ()
        assert of_vm(rig, "RestartRequired") == ""


async def test_a_guest_that_ends_on_the_way_is_not_started_from_half_a_copy() -> None:
    async with running() as rig:
        await begun(rig)
        rig.guest("Failed")
        await rig.settle()
        for pod in (await rig.kube.list(POD, NAMESPACE)).items:
            rig.gone(pod)
        await rig.settle()
        assert rig.vmi() is None
        assert of_vm(rig, "ManualRecoveryRequired") == "True"
        name_claim(rig, "p1")
        await rig.until(rig.vmi)
        await rig.settle()
        assert (live(rig), remembered(rig), of_vm(rig, "ManualRecoveryRequired")) == ("p1", False, "")


async def test_other_changes_beside_the_claim_take_a_restart() -> None:
    async with running() as rig:
        await guest(rig, "p1", "p2")
        vm = rig.vm()
        assert vm is not None
        assert vm.spec.template is not None
        spec = vm.spec.template.spec
        spec = replace(spec, volumes=(volume("p2"),), domain=replace(spec.domain, memory=v1.Memory(guest="256Mi")))
        rig.kube.put(VM, replace(
            vm, metadata=replace(vm.metadata, generation=2),
            spec=replace(vm.spec, template=replace(vm.spec.template, spec=spec))))
        await rig.settle()
        assert of_vm(rig, "RestartRequired") == "True"
        assert (live(rig), remembered(rig)) == ("p1", False)
