"""Carries out a plan for a VMI's pods, and tells of it in events."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from virt.api import conditions, core, jsonpatch, names, v1
from virt.api.kinds import POD
from virt.controller import owners, writes
from virt.controller.vmi import attachments
from virt.controller.vmi.conditions import FAILED_CREATE, FAILED_DELETE, FAILED_PVC, PAUSED, Fault
from virt.controller.vmi.hotplug import places
from virt.controller.vmi.plan import Action, CreatePod, DeletePod, World, is_over
from virt.controller.vmi.pod import hostdevices
from virt.controller.vmi.pod.template import Context, launcher_pod
from virt.kube.client import ApiError, Client, ConflictError, JsonPatch
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer


@dataclass(frozen=True)
class Outcome:
    """``deleted``: uids of pods; ``error``: what to raise once the outcome is stored."""

    created: core.Pod | None = None
    deleted: frozenset[str] = frozenset()
    fault: Fault | None = None
    error: ApiError | None = None


class PodWriter:
    def __init__(self, client: Client, pods: Informer[core.Pod], recorder: EventRecorder) -> None:
        self._client = client
        self._pods = pods
        self._recorder = recorder

    async def carry_out(self, actions: Iterable[Action], world: World, context: Callable[[], Context]) -> Outcome:
        vmi = world.vmi
        created, deleted = None, set[str]()
        for action in actions:
            try:
                match action:
                    case CreatePod():
                        made_from = context()
                        if refused := hostdevices.not_permitted(vmi.spec, made_from.config):
                            return Outcome(fault=self._not_permitted(vmi, refused))
                        created = await self._create(vmi, made_from)
                    case DeletePod(pod):
                        await self._delete(vmi, pod)
                        deleted.add(pod.metadata.uid)
            except ApiError as error:
                return Outcome(created, frozenset(deleted), _fault(action, error), error)
        return Outcome(created, frozenset(deleted), self._missing(world, created))

    async def tell_paused(self, world: World) -> None:
        """Keep the pod's readiness gate in step with the guest: a paused one leaves its Services."""
        pod = world.pod
        if pod is None or is_over(pod) or world.vmi.status.phase not in ("Scheduled", "Running"):
            return
        patch = gate_patch(pod, paused=conditions.is_true(world.vmi.status.conditions, PAUSED))
        if patch is not None:
            await writes.patched(self._client, self._pods, pod, patch, subresource="status")

    async def _create(self, vmi: v1.VirtualMachineInstance, context: Context) -> core.Pod:
        try:
            functions = await attachments.functions(self._client, vmi)
            nodes = await places.selectors(self._client, vmi, context.claims)
        except ApiError as error:
            self._tell_failed(vmi, _explained(error))
            raise
        pod = places.within(launcher_pod(vmi, replace(context, functions=functions)), nodes)
        try:
            created = await self._client.create(POD, pod, vmi.metadata.namespace)
        except ConflictError:
            # The name is fixed per VMI: somebody (we, before losing the lease) has made it already.
            there = await self._client.get(POD, pod.metadata.name, vmi.metadata.namespace)
            if not owners.is_controlled_by(there.metadata, vmi.metadata.uid):
                raise
            self._pods.learn(there)
            return there
        except ApiError as error:
            self._tell_failed(vmi, _explained(error))
            raise
        self._pods.learn(created)
        self._recorder.event(vmi, "Normal", "SuccessfulCreate", f"Created virtual machine pod {created.metadata.name}")
        return created

    async def _delete(self, vmi: v1.VirtualMachineInstance, pod: core.Pod) -> None:
        name = pod.metadata.name
        try:
            is_deleted = await writes.delete(self._client, POD, pod)
        except ApiError as error:
            self._recorder.event(vmi, "Warning", FAILED_DELETE, f"Error deleting pod {name}: {error.message}")
            raise
        if is_deleted:
            self._recorder.event(vmi, "Normal", "SuccessfulDelete", f"Deleted virtual machine pod {name}")

    def _not_permitted(self, vmi: v1.VirtualMachineInstance, message: str) -> Fault:
        known = conditions.find(vmi.status.conditions, "Synchronized")
        if known is None or known.message != message:
            self._tell_failed(vmi, message)
        return Fault(FAILED_CREATE, message)

    def _tell_failed(self, vmi: v1.VirtualMachineInstance, message: str) -> None:
        self._recorder.event(vmi, "Warning", FAILED_CREATE, f"Error creating pod: {message}")

    def _missing(self, world: World, created: core.Pod | None) -> Fault | None:
        vmi = world.vmi
        waits = created is None and not world.pods and vmi.status.phase in ("", "Pending")
        if not waits or vmi.metadata.deletion_timestamp is not None or not world.missing_claims:
            return None
        message = f"PVC {vmi.metadata.namespace}/{world.missing_claims[0]} does not exist, waiting for it to appear"
        known = conditions.find(vmi.status.conditions, "Synchronized")
        if known is None or known.message != message:
            self._recorder.event(vmi, "Normal", FAILED_PVC, message)
        return Fault(FAILED_PVC, message)


def gate_patch(pod: core.Pod, *, paused: bool) -> JsonPatch | None:
    """The patch of the pod's status that sets the readiness gate; None when it says the right thing already."""
    status, reason = ("False", "Paused") if paused else ("True", "NotPaused")
    message = "the virtual machine is paused" if paused else "the virtual machine is not paused"
    wanted = {"type": names.UNPAUSED_READINESS_GATE, "status": status, "reason": reason, "message": message}
    for index, known in enumerate(pod.status.conditions):
        if known.type == names.UNPAUSED_READINESS_GATE:
            if known.status == status:
                return None
            place = jsonpatch.pointer("status", "conditions", index)
            return JsonPatch((
                jsonpatch.test(f"{place}/type", names.UNPAUSED_READINESS_GATE),
                {"op": "replace", "path": place, "value": wanted},
            ))
    guard = jsonpatch.add("/metadata/resourceVersion", pod.metadata.resource_version)
    if not pod.status.conditions:
        return JsonPatch((guard, jsonpatch.add("/status/conditions", [wanted])))
    return JsonPatch((guard, jsonpatch.add("/status/conditions/-", wanted)))


def _fault(action: Action, error: ApiError) -> Fault | None:
    if isinstance(error, ConflictError) and error.reason != "AlreadyExists":
        return None                     # a lost race is nobody's fault
    return Fault(FAILED_CREATE if isinstance(action, CreatePod) else FAILED_DELETE, _explained(error))


def _explained(error: ApiError) -> str:
    if error.code == 403 and "violates PodSecurity" in error.message:
        return f"the namespace's pod security standard refuses the launcher pod of this VMI: {error.message}"
    return error.message
