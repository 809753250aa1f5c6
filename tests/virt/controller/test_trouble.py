"""What goes wrong on the way: refusals, crashes, lost races, a successor that takes over."""

from typing import TypeVar, cast

from msgspec.structs import replace

from tests.virt.controller.rig import NAMESPACE, AdmittingKube, instance, running, virtual_machine
from virt.api import conditions, core, names, v1
from virt.api.kinds import CONTROLLER_REVISION, EVENT, NODE, POD, VM, VMI, Kind
from virt.controller.node.health import HEARD_S
from virt.controller.vmi.apply import gate_patch
from virt.controller.vmi.pod.naming import pod_name
from virt.kube.client import ApiError, Patch

T = TypeVar("T")

REFUSED = ApiError(403, "Forbidden", 'pods "x" is forbidden: violates PodSecurity "restricted:latest": ...')


async def test_a_refused_pod_is_told_and_tried_again() -> None:
    async with running() as rig:
        rig.kube.fail("create", "pods", REFUSED, times=4)
        rig.kube.put(VMI, instance("vm1"))
        failed = await rig.trouble()
        assert failed.reason == "FailedCreate"
        assert "pod security standard" in failed.message
        await rig.phase("Scheduling")
        await rig.settle()
        vmi = await rig.phase("Scheduling")
        assert conditions.find(vmi.status.conditions, "Synchronized") is None
        events = {event.reason: event for event in (await rig.kube.list(EVENT, NAMESPACE)).items}
        assert events["FailedCreate"].type == "Warning"
        assert events["FailedCreate"].count == 4


async def test_a_refused_vmi_is_a_failure_of_the_vm_until_it_works() -> None:
    async with running() as rig:
        rig.kube.fail("create", "virtualmachineinstances", ApiError(422, "Invalid", "spec.x is bad"), times=4)
        await rig.kube.create(VM, virtual_machine(run_strategy="RerunOnFailure"), NAMESPACE)
        vm = await rig.until(
            lambda: found if (found := rig.vm()) and conditions.find(found.status.conditions, "Failure") else None)
        failure = conditions.find(vm.status.conditions, "Failure")
        assert failure is not None
        assert (failure.reason, vm.status.run_strategy) == ("FailedCreate", "")
        assert "spec.x is bad" in failure.message
        vm = await rig.printable("Starting")
        await rig.until(lambda: (found := rig.vm()) and not conditions.find(found.status.conditions, "Failure"))


class RacedKube(AdmittingKube):
    """Somebody else makes each pod a moment before we do."""

    async def create(self, kind: Kind[T], obj: T, namespace: str | None = None, *, dry_run: bool = False) -> T:
        if isinstance(obj, core.Pod):
            self.put(POD, cast("core.Pod", obj))
        return await super().create(kind, obj, namespace, dry_run=dry_run)


async def test_a_leader_that_was_replaced_makes_no_second_pod() -> None:
    async with running(RacedKube()) as rig:
        rig.kube.put(VMI, instance("vm1"))
        vmi = await rig.phase("Scheduling")
        await rig.settle()
        pods = (await rig.kube.list(POD, NAMESPACE)).items
        assert [pod.metadata.name for pod in pods] == [pod_name(vmi)]
        assert (await rig.phase("Scheduling")).status.active_pods == {pods[0].metadata.uid: ""}


async def test_a_strangers_pod_of_that_name_is_not_taken_over() -> None:
    async with running() as rig:
        vmi = instance("vm1", uid="11111111-0000-4000-8000-000000000000")
        rig.kube.put(POD, core.Pod(metadata=core.ObjectMeta(name=pod_name(vmi), namespace=NAMESPACE)))
        rig.kube.put(VMI, vmi)
        await rig.settle()
        found = rig.vmi()
        assert found is not None
        assert found.status.phase == "Pending"
        failed = conditions.find(found.status.conditions, "Synchronized")
        assert failed is not None
        assert failed.reason == "FailedCreate"


async def test_guests_that_never_come_up_are_started_ever_later() -> None:
    async with running() as rig:
        await rig.kube.create(VM, virtual_machine(run_strategy="Always"), NAMESPACE)
        pod = await rig.launcher()
        await rig.phase("Scheduling")
        rig.kube.put(POD, replace(rig.runs(pod), status=core.PodStatus(phase="Failed")))
        await rig.pods_deleted()
        rig.gone(pod)
        vm = await rig.printable("CrashLoopBackOff")
        failure = vm.status.start_failure
        assert failure is not None
        assert failure.consecutive_fail_count == 1
        assert failure.retry_after_timestamp == "2026-01-01T00:00:10Z"
        await rig.until(lambda: rig.vmi() is None)
        await rig.settle()
        assert rig.vmi() is None
        rig.clock.passed_s += 11
        vm = await rig.printable("CrashLoopBackOff")
        rig.kube.put(VM, replace(vm, metadata=replace(vm.metadata, labels={"touched": "yes"})))
        await rig.launcher()
        await rig.printable("Starting")


async def test_a_failed_guest_runs_again_under_rerun_on_failure_and_a_finished_one_does_not() -> None:
    async with running() as rig:
        await rig.kube.create(VM, virtual_machine(run_strategy="RerunOnFailure"), NAMESPACE)
        pod = await rig.boot()
        first = await rig.phase("Running")
        rig.guest("Failed")
        await rig.pods_deleted()
        rig.gone(pod)
        await rig.until(lambda: (found := rig.vmi()) and found.metadata.uid != first.metadata.uid)
        pod = await rig.boot()
        await rig.printable("Running")
        rig.guest("Succeeded")
        await rig.until(lambda: [call.verb for call in rig.kube.writes if call.plural == "pods"].count("delete") == 2)
        rig.gone(pod)
        await rig.until(lambda: rig.vmi() is None)
        await rig.settle()
        vm = await rig.printable("Stopped")
        assert rig.vmi() is None
        assert vm.status.state_change_requests == ()


async def test_a_changed_template_asks_for_a_restart_and_another_change_does_not() -> None:
    async with running() as rig:
        await rig.kube.create(VM, virtual_machine(run_strategy="Always"), NAMESPACE)
        await rig.boot()
        vm = await rig.printable("Running")
        template = vm.spec.template
        assert template is not None
        changed = replace(template, spec=replace(template.spec, hostname="other"))
        second = replace(vm.metadata, generation=2)
        rig.kube.put(VM, replace(vm, metadata=second, spec=replace(vm.spec, template=changed)))
        await rig.until(lambda: (found := rig.vm()) and conditions.is_true(found.status.conditions, "RestartRequired"))
        vm = rig.vm() or vm
        assert (vm.status.observed_generation, vm.status.desired_generation) == (1, 2)
        rig.kube.put(VM, replace(vm, metadata=replace(vm.metadata, generation=3), spec=replace(
            vm.spec, template=template, run_strategy="Manual")))
        await rig.until(lambda: (found := rig.vm()) and found.status.observed_generation == 3)
        await rig.settle()
        vm = rig.vm() or vm
        assert conditions.find(vm.status.conditions, "RestartRequired") is None
        revisions = (await rig.kube.list(CONTROLLER_REVISION, NAMESPACE)).items
        assert [revision.metadata.name for revision in revisions] == [f"revision-start-vm-{vm.metadata.uid}-1"]


async def test_a_halted_vm_starts_paused_when_asked_to() -> None:
    async with running() as rig:
        paused = v1.VirtualMachineStateChangeRequest(action="Start", data={"paused": "true"})
        vm = await rig.kube.create(VM, virtual_machine(run_strategy="Halted"), NAMESPACE)
        await rig.printable("Stopped")
        vm = rig.vm() or vm
        rig.kube.put(VM, replace(vm, status=replace(vm.status, state_change_requests=(paused,))))
        vmi = await rig.until(lambda: rig.vmi())
        assert vmi.spec.start_strategy == "Paused"
        vm = await rig.printable("Starting")
        assert (vm.spec.run_strategy, vm.status.state_change_requests) == ("Always", ())


async def test_guests_of_a_silent_node_fail_once_their_launcher_is_over() -> None:
    async with running() as rig:
        rig.kube.put(VMI, instance("vm1"))
        pod = await rig.boot()
        rig.kube.put(NODE, core.Node(metadata=core.ObjectMeta(
            name="node1", labels={names.SCHEDULABLE_LABEL: "true"},
            annotations={names.HEARTBEAT_ANNOTATION: "2025-12-31T23:00:00Z"})))
        rig.clock.passed_s += HEARD_S
        await rig.settle()
        assert (rig.vmi() or instance()).status.phase == "Running"
        known = rig.kube.peek(POD, pod.metadata.name, NAMESPACE)
        assert known is not None
        rig.kube.put(POD, replace(known, status=replace(known.status, phase="Failed")))
        vmi = await rig.phase("Failed")
        assert vmi.status.reason == "NodeUnresponsive"


async def test_the_handler_may_say_how_a_guest_ended_after_its_pod_is_gone() -> None:
    async with running() as rig:
        await rig.without_its_pod()
        assert not (await rig.kube.list(POD, NAMESPACE)).items
        rig.guest("Succeeded")
        await rig.settle()
        assert (rig.vmi() or instance()).status.phase == "Succeeded"


async def test_a_guest_of_which_nobody_says_how_it_ended_has_failed() -> None:
    async with running() as rig:
        await rig.without_its_pod()
        vmi = rig.vmi()
        assert vmi is not None
        assert vmi.status.phase == "Running"
        rig.clock.passed_s += 15
        rig.kube.put(VMI, replace(vmi, metadata=replace(vmi.metadata, labels={"touched": "yes"})))
        await rig.phase("Failed")


def test_the_gate_is_written_only_when_it_changes() -> None:
    gate = core.Condition(type=names.UNPAUSED_READINESS_GATE, status="True")
    pod = core.Pod(metadata=core.ObjectMeta(name="p", resource_version="7"),
                   status=core.PodStatus(conditions=(core.Condition(type="Ready"), gate)))
    assert gate_patch(pod, paused=False) is None
    patch = gate_patch(pod, paused=True)
    assert patch is not None
    assert [(operation["op"], operation["path"]) for operation in patch.operations] == [
        ("test", "/status/conditions/1/type"), ("replace", "/status/conditions/1")]


class WatchingKube(AdmittingKube):
    """Notes what the VM knew of failed starts whenever its VMI lost the finalizer that waits for the VM."""

    def __init__(self) -> None:
        super().__init__()
        self.known: list[v1.VirtualMachineStartFailure | None] = []

    async def patch(
        self, kind: Kind[T], name: str, patch: Patch, *, namespace: str | None = None, subresource: str = "",
        dry_run: bool = False,
    ) -> T:
        before = self.peek(VMI, name, namespace) if kind.plural == VMI.plural else None
        after = await super().patch(kind, name, patch, namespace=namespace, subresource=subresource, dry_run=dry_run)
        mine = names.VM_CONTROLLER_FINALIZER
        if before is not None and mine in before.metadata.finalizers:
            left = cast("v1.VirtualMachineInstance", after).metadata.finalizers
            vm = self.peek(VM, name, namespace)
            if mine not in left and vm is not None:
                self.known.append(vm.status.start_failure)
        return after


async def test_a_vmi_is_let_go_when_the_vm_has_stored_how_it_ended() -> None:
    """Else a lost race of that write would lose a failed start, and with it the back-off."""
    kube = WatchingKube()
    async with running(kube) as rig:
        await rig.kube.create(VM, virtual_machine(run_strategy="Always"), NAMESPACE)
        await rig.launcher()
        await rig.phase("Scheduling")
        await rig.kube.delete(VMI, "vm1", NAMESPACE)
        await rig.until(lambda: kube.known)
        failure = kube.known[0]
        assert failure is not None
        assert failure.consecutive_fail_count == 1
