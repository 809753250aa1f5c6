"""Hot-plugged volumes on the fake API server: VM, VMI and attachment pods, with kubelet and handler played by the
test."""

import asyncio

from msgspec.structs import replace

from tests.virt.api.test_hotplug import volume
from tests.virt.controller.rig import NAMESPACE, Rig, running, virtual_machine
from tests.waits import HANG_S
from virt.api import conditions, core, names, v1
from virt.api.kinds import PERSISTENT_VOLUME, POD, PVC, VM, VMI, VMIM
from virt.controller.vmi.hotplug import places
from virt.controller.vmi.hotplug.pod import CONTAINER


async def claim(rig: Rig, name: str, *, phase: str = "Bound", mode: str | None = None) -> None:
    made = await rig.kube.create(PVC, core.PersistentVolumeClaim(
        metadata=core.ObjectMeta(name=name),
        spec=core.PersistentVolumeClaimSpec(access_modes=("ReadWriteMany",), volume_mode=mode)), NAMESPACE)
    rig.kube.put(PVC, replace(made, status=core.PersistentVolumeClaimStatus(phase=phase)))


async def guest(rig: Rig, *claims: str) -> core.Pod:
    for name in claims:
        await claim(rig, name)
    await rig.kube.create(VM, virtual_machine(run_strategy="Always"), NAMESPACE)
    pod = await rig.boot()
    await rig.settle()
    return pod


def ask_for(rig: Rig, *volumes: str, bus: str = "scsi", serial: str = "") -> None:
    """The template has these; the API server counts its generations."""
    vm = rig.vm()
    assert vm is not None
    assert vm.spec.template is not None
    spec = vm.spec.template.spec
    disks = tuple(v1.Disk(name=name, disk=v1.DiskTarget(bus=bus), serial=serial) for name in volumes)
    domain = replace(spec.domain, devices=replace(spec.domain.devices, disks=disks))
    new = replace(spec, domain=domain, volumes=tuple(volume(name) for name in volumes))
    rig.kube.put(VM, replace(
        vm, metadata=replace(vm.metadata, generation=vm.metadata.generation + 1),
        spec=replace(vm.spec, template=replace(vm.spec.template, spec=new))))


async def attachments(rig: Rig) -> dict[str, core.Pod]:
    """By the claims that they have."""
    await rig.settle()
    found = (await rig.kube.list(POD, NAMESPACE)).items
    return {
        ",".join(sorted(each.persistent_volume_claim.claim_name for each in pod.spec.volumes
                        if each.persistent_volume_claim is not None)): pod
        for pod in found if pod.metadata.name.startswith("hp-volume-") and pod.metadata.deletion_timestamp is None
    }


def entries(rig: Rig) -> dict[str, v1.VolumeStatus]:
    vmi = rig.vmi()
    assert vmi is not None
    return {entry.name: entry for entry in vmi.status.volume_status}


def handler(rig: Rig, **phases: str) -> None:
    vmi = rig.vmi()
    assert vmi is not None
    rig.kube.put(VMI, replace(vmi, status=replace(vmi.status, volume_status=tuple(
        replace(entry, phase=phases.get(entry.name, entry.phase)) for entry in vmi.status.volume_status))))


def restart_required(rig: Rig) -> bool:
    vm = rig.vm()
    assert vm is not None
    return conditions.find(vm.status.conditions, "RestartRequired") is not None


async def plugged(rig: Rig, *names_: str) -> core.Pod:
    """The guest has these, and no others; their pod."""
    ask_for(rig, *names_)
    await rig.settle()
    for key, pod in (await attachments(rig)).items():
        if key == ",".join(sorted(names_)):
            rig.runs(pod)
    await rig.settle()
    handler(rig, **dict.fromkeys(names_, "Ready"))
    return (await attachments(rig))[",".join(sorted(names_))]


async def test_a_claim_comes_to_the_guests_node() -> None:
    async with running() as rig:
        launcher = await guest(rig, "data")
        ask_for(rig, "data")
        pod = (await attachments(rig))["data"]
        assert pod.metadata.labels == {"kubevirt.io": "hotplug-disk"}
        assert [owner.uid for owner in pod.metadata.owner_references] == [launcher.metadata.uid]
        (container,) = pod.spec.containers
        assert [mount.mount_path for mount in container.volume_mounts] == ["/hotplug/data"]
        assert container.security_context is not None
        assert container.security_context.capabilities == core.Capabilities(drop=("ALL",))
        term = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution  # type: ignore[union-attr]
        assert term is not None
        assert term.node_selector_terms[0].match_fields[0].values == ("node1",)
        assert entries(rig)["data"].phase == "Bound"
        rig.runs(pod)
        await rig.settle()
        entry = entries(rig)["data"]
        assert entry.phase == "AttachedToNode"
        assert entry.hotplug_volume == v1.HotplugVolumeStatus(
            attach_pod_name=pod.metadata.name, attach_pod_uid=pod.metadata.uid)
        assert not restart_required(rig)
        # The launcher's own pod has it not, neither this one nor the next.
        assert all(each.persistent_volume_claim is None for each in launcher.spec.volumes)


async def test_it_leaves_when_the_guest_has_let_go() -> None:
    async with running() as rig:
        await guest(rig, "data")
        pod = await plugged(rig, "data")
        ask_for(rig)
        await rig.settle()
        vmi = rig.vmi()
        assert vmi is not None
        assert len(vmi.spec.volumes) == len(vmi.spec.domain.devices.disks) == 0
        assert entries(rig)["data"].phase == "Detaching"
        assert list(await attachments(rig)) == ["data"]
        handler(rig, data="UnMountedFromPod")
        await rig.settle()
        assert entries(rig) == {}
        assert await attachments(rig) == {}
        assert rig.kube.peek(POD, pod.metadata.name, NAMESPACE) is None or not restart_required(rig)


async def test_the_pod_is_replaced_once_the_new_one_runs() -> None:
    async with running() as rig:
        await guest(rig, "a", "b")
        old = await plugged(rig, "a")
        ask_for(rig, "a", "b")
        assert sorted(await attachments(rig)) == ["a", "a,b"]
        assert entries(rig)["a"].hotplug_volume.attach_pod_uid == old.metadata.uid  # type: ignore[union-attr]
        new = (await attachments(rig))["a,b"]
        rig.runs(new)
        assert list(await attachments(rig)) == ["a,b"]
        assert {entry.name: (entry.phase, entry.hotplug_volume.attach_pod_uid)  # type: ignore[union-attr]
                for entry in entries(rig).values()} == {
            "a": ("Ready", new.metadata.uid), "b": ("AttachedToNode", new.metadata.uid)}


async def test_one_that_is_not_bound_does_not_keep_the_others() -> None:
    async with running() as rig:
        await guest(rig, "a")
        await claim(rig, "late", phase="Pending")
        ask_for(rig, "a", "late", "missing")
        assert sorted(await attachments(rig)) == ["a", "late"]
        told = entries(rig)
        assert (told["late"].phase, told["late"].reason) == ("Pending", "PVCNotReady")
        assert (told["missing"].phase, told["missing"].reason, told["missing"].message) == (
            "Pending", "FailedPvcNotFound", "PVC missing not found")
        await claim(rig, "missing")
        assert sorted(await attachments(rig)) == ["a", "a,missing", "late"]


async def test_a_block_device_is_told_of() -> None:
    async with running() as rig:
        await guest(rig)
        await claim(rig, "raw", mode="Block")
        ask_for(rig, "raw")
        assert await attachments(rig) == {}
        assert "block device" in entries(rig)["raw"].message


async def test_a_pod_that_was_deleted_is_made_again() -> None:
    async with running() as rig:
        await guest(rig, "a")
        pod = await plugged(rig, "a")
        await rig.kube.delete(POD, pod.metadata.name, NAMESPACE)
        await rig.settle()
        assert entries(rig)["a"].phase == "Ready"           # the launcher keeps what it was given
        rig.gone(pod)
        again = (await attachments(rig))["a"]
        assert again.metadata.uid != pod.metadata.uid


async def test_a_wrong_bus_is_the_vms_failure() -> None:
    async with running() as rig:
        await guest(rig, "data")
        ask_for(rig, "data", bus="sata")
        await rig.settle()
        vm, vmi = rig.vm(), rig.vmi()
        assert vm is not None
        assert vmi is not None
        failure = conditions.find(vm.status.conditions, "Failure")
        assert failure is not None
        assert failure.reason == "HotPlugVolumeError"
        assert "requires bus to be 'scsi' or 'virtio'" in failure.message
        assert vmi.spec.volumes == ()
        ask_for(rig, "data")
        await rig.settle()
        vm = rig.vm()
        assert vm is not None
        assert conditions.find(vm.status.conditions, "Failure") is None
        assert list(entries(rig)) == ["data"]


async def test_a_disk_that_is_in_the_guest_is_changed_by_a_restart_only() -> None:
    async with running() as rig:
        await guest(rig, "data")
        await plugged(rig, "data")
        ask_for(rig, "data", serial="another")
        await rig.settle()
        assert restart_required(rig)
        ask_for(rig, "data")
        await rig.settle()
        assert not restart_required(rig)


async def test_a_guest_that_moves_takes_its_disks_along() -> None:
    async with running() as rig:
        await guest(rig, "data")
        source = await plugged(rig, "data")
        await rig.kube.create(VMIM, v1.VirtualMachineInstanceMigration(
            metadata=core.ObjectMeta(name="move", uid="move-uid"),
            spec=v1.VirtualMachineInstanceMigrationSpec(vmi_name="vm1")), NAMESPACE)

        async def target() -> core.Pod:
            async with asyncio.timeout(HANG_S):
                while True:
                    for pod in (await rig.kube.list(POD, NAMESPACE)).items:
                        if names.MIGRATION_JOB_UID_LABEL in pod.metadata.labels:
                            return pod
                    await asyncio.sleep(0.001)

        launcher = await target()
        rig.runs(launcher, "node2")
        await rig.settle()
        phase = rig.kube.peek(VMIM, "move", NAMESPACE).status.phase  # type: ignore[union-attr]
        assert phase == "Scheduling", "its disks are not there yet"
        (pod,) = [each for each in (await rig.kube.list(POD, NAMESPACE)).items
                  if launcher.metadata.uid in [owner.uid for owner in each.metadata.owner_references]]
        assert pod.metadata.uid != source.metadata.uid
        rig.runs(pod, "node2")
        await rig.settle()
        vmi = rig.vmi()
        assert vmi is not None
        state = vmi.status.migration_state
        assert state is not None
        assert state.target_attachment_pod_uid == pod.metadata.uid
        assert entries(rig)["data"].hotplug_volume.attach_pod_uid == source.metadata.uid  # type: ignore[union-attr]
        # The target takes it over, and the source's launcher ends.
        came = replace(state, completed=True, start_timestamp="2026-01-01T00:00:00Z")
        rig.kube.put(VMI, replace(
            vmi, metadata=replace(vmi.metadata, labels={**vmi.metadata.labels, names.NODE_NAME_LABEL: "node2"}),
            status=replace(vmi.status, node_name="node2", migration_state=came)))
        await rig.settle()
        assert entries(rig)["data"].hotplug_volume.attach_pod_uid == pod.metadata.uid  # type: ignore[union-attr]
        (old,) = [each for each in (await rig.kube.list(POD, NAMESPACE)).items
                  if each.metadata.labels.get("kubevirt.io") == "virt-launcher" and each.spec.node_name == "node1"]
        rig.kube.put(POD, replace(old, status=replace(old.status, phase="Succeeded")))
        found = await attachments(rig)
        assert [each.metadata.uid for each in found.values()] == [pod.metadata.uid]


async def test_the_container_says_what_it_asks_for() -> None:
    async with running() as rig:
        await guest(rig, "data")
        ask_for(rig, "data")
        (container,) = (await attachments(rig))["data"].spec.containers
        assert container.name == CONTAINER
        assert container.resources.requests == {"cpu": "10m", "memory": "2M"}


async def test_a_guest_starts_where_its_plugged_claim_is() -> None:
    async with running() as rig:
        made = await rig.kube.create(PVC, core.PersistentVolumeClaim(
            metadata=core.ObjectMeta(name="data"),
            spec=core.PersistentVolumeClaimSpec(access_modes=("ReadWriteOnce",), volume_name="pv1")), NAMESPACE)
        rig.kube.put(PVC, replace(made, status=core.PersistentVolumeClaimStatus(phase="Bound")))
        term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node7"]}]}
        await rig.kube.create(PERSISTENT_VOLUME, {
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv1"},
            "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}})
        await rig.settle()
        await rig.kube.create(VM, virtual_machine(run_strategy="Halted"), NAMESPACE)
        ask_for(rig, "data")
        vm = rig.vm()
        assert vm is not None
        rig.kube.put(VM, replace(vm, spec=replace(vm.spec, run_strategy="Always")))
        pod = await rig.launcher()
        assert pod.spec.affinity is not None
        assert pod.spec.affinity.node_affinity is not None
        required = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution
        assert required is not None
        assert [each.values for each in required.node_selector_terms[0].match_expressions
                if each.key == "kubernetes.io/hostname"] == [("node7",)]


def test_all_selectors_hold_at_once() -> None:
    def term(*keys: str) -> core.NodeSelectorTerm:
        return core.NodeSelectorTerm(match_expressions=tuple(
            core.NodeSelectorRequirement(key=key, operator="Exists") for key in keys))

    def selector(*terms: core.NodeSelectorTerm) -> core.NodeSelector:
        return core.NodeSelector(node_selector_terms=terms)

    pod = places.within(core.Pod(), (selector(term("a"), term("b")),))
    pod = places.within(pod, (selector(term("c")), selector(term("d"), term("e"))))
    found = pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution  # type: ignore[union-attr]
    assert found is not None
    assert [[each.key for each in one.match_expressions] for one in found.node_selector_terms] == [
        ["a", "c", "d"], ["a", "c", "e"], ["b", "c", "d"], ["b", "c", "e"]]
    assert places.within(core.Pod(), ()) == core.Pod()
