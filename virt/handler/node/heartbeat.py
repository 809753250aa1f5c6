"""The node's sign of life: label kubevirt.io/schedulable, annotation kubevirt.io/heartbeat, and what VMs it can run.

The label becomes true when pods that ask for our devices really fit, and false when the handler stops or they have not
fitted for a minute. Not at once: launcher pods select the label, a kubelet that restarts drops its plugins first, and
then kills every running pod whose node selector does not hold. The controller takes an old heartbeat for a dead node.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from virt.api import names
from virt.api.defaults import HOST_MODEL
from virt.api.kinds import NODE
from virt.base import log
from virt.base.clock import Clock, rfc3339
from virt.handler.node.labels import changes, labels
from virt.kube.client import ApiError, Client, MergePatch

PERIOD_S = 60.0
JITTER = 0.2
LABELS_PERIOD_S = 180.0
LOOK_S = 0.5
KUBELET_AWAY_S = 60.0         # a kubelet that restarts is back by then; while it is away no pod is started anyway
RETRY_S = 2.0
GOODBYE_S = 5.0

_logger = log.get("virt.handler.heartbeat")


class Heartbeat:
    """``is_ready``: device plugins and launcher socket are up. ``kvm``: guests run on KVM here.
    ``cluster_model``: the CPU model of guests that name none, "" for the node's own."""

    def __init__(
        self, client: Client, node: str, *, is_ready: Callable[[], bool], kvm: Callable[[], bool], clock: Clock,
        cluster_model: Callable[[], str] = lambda: "", cpuinfo: Path = Path("/proc/cpuinfo"),
    ) -> None:
        self._client = client
        self._node = node
        self._is_ready = is_ready
        self._kvm = kvm
        self._clock = clock
        self._cluster_model = cluster_model
        self._cpuinfo = cpuinfo
        self._said: tuple[bool, bool, str] | None = None
        self._due = 0.0
        self._labels_due = 0.0
        self._ready_at: float | None = None

    async def run(self) -> None:
        """Beat until cancelled; then say that this node takes no VMs."""
        try:
            while True:
                await self.beat()
                await self._clock.sleep(LOOK_S)
        finally:
            try:
                async with asyncio.timeout(GOODBYE_S):
                    await self._patch({names.SCHEDULABLE_LABEL: "false"})
            except (ApiError, TimeoutError) as error:
                _logger.warning("node not marked as stopped", error=str(error))

    async def beat(self) -> None:
        """One look: writes when it is time, or when something is different from what was said."""
        now = self._clock.monotonic()
        state = (self._schedulable(now), self._kvm(), self._cluster_model())
        if state == self._said and now < self._due:
            return
        if self._said is None and not state[0] and self._due == 0.0:
            _logger.info("not ready to take VMs yet")
        try:
            wanted: dict[str, str | None] = {
                names.SCHEDULABLE_LABEL: str(state[0]).lower(), names.KVM_LABEL: str(state[1]).lower(),
            }
            if now >= self._labels_due or self._said is None or state[1:] != self._said[1:]:
                wanted |= await self._ability(*state[1:])
                self._labels_due = now + LABELS_PERIOD_S
            await self._patch(wanted)
        except ApiError as error:
            _logger.warning("heartbeat not written", error=str(error))
            self._due = now + RETRY_S
            await self._clock.sleep(RETRY_S)
            return
        if state != self._said:
            _logger.info("node labelled", schedulable=state[0], kvm=state[1], cluster_model=state[2])
        self._said = state
        self._due = now + PERIOD_S * (1 + JITTER * random.random())

    def _schedulable(self, now: float) -> bool:
        if self._is_ready():
            self._ready_at = now
        return self._ready_at is not None and now - self._ready_at < KUBELET_AWAY_S

    async def _ability(self, kvm: bool, emulated: str) -> dict[str, str | None]:
        node = await self._client.get(NODE, self._node)
        if node.metadata.annotations.get(names.SKIP_NODE_LABELLER_ANNOTATION) == "true":
            return {}
        if emulated in ("", HOST_MODEL, "host-passthrough"):
            emulated = names.EMULATED_CPU_MODEL
        return changes(node.metadata.labels, labels(self._cpuinfo.read_text(), kvm=kvm, emulated=emulated))

    async def _patch(self, wanted: Mapping[str, Any]) -> None:
        annotations = {names.HEARTBEAT_ANNOTATION: rfc3339(self._clock.now())}
        await self._client.patch(
            NODE, self._node, MergePatch({"metadata": {"labels": dict(wanted), "annotations": annotations}})
        )
