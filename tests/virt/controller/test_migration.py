"""Migrations on the fake API server: kubelet, handlers and webhook are played by the test."""

from typing import Any

from msgspec.structs import replace

from tests.virt.controller.rig import NAMESPACE, Rig, instance, running
from virt.api import core, names, v1
from virt.api.kinds import EVENT, KUBEVIRT, NODE, POD, RESOURCE_QUOTA, VMI, VMIM
from virt.kube.client import ApiError, DeleteOptions

State = v1.VirtualMachineInstanceMigrationState


async def guest(rig: Rig, name: str = "vmi1", node: str = "a") -> core.Pod:
    """A VMI that runs."""
    await rig.kube.create(VMI, instance(name), NAMESPACE)

    async def find() -> core.Pod | None:
        pods = (await rig.kube.list(POD, NAMESPACE)).items
        return next((pod for pod in pods if pod.metadata.name.startswith(f"virt-launcher-{name}-")), None)

    pod = None
    while pod is None:
        await rig.settle()
        pod = await find()
    rig.runs(pod, node)
    await rig.phase("Scheduled", name)
    rig.guest("Running", name)
    await rig.settle()
    return pod


async def migrate(rig: Rig, name: str = "job", vmi: str = "vmi1") -> None:
    """As the webhook lets it in."""
    await rig.kube.create(VMIM, v1.VirtualMachineInstanceMigration(
        metadata=core.ObjectMeta(name=name, finalizers=(names.MIGRATION_FINALIZER,)),
        spec=v1.VirtualMachineInstanceMigrationSpec(vmi_name=vmi)), NAMESPACE)


def job(rig: Rig, name: str = "job") -> v1.VirtualMachineInstanceMigration:
    found = rig.kube.peek(VMIM, name, NAMESPACE)
    assert found is not None
    return found


async def reaches(rig: Rig, phase: str, name: str = "job") -> v1.VirtualMachineInstanceMigration:
    return await rig.until(lambda: job(rig, name) if job(rig, name).status.phase == phase else None)


async def target(rig: Rig, node: str = "b") -> core.Pod:
    """The target's pod comes up."""
    await reaches(rig, "Scheduling")
    pods = (await rig.kube.list(POD, NAMESPACE)).items
    pod = next(pod for pod in pods if names.MIGRATION_JOB_UID_LABEL in pod.metadata.labels)
    return rig.runs(pod, node)


def nodes_say(rig: Rig, name: str = "vmi1", **state: Any) -> None:
    """A handler writes into the VMI's migration state."""
    vmi = rig.vmi(name)
    assert vmi is not None
    assert vmi.status.migration_state is not None
    rig.kube.put(VMI, replace(vmi, status=replace(
        vmi.status, migration_state=replace(vmi.status.migration_state, **state))))


async def reasons(rig: Rig, kind: str) -> list[str]:
    await rig.settle()
    return [event.reason for event in (await rig.kube.list(EVENT)).items if event.involved_object.kind == kind]


async def test_a_guest_moves() -> None:
    async with running() as rig:
        source = await guest(rig)
        await migrate(rig)
        pod = await target(rig)
        await reaches(rig, "PreparingTarget")
        vmi = rig.vmi("vmi1")
        assert vmi is not None
        state = vmi.status.migration_state
        assert state is not None
        assert (state.source_node, state.source_pod) == ("a", source.metadata.name)
        assert (state.target_node, state.target_pod) == ("b", pod.metadata.name)
        assert state.migration_configuration is not None
        assert state.migration_configuration.completion_timeout_per_gib == 150
        assert vmi.metadata.labels[names.MIGRATION_TARGET_NODE_LABEL] == "b"
        assert vmi.status.active_pods == {source.metadata.uid: "a", pod.metadata.uid: "b"}
        nodes_say(rig, target_node_address="10.0.0.1")
        await reaches(rig, "TargetReady")
        nodes_say(rig, start_timestamp="2026-01-01T00:00:01Z")
        await reaches(rig, "Running")
        moved = rig.vmi("vmi1")
        assert moved is not None
        labels = {names.NODE_NAME_LABEL: "b"}
        rig.kube.put(VMI, replace(
            moved, metadata=replace(moved.metadata, labels=labels),
            status=replace(moved.status, node_name="b", migration_state=replace(
                moved.status.migration_state or State(), completed=True, end_timestamp="2026-01-01T00:00:02Z"))))
        ended = await reaches(rig, "Succeeded")
        await rig.settle()
        ended = job(rig)
        assert [entry.phase for entry in ended.status.phase_transition_timestamps] == [
            "Pending", "Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running", "Succeeded"]
        vmi = rig.vmi("vmi1")
        assert vmi is not None
        assert ended.status.migration_state == vmi.status.migration_state
        assert ended.metadata.finalizers == ()
        assert (vmi.status.phase, vmi.status.node_name) == ("Running", "b")
        assert rig.kube.peek(POD, pod.metadata.name, NAMESPACE) is not None
        assert await reasons(rig, "VirtualMachineInstanceMigration") == [
            "SuccessfulCreate", "SuccessfulHandOver", "SuccessfulMigration"]


async def test_a_pod_that_a_tenant_calls_the_targets_is_not_handed_the_guest() -> None:
    async with running() as rig:
        await guest(rig)
        await migrate(rig)
        pod = await target(rig, node="")
        claimed = replace(pod.metadata, name="stranger", uid="s", creation_timestamp="2020-01-01T00:00:00Z")
        rig.runs(replace(pod, metadata=claimed), "c")
        await rig.settle()
        assert job(rig).status.phase == "Scheduling"
        rig.runs(pod, "b")
        await reaches(rig, "PreparingTarget")
        vmi = rig.vmi("vmi1")
        assert vmi is not None
        assert vmi.status.migration_state is not None
        assert vmi.status.migration_state.target_pod == pod.metadata.name


async def test_a_failure_leaves_the_guest_where_it_is() -> None:
    async with running() as rig:
        await guest(rig)
        await migrate(rig)
        pod = await target(rig)
        await reaches(rig, "PreparingTarget")
        nodes_say(rig, failed=True, completed=True, failure_reason="no disk")
        ended = await reaches(rig, "Failed")
        assert ended.status.migration_state is not None
        assert ended.status.migration_state.failure_reason == "no disk"
        await rig.settle()
        left = rig.kube.peek(POD, pod.metadata.name, NAMESPACE)
        assert left is not None
        assert left.metadata.deletion_timestamp
        rig.gone(left)
        await rig.settle()
        vmi = rig.vmi("vmi1")
        assert vmi is not None
        assert names.MIGRATION_TARGET_NODE_LABEL not in vmi.metadata.labels
        assert (vmi.status.phase, vmi.status.node_name) == ("Running", "a")
        assert job(rig).metadata.finalizers == ()
        assert "FailedMigration" in await reasons(rig, "VirtualMachineInstanceMigration")


async def test_a_guest_that_ends_on_the_way_leaves_no_open_migration() -> None:
    async with running() as rig:
        await guest(rig)
        await migrate(rig)
        await target(rig)
        await reaches(rig, "PreparingTarget")
        rig.guest("Succeeded", "vmi1")
        await reaches(rig, "Failed")
        await rig.settle()
        vmi = rig.vmi("vmi1")
        assert vmi is not None
        assert vmi.status.migration_state is not None
        told = vmi.status.migration_state
        assert (told.failed, told.completed, bool(told.end_timestamp)) == (True, True, True)
        assert told.failure_reason == "the VirtualMachineInstance vmi1 has Succeeded"
        assert job(rig).status.migration_state == told


async def test_one_that_is_deleted_before_the_hand_over_is_gone_with_its_pod() -> None:
    async with running() as rig:
        await guest(rig)
        await migrate(rig)
        await reaches(rig, "Scheduling")
        await rig.kube.delete(VMIM, "job", NAMESPACE)
        await rig.until(lambda: rig.kube.peek(VMIM, "job", NAMESPACE) is None)
        await rig.settle()
        pods = (await rig.kube.list(POD, NAMESPACE)).items
        assert [pod for pod in pods if names.MIGRATION_JOB_UID_LABEL in pod.metadata.labels] == []
        assert "SuccessfulAbortMigration" in await reasons(rig, "VirtualMachineInstanceMigration")


async def test_one_that_is_deleted_later_is_aborted_by_the_nodes() -> None:
    async with running() as rig:
        await guest(rig)
        await migrate(rig)
        await target(rig)
        await reaches(rig, "PreparingTarget")
        await rig.kube.delete(VMIM, "job", NAMESPACE)

        def asked() -> bool:
            vmi = rig.vmi("vmi1")
            return bool(vmi and vmi.status.migration_state and vmi.status.migration_state.abort_requested)

        await rig.until(asked)
        # The migration's own status is the write after that.
        await rig.until(lambda: [each.type for each in job(rig).status.conditions] == ["migrationAbortRequested"])
        nodes_say(
            rig, failed=True, completed=True, abort_status="Succeeded",
            failure_reason="Live migration has been aborted")
        await rig.settle()
        pods = (await rig.kube.list(POD, NAMESPACE)).items
        rig.gone(next(pod for pod in pods if names.MIGRATION_JOB_UID_LABEL in pod.metadata.labels))
        await rig.until(lambda: rig.kube.peek(VMIM, "job", NAMESPACE) is None)
        assert "SuccessfulAbortMigration" in await reasons(rig, "VirtualMachineInstanceMigration")
        vmi = rig.vmi("vmi1")
        assert vmi is not None
        assert vmi.status.node_name == "a"


async def test_a_quota_makes_it_wait() -> None:
    async with running() as rig:
        await guest(rig)
        refusal = 'pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
        for _ in range(2):
            rig.kube.fail("create", "pods", ApiError(403, "Forbidden", refusal))
        await migrate(rig)
        await rig.until(lambda: job(rig).status.conditions)
        condition = job(rig).status.conditions[0]
        assert (condition.type, condition.status) == ("migrationRejectedByResourceQuota", "True")
        assert condition.message == refusal
        assert job(rig).status.phase == "Pending"
        await reaches(rig, "Scheduling")
        assert job(rig).status.conditions == ()
        assert (await reasons(rig, "VirtualMachineInstanceMigration")).count("FailedCreate") == 1


async def test_one_that_a_quota_refuses_keeps_nobody_else_waiting() -> None:
    async with running() as rig:
        rig.kube.put(KUBEVIRT, v1.KubeVirt(
            metadata=core.ObjectMeta(name="kubevirt", namespace="kubevirt"),
            spec=v1.KubeVirtSpec(configuration=v1.KubeVirtConfiguration(
                migrations=v1.MigrationConfiguration(parallel_outbound_migrations_per_node=1)))))
        for name in ("one", "two", "three"):
            await guest(rig, name)
        await migrate(rig, "first", "three")
        await reaches(rig, "Scheduling", "first")
        rejected = v1.Condition(type="migrationRejectedByResourceQuota", status="True")
        await migrate(rig, "refused", "one")
        await reaches(rig, "Pending", "refused")
        waiting = job(rig, "refused")
        rig.kube.put(VMIM, replace(waiting, status=replace(waiting.status, conditions=(rejected,))))
        rig.clock.passed_s += 1
        await migrate(rig, "other", "two")
        await reaches(rig, "Pending", "other")
        await rig.settle()
        await rig.kube.delete(VMIM, "first", NAMESPACE)
        await reaches(rig, "Scheduling", "other")
        await rig.settle()
        assert job(rig, "refused").status.phase == "Pending"
        assert [each.type for each in job(rig, "refused").status.conditions] == [rejected.type]


async def test_one_whose_guest_does_not_run_yet_keeps_nobody_else_waiting() -> None:
    async with running() as rig:
        rig.kube.put(KUBEVIRT, v1.KubeVirt(
            metadata=core.ObjectMeta(name="kubevirt", namespace="kubevirt"),
            spec=v1.KubeVirtSpec(configuration=v1.KubeVirtConfiguration(
                migrations=v1.MigrationConfiguration(parallel_migrations_per_cluster=1)))))
        await guest(rig, "two")
        await rig.kube.create(VMI, instance("one"), NAMESPACE)
        await migrate(rig, "early", "one")
        await reaches(rig, "Pending", "early")
        rig.clock.passed_s += 1
        await migrate(rig, "other", "two")
        await reaches(rig, "Scheduling", "other")
        assert job(rig, "early").status.phase == "Pending"


async def test_a_target_has_limits_where_a_quota_counts_them() -> None:
    async with running() as rig:
        await guest(rig)
        await rig.kube.create(RESOURCE_QUOTA, core.ResourceQuota(
            metadata=core.ObjectMeta(name="q"), spec=core.ResourceQuotaSpec(hard={"limits.memory": "4Gi"})), NAMESPACE)
        await rig.settle()
        await migrate(rig)
        pod = await target(rig)
        assert all("memory" in container.resources.limits for container in pod.spec.containers)


async def test_only_so_many_go_at_a_time() -> None:
    async with running() as rig:
        rig.kube.put(KUBEVIRT, v1.KubeVirt(
            metadata=core.ObjectMeta(name="kubevirt", namespace="kubevirt"),
            spec=v1.KubeVirtSpec(configuration=v1.KubeVirtConfiguration(
                migrations=v1.MigrationConfiguration(parallel_outbound_migrations_per_node=1)))))
        for name in ("one", "two", "three"):
            await guest(rig, name)
        for name in ("one", "two", "three"):
            await migrate(rig, f"job-{name}", name)
            rig.clock.passed_s += 1
        await rig.settle()
        phases = [job(rig, f"job-{name}").status.phase for name in ("one", "two", "three")]
        assert phases == ["Scheduling", "Pending", "Pending"]
        await rig.kube.delete(VMIM, "job-one", NAMESPACE)
        await reaches(rig, "Scheduling", "job-two")
        await rig.settle()
        assert job(rig, "job-three").status.phase == "Pending"


async def test_the_last_five_are_kept_and_none_without_the_vmi() -> None:
    async with running() as rig:
        await guest(rig)
        for number in range(7):
            await migrate(rig, f"job{number}")
            await reaches(rig, "Scheduling", f"job{number}")
            pods = (await rig.kube.list(POD, NAMESPACE)).items
            pod = next(pod for pod in pods if pod.metadata.annotations.get(
                names.MIGRATION_JOB_NAME_ANNOTATION) == f"job{number}")
            rig.clock.passed_s += 1
            await rig.kube.delete(POD, pod.metadata.name, NAMESPACE, DeleteOptions(grace_period_s=0))
            await reaches(rig, "Failed", f"job{number}")
            await rig.settle()
        left = [each.metadata.name for each in (await rig.kube.list(VMIM, NAMESPACE)).items]
        assert left == [f"job{number}" for number in range(2, 7)]


async def test_people_are_told_when_no_other_node_has_the_guests_cpu() -> None:
    model, vendor = f"{names.CPU_MODEL_MIGRATION_LABEL_PREFIX}Nehalem", f"{names.CPU_VENDOR_LABEL_PREFIX}Intel"
    own = {f"{names.HOST_MODEL_LABEL_PREFIX}Nehalem": "true", model: "true", vendor: "true"}
    async with running() as rig:
        for name, labels in (("a", own), ("b", {vendor: "true"})):
            await rig.kube.create(NODE, core.Node(metadata=core.ObjectMeta(name=name, labels=labels)))
        await guest(rig)
        await migrate(rig)
        await reaches(rig, "Scheduling")
        pods = (await rig.kube.list(POD, NAMESPACE)).items
        pod = next(pod for pod in pods if names.MIGRATION_JOB_UID_LABEL in pod.metadata.labels)
        assert {model: "true", vendor: "true"}.items() <= pod.spec.node_selector.items()
        assert "NoSuitableNodesForHostModelMigration" not in await reasons(rig, "VirtualMachineInstance")
        refused = core.Condition(type="PodScheduled", status="False", reason="Unschedulable")
        rig.kube.put(POD, replace(pod, status=replace(pod.status, phase="Pending", conditions=(refused,))))
        await rig.settle()
        assert "NoSuitableNodesForHostModelMigration" in await reasons(rig, "VirtualMachineInstance")
        assert job(rig).status.phase == "Scheduling"
