"""The loop of nodes: a node whose handler has gone silent gets no new VMs, and its VMIs are looked at again."""

from typing import Final

from virt.api import core, jsonpatch, names
from virt.base.clock import Clock, RealClock
from virt.controller import writes
from virt.controller.node.health import SILENCE, is_lost
from virt.kube.client import Client, JsonPatch
from virt.kube.controller import Result
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer

_LOOK_S: Final = 60.0


class NodeReconciler:
    def __init__(
        self, client: Client, nodes: Informer[core.Node], recorder: EventRecorder, *, clock: Clock | None = None
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._recorder = recorder
        self._clock = clock or RealClock()

    async def reconcile(self, key: str) -> Result:
        node = self._nodes.store.get(key)
        if node is None or names.HEARTBEAT_ANNOTATION not in node.metadata.annotations:
            return Result()
        label = node.metadata.labels.get(names.SCHEDULABLE_LABEL)
        if is_lost(node, self._clock.now(), self._nodes.heard_s()) and label == "true":
            place = jsonpatch.pointer("metadata", "labels", names.SCHEDULABLE_LABEL)
            patch = JsonPatch((
                jsonpatch.add("/metadata/resourceVersion", node.metadata.resource_version),
                jsonpatch.add(place, "false"),
            ))
            if await writes.patched(self._client, self._nodes, node, patch) is None:
                return Result()
            minutes = int(SILENCE.total_seconds() // 60)
            self._recorder.event(
                node, "Warning", "NodeUnresponsive",
                f"virt-handler has sent no heartbeat for {minutes} minutes, no virtual machine is placed here")
        return Result(requeue_after_s=_LOOK_S)
