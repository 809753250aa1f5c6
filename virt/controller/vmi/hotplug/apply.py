"""Makes and deletes attachment pods, and tells of it in events."""

from collections.abc import Iterable
from dataclasses import dataclass

from virt.api import core, v1
from virt.api.kinds import POD
from virt.controller import owners, writes
from virt.controller.vmi.hotplug.plan import Action, CreateAttachment, DeleteAttachment
from virt.controller.vmi.hotplug.pod import attachment_pod
from virt.controller.vmi.pod.template import Context
from virt.kube.client import ApiError, Client, ConflictError
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer


@dataclass(frozen=True)
class Failure:
    message: str
    error: ApiError


class AttachmentWriter:
    def __init__(self, client: Client, pods: Informer[core.Pod], recorder: EventRecorder) -> None:
        self._client = client
        self._pods = pods
        self._recorder = recorder

    async def carry_out(
        self, actions: Iterable[Action], vmi: v1.VirtualMachineInstance, context: Context
    ) -> Failure | None:
        """What failed first; the others are tried all the same."""
        failure = None
        for action in actions:
            try:
                match action:
                    case CreateAttachment():
                        await self._create(vmi, action, context)
                    case DeleteAttachment(pod):
                        if await writes.delete(self._client, POD, pod):
                            self._recorder.event(
                                vmi, "Normal", "SuccessfulDelete", f"Deleted attachment pod {pod.metadata.name}")
            except ApiError as error:
                failure = failure or Failure(f"attachment pod: {error.message}", error)
        return failure

    async def _create(self, vmi: v1.VirtualMachineInstance, action: CreateAttachment, context: Context) -> None:
        pod = attachment_pod(
            vmi, action.launcher, action.claims, context.config, image=context.launcher_image, limited=context.limited)
        try:
            created = await self._client.create(POD, pod, vmi.metadata.namespace)
        except ConflictError:
            # Its name is fixed: we have made it already, before losing the lease, or the one before it is still going.
            there = await self._client.get(POD, pod.metadata.name, vmi.metadata.namespace)
            if not owners.is_controlled_by(there.metadata, action.launcher.metadata.uid):
                raise
            self._pods.learn(there)
            return
        except ApiError as error:
            self._recorder.event(vmi, "Warning", "FailedCreate", f"Error creating attachment pod: {error.message}")
            raise
        self._pods.learn(created)
        self._recorder.event(vmi, "Normal", "SuccessfulCreate", f"Created attachment pod {created.metadata.name}")
