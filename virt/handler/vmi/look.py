"""What a reconcile sees of a VMI's launcher and its guest, and for how long it has been so.

Clocks of absence live here: how long a launcher has been silent, a guest stopped, or gone in a migration.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Collection

from virt.api import names, v1
from virt.api.kinds import POD, VMI
from virt.api.migrationstate import is_under_way
from virt.base.clock import Clock
from virt.handler.launchers.launcher import Launcher
from virt.handler.vmi.plan import Seen, has_left, is_stopped
from virt.kube.client import ApiError, Client, NotFoundError, Selector
from virt.rpc.messages import DomainState, DomainStatus

GOOD_AFTER_S = 360.0           # a guest that ran so long after an I/O error has got over it
PROCESS_CHECK_AFTER_S = 10.0   # a launcher that lives dials again within a second or two


class Look:
    """Of one node. ``living_pods``: those with any process on it."""

    def __init__(self, client: Client, node: str, living_pods: Callable[[], frozenset[str]], clock: Clock) -> None:
        self._client = client
        self._node = node
        self._living_pods = living_pods
        self._clock = clock
        self._silent_since: dict[str, float] = {}       # by VMI uid
        self._connected_since: dict[str, float] = {}    # by pod uid
        self._left_since: dict[str, float] = {}         # by VMI uid

    async def at(self, vmi: v1.VirtualMachineInstance, launcher: Launcher | None) -> Seen:
        """Raises ApiError when it cannot be told whether a guest that has left still has its VMI."""
        now = self._clock.monotonic()
        uid = vmi.metadata.uid
        seen = await self._here(vmi, launcher, now)
        if not has_left(vmi, seen):
            self._left_since.pop(uid, None)
            return seen
        try:
            await self._client.get(VMI, vmi.metadata.name, vmi.metadata.namespace)
        except NotFoundError:
            pass
        except ApiError:
            # Nor could the target say that the guest is there: such time does not count.
            self._left_since.pop(uid, None)
            raise
        return dataclasses.replace(seen, left_s=now - self._left_since.setdefault(uid, now))

    def forget_pod(self, uid: str) -> None:
        """Its launcher has ended."""
        self._connected_since.pop(uid, None)

    def keep_only(self, uids: Collection[str]) -> None:
        """A VMI that is not one of these is gone."""
        for since in (self._silent_since, self._left_since):
            for uid in since.keys() - uids:
                del since[uid]

    async def _here(self, vmi: v1.VirtualMachineInstance, launcher: Launcher | None, now: float) -> Seen:
        uid = vmi.metadata.uid
        if launcher is not None and launcher.is_connected:
            self._silent_since.pop(uid, None)
            since = self._connected_since.setdefault(launcher.pod_uid, now)
            pressed = launcher.power_button_at
            return Seen(
                launcher.status, connected_s=now - since, power_button_s=None if pressed is None else now - pressed,
                resumes=launcher.resumes, stopped_s=self._stopped_s(launcher, now),
            )
        if launcher is not None:
            self._connected_since.pop(launcher.pod_uid, None)
        if vmi.status.phase not in ("Scheduled", "Running"):
            return Seen(is_connected=False)
        silent_s = now - self._silent_since.setdefault(uid, now)
        if launcher is not None:
            return Seen(launcher.status, is_connected=False, is_gone=launcher.is_dead, silent_s=silent_s)
        if silent_s < PROCESS_CHECK_AFTER_S:
            return Seen(is_connected=False, silent_s=silent_s)
        living = await asyncio.to_thread(self._living_pods)
        is_gone = not any(pod in living for pod, node in vmi.status.active_pods.items() if node == self._node)
        last_words = await self._last_words(vmi) if is_gone else None
        return Seen(last_words, is_connected=False, is_gone=is_gone, silent_s=silent_s)

    async def _last_words(self, vmi: v1.VirtualMachineInstance) -> DomainStatus | None:
        """Of a launcher that ended while no handler was there: its pod's phase tells whether its guest ended well."""
        selector = Selector(labels=f"{names.CREATED_BY_LABEL}={vmi.metadata.uid}")
        pods = (await self._client.list(POD, vmi.metadata.namespace, selector)).items
        ended_well = any(vmi.status.active_pods.get(pod.metadata.uid) == self._node
                         and pod.status.phase == "Succeeded" for pod in pods)
        state = vmi.status.migration_state
        may_have_left = state is not None and is_under_way(state) and state.start_timestamp
        reason = "Migrated" if may_have_left else "Shutdown"
        return DomainStatus(state=DomainState.SHUTOFF, reason=reason) if ended_well else None

    def _stopped_s(self, launcher: Launcher, now: float) -> float:
        """For how long something that nobody wants has stopped the guest, counted from the last try to go on."""
        if launcher.status is not None and is_stopped(launcher.vmi, launcher.status):
            if launcher.stopped_at is None:
                launcher.stopped_at = now
            return now - launcher.stopped_at
        if launcher.stopped_at is not None and now - launcher.stopped_at > GOOD_AFTER_S:
            launcher.stopped_at, launcher.resumes = None, 0
        return 0.0
