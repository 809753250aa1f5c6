"""Carries out what a VirtualMachine's plan wants of its VMI, and tells of it in events."""

from collections.abc import Iterable
from dataclasses import dataclass

from virt.api import jsonpatch, names, v1
from virt.api.kinds import CONTROLLER_REVISION, VM, VMI
from virt.base import log
from virt.controller import writes
from virt.controller.vm import instance
from virt.controller.vm.plan import ALWAYS, Action, CreateVmi, DeleteVmi, SetRunning
from virt.controller.vmi.status import revision_name
from virt.kube.client import ApiError, Client, ConflictError, JsonPatch, Selector
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer

FAILED_CREATE = "FailedCreate"
FAILED_DELETE = "FailedDelete"
_VERBS = {FAILED_CREATE: "creating", FAILED_DELETE: "deleting"}

_logger = log.get("virt.controller.vm")


@dataclass(frozen=True)
class Outcome:
    """``fault``: condition Failure; ``error``: what to raise once the outcome is stored."""

    created: v1.VirtualMachineInstance | None = None
    deleted: bool = False
    fault: v1.Condition | None = None
    error: ApiError | None = None


class InstanceWriter:
    def __init__(
        self, client: Client, vmis: Informer[v1.VirtualMachineInstance], recorder: EventRecorder
    ) -> None:
        self._client = client
        self._vmis = vmis
        self._recorder = recorder

    async def carry_out(self, actions: Iterable[Action], vm: v1.VirtualMachine) -> Outcome:
        created, deleted = None, False
        for action in actions:
            try:
                match action:
                    case CreateVmi(paused):
                        created = await self._create(vm, paused=paused)
                    case DeleteVmi(vmi):
                        await self._delete(vm, vmi)
                        deleted = True
                    case SetRunning():
                        await self._set_running(vm)
            except ApiError as error:
                return Outcome(created, deleted, _failure(action, error), error)
        return Outcome(created, deleted)

    async def release(self, vmi: v1.VirtualMachineInstance) -> None:
        """Take the VM's finalizer off its VMI."""
        kept = [name for name in vmi.metadata.finalizers if name != names.VM_CONTROLLER_FINALIZER]
        patch = JsonPatch((
            jsonpatch.test("/metadata/finalizers", list(vmi.metadata.finalizers)),
            jsonpatch.add("/metadata/finalizers", kept),
        ))
        await writes.patched(self._client, self._vmis, vmi, patch)

    async def change(self, vmi: v1.VirtualMachineInstance, new: v1.VirtualMachineInstance) -> None:
        """Spec and status in one write. Raises ConflictError for a lost race."""
        patch = writes.between(vmi, new, "spec", "status")
        if patch is not None:
            await writes.patched(self._client, self._vmis, vmi, patch)

    async def note_generation(
        self, vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance
    ) -> v1.VirtualMachineInstance:
        """The template is as it was: the running VMI counts as made from the VM's present generation."""
        place = jsonpatch.pointer("metadata", "annotations", names.VM_GENERATION_ANNOTATION)
        patch = JsonPatch((
            jsonpatch.test(place, vmi.metadata.annotations.get(names.VM_GENERATION_ANNOTATION)),
            jsonpatch.add(place, str(vm.metadata.generation)),
        ))
        stored = await self._client.patch(VMI, vmi.metadata.name, patch, namespace=vmi.metadata.namespace)
        self._vmis.learn(stored)
        return stored

    async def _create(self, vm: v1.VirtualMachine, *, paused: bool) -> v1.VirtualMachineInstance:
        vmi = instance.made_from(vm, paused=paused)
        namespace = vm.metadata.namespace
        try:
            await self._remember(vm)
            created = await self._client.create(VMI, vmi, namespace)
        except ApiError as error:
            self._recorder.event(
                vm, "Warning", FAILED_CREATE, f"Error creating virtual machine instance: {error.message}")
            raise
        self._vmis.learn(created)
        self._recorder.event(
            vm, "Normal", "SuccessfulCreate",
            f"Started the virtual machine by creating the new virtual machine instance {created.metadata.name}",
        )
        await self._forget_others(vm)
        return created

    async def _delete(self, vm: v1.VirtualMachine, vmi: v1.VirtualMachineInstance) -> None:
        name = vmi.metadata.name
        try:
            is_deleted = await writes.delete(self._client, VMI, vmi)
        except ApiError as error:
            self._recorder.event(
                vm, "Warning", FAILED_DELETE, f"Error deleting virtual machine instance {name}: {error.message}")
            raise
        if is_deleted:
            self._recorder.event(
                vm, "Normal", "SuccessfulDelete",
                f"Stopped the virtual machine by deleting the virtual machine instance {name}")

    async def _set_running(self, vm: v1.VirtualMachine) -> None:
        field = ("/spec/runStrategy", ALWAYS) if vm.spec.run_strategy is not None else ("/spec/running", True)
        guard = jsonpatch.add("/metadata/resourceVersion", vm.metadata.resource_version)
        patch = JsonPatch((guard, jsonpatch.add(*field)))
        await self._client.patch(VM, vm.metadata.name, patch, namespace=vm.metadata.namespace)

    async def _remember(self, vm: v1.VirtualMachine) -> None:
        try:
            await self._client.create(CONTROLLER_REVISION, instance.revision_of(vm), vm.metadata.namespace)
        except ConflictError:
            return                      # this generation has been started before

    async def _forget_others(self, vm: v1.VirtualMachine) -> None:
        """Remove the revisions of earlier starts. They do no harm: what fails here is tried at the next start."""
        namespace, kept = vm.metadata.namespace, revision_name(vm.metadata.uid, vm.metadata.generation)
        labels = ",".join(f"{key}={value}" for key, value in instance.revision_labels(vm).items())
        try:
            for found in (await self._client.list(CONTROLLER_REVISION, namespace, Selector(labels=labels))).items:
                mine = any(owner.uid == vm.metadata.uid for owner in found.metadata.owner_references)
                if mine and found.metadata.name != kept:
                    await self._client.delete(CONTROLLER_REVISION, found.metadata.name, namespace)
        except ApiError as error:
            _logger.info("old revisions stay", vm=vm.metadata.name, namespace=namespace, error=str(error))


def _failure(action: Action, error: ApiError) -> v1.Condition | None:
    if isinstance(error, ConflictError) and error.reason != "AlreadyExists":
        return None                     # a lost race
    reason = FAILED_DELETE if isinstance(action, DeleteVmi) else FAILED_CREATE
    message = f"Error encountered while {_VERBS[reason]} the virtual machine instance: {error.message}"
    return v1.Condition(type="Failure", status="True", reason=reason, message=message)
