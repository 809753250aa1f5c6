"""The node's loop over its VMIs: look at spec, status, launcher and domain; do one step; write the status once.

What there is to see is gathered by ``look``, all decisions are in ``plan`` and ``status``; here are the effects. Events
are told to people after what they tell of is written, so that a lost race does not tell it twice.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from virt.api import codec, names, v1
from virt.api.kinds import VMI
from virt.api.migrationstate import State, is_under_way
from virt.base import log
from virt.base.clock import Clock
from virt.handler.launchers.launcher import Launcher
from virt.handler.launchers.process import pods_with_processes
from virt.handler.launchers.server import Launchers
from virt.handler.migration.source import Source
from virt.handler.migration.target import Target
from virt.handler.net.model import NetworkPlanError
from virt.handler.vmi import hotplug
from virt.handler.vmi import status as statuses
from virt.handler.vmi.look import Look
from virt.handler.vmi.notes import told
from virt.handler.vmi.patch import status_patch
from virt.handler.vmi.plan import FINAL_PHASES, Action, Plan, Seen, has_come, plan
from virt.handler.vmi.wiring import GuestDevices, Networks, NoDevices, wire
from virt.kube.client import Client, MergePatch, NotFoundError
from virt.kube.controller import DONE, Result
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer
from virt.kube.objects import key_of, meta_of
from virt.rpc.errors import ConnectionLost, RpcError
from virt.rpc.messages import Destroy, DomainState, HostFacts, Shutdown, SyncVmi, Unpause

SYNC_DEADLINE_S = 180.0
ACTION_DEADLINE_S = 30.0
RECONNECT_S = 1.0
EARLY_AGAIN_S = 3.0            # a start that fails before the VMI is scheduled

_logger = log.get("virt.handler.vmi")


@dataclass(frozen=True)
class Node:
    """``facts`` for a launcher that starts now; ``living_pods`` are those with any process on the node."""

    name: str
    facts: Callable[[], HostFacts]
    living_pods: Callable[[], frozenset[str]] = pods_with_processes
    devices: GuestDevices = field(default_factory=NoDevices)


@dataclass(frozen=True)
class Moves:
    """The two sides of migrations. ``incoming``: VMIs that are on their way to this node."""

    source: Source
    target: Target
    incoming: Informer[v1.VirtualMachineInstance]


class VmiReconciler:
    """``reconcile`` for :class:`virt.kube.controller.Controller`; keys are those of VMIs."""

    def __init__(
        self,
        client: Client,
        informer: Informer[v1.VirtualMachineInstance],
        launchers: Launchers,
        networks: Networks,
        recorder: EventRecorder,
        *,
        moves: Moves,
        node: Node,
        clock: Clock,
    ) -> None:
        self._client = client
        self._informer = informer
        self._launchers = launchers
        self._networks = networks
        self._recorder = recorder
        self._moves = moves
        self._node = node
        self._clock = clock
        self._volumes = hotplug.Volumes(node.facts)
        self._look = Look(client, node.name, node.living_pods, clock)
        self._ours: dict[str, v1.VirtualMachineInstance] = {}        # by key: as last seen here
        self._coming: dict[str, v1.VirtualMachineInstance] = {}      # by key: as last seen on its way here

    async def reconcile(self, key: str) -> Result:
        vmi = self._informer.store.get(key)
        coming = self._moves.incoming.store.get(key) if vmi is None else None
        self._remember(key, vmi, coming)
        if coming is not None:
            launcher = self._launchers.of(coming)
            has_ended = launcher is not None and launcher.has_ended
            result = await self._moves.target.reconcile(coming, launcher)
            if launcher is not None and has_ended:
                self._bury(launcher)
            return result
        launcher = self._launchers.of(vmi) if vmi is not None else None
        # As it is now: one that ends while this pass waits has last words that this pass has not read.
        has_ended = launcher is not None and launcher.has_ended
        is_clear = await self._clear_away(key, vmi, launcher)
        if vmi is None:
            return DONE if is_clear else Result(RECONNECT_S)
        if launcher is not None:
            launcher.vmi = vmi
            self._tell_notes(launcher)
        todo = plan(vmi, await self._look.at(vmi, launcher), self._clock.now())
        error: Exception | None = None
        if launcher is not None and todo.action is not Action.NOTHING:
            try:
                todo = await self._act(vmi, launcher, todo)
            except ConnectionLost as lost:
                _logger.info("launcher went away meanwhile", key=key, error=str(lost))
                todo = Plan(vmi.status.phase, again_s=RECONNECT_S)
            except Exception as failed:  # noqa: BLE001  whatever it is, the object must tell it
                todo, error = self._told(vmi, failed)
        if error is None and todo.phase == "Running" and launcher is not None:
            todo, error = await self._plugged(vmi, launcher, todo)
        migration = await self._moved_on(vmi, launcher, todo)
        await self._write(vmi, launcher, todo, str(error) if error else "", migration)
        if launcher is not None and has_ended:
            self._bury(launcher)
        if error is not None and todo.phase not in FINAL_PHASES:
            raise error                     # the queue tries again, more and more slowly
        return Result(todo.again_s)

    def _remember(
        self, key: str, vmi: v1.VirtualMachineInstance | None, coming: v1.VirtualMachineInstance | None
    ) -> None:
        """What has gone from here, or comes no more, leaves nothing that is still joined."""
        for known, now, gone in (
            (self._ours, vmi, self._moves.source.gone), (self._coming, coming, self._moves.target.gone),
        ):
            before = known.pop(key, None)
            if now is not None:
                known[key] = now
            elif before is not None:
                gone(before)

    async def _moved_on(
        self, vmi: v1.VirtualMachineInstance, launcher: Launcher | None, todo: Plan
    ) -> State | None:
        if todo.phase in FINAL_PHASES or launcher is None:
            return vmi.status.migration_state
        try:
            return await self._moves.source.step(vmi, launcher)
        except ConnectionLost as lost:
            _logger.info("launcher went away meanwhile", key=launcher.key, error=str(lost))
            return vmi.status.migration_state

    async def _plugged(
        self, vmi: v1.VirtualMachineInstance, launcher: Launcher, chosen: Plan
    ) -> tuple[Plan, Exception | None]:
        """Hot-plugged volumes; while the guest is on its way elsewhere it keeps those that it has."""
        is_moving = is_under_way(vmi.status.migration_state)
        if not launcher.has_live_guest or is_moving or vmi.metadata.deletion_timestamp is not None:
            return chosen, None
        try:
            again_s = await self._volumes.step(vmi, launcher)
        except ConnectionLost as lost:
            _logger.info("launcher went away meanwhile", key=launcher.key, error=str(lost))
            again_s = RECONNECT_S
        except (RpcError, OSError) as failed:
            self._recorder.event(vmi, "Warning", hotplug.FAILED, str(failed))
            return chosen, failed
        waits = [each for each in (chosen.again_s, again_s) if each is not None]
        return dataclasses.replace(chosen, again_s=min(waits, default=None)), None

    def _told(self, vmi: v1.VirtualMachineInstance, failed: Exception) -> tuple[Plan, Exception | None]:
        if vmi.status.phase == "Scheduling":
            # Disks may still be on their way; what stays wrong is told when the VMI is scheduled.
            _logger.info("not started yet", key=key_of(vmi), error=str(failed))
            return Plan("Scheduling", again_s=EARLY_AGAIN_S), None
        self._recorder.event(vmi, "Warning", "SyncFailed", str(failed))
        if isinstance(failed, NetworkPlanError):
            return Plan("Failed", why=str(failed)), failed
        return Plan(vmi.status.phase), failed

    # --- what a plan asks for ---

    async def _act(self, vmi: v1.VirtualMachineInstance, launcher: Launcher, todo: Plan) -> Plan:
        match todo.action:
            case Action.START:
                await self._start(vmi, launcher)
                return plan(vmi, Seen(launcher.status), self._clock.now())
            case Action.PRESS_POWER_BUTTON:
                if launcher.power_button_at is None:
                    self._recorder.event(vmi, "Normal", "ShuttingDown", "Signaled Graceful Shutdown")
                launcher.power_button_at = self._clock.monotonic()
                await launcher.call(Shutdown(), deadline_s=ACTION_DEADLINE_S)
            case Action.RESUME:
                launcher.resumes += 1
                launcher.stopped_at = self._clock.monotonic()
                await launcher.call(Unpause(), deadline_s=ACTION_DEADLINE_S)
            case Action.DESTROY:
                await launcher.call(Destroy(), deadline_s=ACTION_DEADLINE_S)
        return todo

    async def _start(self, vmi: v1.VirtualMachineInstance, launcher: Launcher) -> None:
        began = self._clock.monotonic()
        pod = await wire(self._networks, vmi, launcher)
        wired_at = self._clock.monotonic()
        try:
            launcher.functions = await self._node.devices.prepare(vmi, launcher)
            request = SyncVmi(
                vmi=codec.encode(vmi), interfaces=pod.interfaces, facts=self._node.facts(),
                functions=launcher.functions)
            await launcher.call_with_sockets(request, pod.sockets, deadline_s=SYNC_DEADLINE_S)
        finally:
            pod.close()
        _logger.info(
            "guest started", key=launcher.key, network_s=round(wired_at - began, 3),
            domain_s=round(self._clock.monotonic() - wired_at, 3),
        )
        self._recorder.event(vmi, "Normal", "Created", "VirtualMachineInstance defined.")
        for disk in launcher.status.disks if launcher.status is not None else ():
            if disk.short_of:
                self._recorder.event(
                    vmi, "Normal", "ToleratedSmallPV", f"volume {disk.volume}: its file has {disk.size} bytes of the "
                    f"{disk.short_of} that were asked for: the file system has no more room"
                )

    # --- status and events ---

    async def _write(
        self, vmi: v1.VirtualMachineInstance, launcher: Launcher | None, todo: Plan, error: str,
        migration: State | None,
    ) -> None:
        if todo.phase == "Scheduling":
            return                          # the controller's to write
        now = self._clock.now()
        before = vmi.status
        after = before
        domain = launcher.status if launcher is not None else None
        if todo.phase == "Running" and launcher is not None and domain is not None and launcher.has_live_guest:
            if launcher.wired is None and (before.phase == "Scheduled" or has_come(vmi)):
                # An earlier handler had started the guest, or had taken it over.
                (await wire(self._networks, vmi, launcher)).close()
            network = None
            if launcher.wired is not None:
                network = statuses.Network(
                    wired=launcher.wired, pod_addresses=launcher.pod_addresses, functions=launcher.functions)
            after = statuses.running(vmi, domain, network, now)
        elif todo.phase in FINAL_PHASES:
            after = statuses.ended(before)
        missing = statuses.missing(domain) if todo.phase == "Running" and domain is not None else ""
        if todo.phase != "Scheduled" or error:
            after = statuses.with_error(after, error or missing, now)
        after = replace(statuses.with_phase(after, todo.phase, now), migration_state=migration)
        patch = status_patch(vmi, after)
        if patch is None:
            return
        try:
            written = await self._client.patch(
                VMI, vmi.metadata.name, MergePatch(patch), namespace=vmi.metadata.namespace
            )
        except NotFoundError:
            return                          # gone meanwhile; the informer will tell
        self._informer.learn(written)
        self._moves.source.tell(vmi, before.migration_state, migration)
        for kind, reason, message in hotplug.events(before.volume_status, after.volume_status):
            self._recorder.event(vmi, kind, reason, message)
        if after.phase != before.phase:
            _logger.info("phase", key=f"{vmi.metadata.namespace}/{vmi.metadata.name}", phase=after.phase, why=todo.why)
            self._tell_phase(vmi, after.phase, todo.why, is_told=bool(error))
        if missing and statuses.error_of(before) != missing:
            self._recorder.event(vmi, "Warning", "SyncFailed", missing)

    def _tell_phase(self, vmi: v1.VirtualMachineInstance, after: str, why: str, *, is_told: bool) -> None:
        match after:
            case "Running":
                self._recorder.event(vmi, "Normal", "Started", "VirtualMachineInstance started.")
            case "Succeeded":
                self._recorder.event(vmi, "Normal", "Stopped", "The VirtualMachineInstance was shut down.")
            case "Failed" if not is_told:
                self._recorder.event(
                    vmi, "Warning", "Stopped", "The VirtualMachineInstance crashed." if not why else
                    f"The VirtualMachineInstance crashed: {why}."
                )

    def _tell_notes(self, launcher: Launcher) -> None:
        notes, launcher.notes = launcher.notes, []
        for note in notes:
            reason, message = told(note)
            self._recorder.event(launcher.vmi, "Warning", reason, message)

    # --- what is left over ---

    async def _clear_away(
        self, key: str, vmi: v1.VirtualMachineInstance | None, current: Launcher | None
    ) -> bool:
        """Launchers of this key that are not the VMI's: of a VMI that is gone or has moved, or of an earlier one of its
        name. False: look again soon."""
        if vmi is None:
            self._look.keep_only({meta_of(known).uid for known in self._informer.store})
        is_clear = True
        for launcher in self._launchers.of_key(key):
            if launcher is current:
                continue
            if launcher.has_ended:
                self._bury(launcher)
            elif (vmi is None or launcher.vmi.metadata.uid != vmi.metadata.uid) and launcher.has_live_guest:
                if await self._belongs_here(launcher):
                    is_clear = False
                else:
                    await launcher.call(Destroy(), deadline_s=ACTION_DEADLINE_S)
        return is_clear

    async def _belongs_here(self, launcher: Launcher) -> bool:
        """Whether a live guest may be left alone although no cache has its VMI.

        The two caches of this node's VMIs and of those that come learn of a move at different times, so only the API
        server counts. A guest that is just leaving is stopped and lets go by itself; one that still runs here after it
        has come to life elsewhere must not.
        """
        meta = launcher.vmi.metadata
        try:
            stored = await self._client.get(VMI, meta.name, meta.namespace)
        except NotFoundError:
            return False
        if stored.metadata.uid != meta.uid:
            return False
        labels = stored.metadata.labels
        if self._node.name in (labels.get(names.NODE_NAME_LABEL), labels.get(names.MIGRATION_TARGET_NODE_LABEL)):
            return True
        status = launcher.status
        return status is not None and status.state is DomainState.PAUSED and status.reason == "Migration"

    def _bury(self, launcher: Launcher) -> None:
        self._launchers.drop(launcher)
        self._networks.forget(launcher.pod_uid)
        self._node.devices.reconsider()
        self._look.forget_pod(launcher.pod_uid)
        # About the VMI as it was: it may be gone by now.
        about = replace(launcher.vmi, metadata=replace(launcher.vmi.metadata, resource_version=""))
        self._recorder.event(about, "Normal", "Deleted", "The launcher has ended; nothing of it is left on the node.")
