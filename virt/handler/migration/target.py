"""The node that the guest comes to: prepares network, disks and sockets, then takes the guest over."""

import socket
from collections.abc import Callable

from msgspec.structs import replace

from virt.api import codec, conditions, hotplug, names, v1
from virt.api.kinds import VMI
from virt.api.migrationstate import State, failed
from virt.api.volumechange import settled
from virt.base import log
from virt.base.clock import Clock, rfc3339
from virt.base.errors import VirtError
from virt.handler.launchers.launcher import Launcher
from virt.handler.migration.growth import grown
from virt.handler.migration.plan import TargetPlan, TargetSeen, TargetStep, target
from virt.handler.migration.ports import TargetPorts
from virt.handler.migration.settings import in_clear, least_version
from virt.handler.vmi.hotplug import Volumes
from virt.handler.vmi.migratable import copied_volumes
from virt.handler.vmi.patch import status_patch
from virt.handler.vmi.plan import FINAL_PHASES
from virt.handler.vmi.status import PAUSED_BY_USER
from virt.handler.vmi.wiring import GuestDevices, Networks, NoDevices, wire
from virt.kube.client import Client, MergePatch, NotFoundError
from virt.kube.controller import DONE, Result
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer
from virt.rpc.errors import ConnectionLost, RequestFailed, RpcError
from virt.rpc.messages import (
    DISK_PORT,
    LIBVIRT_PORT,
    MEMORY_PORT,
    Destroy,
    DomainState,
    HostFacts,
    OpenMigrationPort,
    Pause,
    PrepareTarget,
)

PREPARE_DEADLINE_S = 180.0
OPEN_DEADLINE_S = 10.0
PAUSE_DEADLINE_S = 10.0
DESTROY_DEADLINE_S = 30.0
RECONNECT_S = 1.0
_NETWORK = "Pod"                # the handler's address is its pod's; KubeVirt knows a network of its own for this, too

_logger = log.get("virt.handler.migration")


class Target:
    """``incoming``: VMIs that are on their way to this node. ``address``: where other handlers reach this one.
    ``devices``: of this node, from which guests get theirs."""

    def __init__(
        self, client: Client, incoming: Informer[v1.VirtualMachineInstance], networks: Networks, ports: TargetPorts,
        recorder: EventRecorder, *, address: str, facts: Callable[[], HostFacts], clock: Clock,
        devices: GuestDevices | None = None,
    ) -> None:
        self._client = client
        self._incoming = incoming
        self._networks = networks
        self._ports = ports
        self._recorder = recorder
        self._address = address
        self._facts = facts
        self._clock = clock
        self._devices = devices or NoDevices()
        self._volumes = Volumes(facts)

    async def reconcile(self, vmi: v1.VirtualMachineInstance, launcher: Launcher | None) -> Result:
        """One pass over a VMI that the store ``incoming`` holds."""
        state = vmi.status.migration_state or State()
        uid = vmi.metadata.uid
        seen = TargetSeen(
            launcher.status if launcher is not None else None,
            is_connected=launcher is not None and launcher.is_connected,
            is_listening=self._ports.has(uid, state.migration_uid),
            is_dead=launcher is not None and launcher.is_dead,
            is_final=vmi.status.phase in FINAL_PHASES,
        )
        todo = target(state, seen)
        if todo.step is TargetStep.PREPARE and names.BLOCK_TARGET_ANNOTATION in vmi.metadata.annotations:
            return DONE                     # until it is taken away
        if todo.step is TargetStep.PREPARE and launcher is not None:
            try:
                state = await self._prepare(vmi, launcher, state)
            except ConnectionLost as lost:
                _logger.info("launcher went away meanwhile", key=launcher.key, error=str(lost))
                return Result(RECONNECT_S)
            except (VirtError, OSError) as error:
                todo = TargetPlan(TargetStep.FAIL, f"node {state.target_node} could not make ready: {error}")
        match todo.step:
            case TargetStep.PREPARE:
                await self._write(vmi, state)
                self._recorder.event(
                    vmi, "Normal", "PreparingTarget", f"Node {state.target_node} is ready to take the guest.")
            case TargetStep.TAKE_OVER:
                try:
                    await self._stay_paused(vmi, launcher)
                    status = await grown(vmi, launcher, self._recorder, rfc3339(self._clock.now()))
                except ConnectionLost as lost:
                    _logger.info("launcher went away meanwhile", vmi=vmi.metadata.name, error=str(lost))
                    return Result(RECONNECT_S)
                await self._take_over(vmi, replace(vmi, status=status), state)
            case TargetStep.FAIL:
                self._ports.cut(uid)
                await self._write(vmi, failed(state, todo.why, rfc3339(self._clock.now())))
                self._recorder.event(
                    vmi, "Warning", "Migrated",
                    f"The VirtualMachineInstance did not migrate to node {state.target_node}: {todo.why}")
            case TargetStep.CLOSE:
                self._ports.cut(uid)
            case TargetStep.DESTROY if launcher is not None:
                self._ports.cut(uid)
                _logger.warning("guest came after its migration had failed, and is destroyed", key=launcher.key)
                try:
                    await launcher.call(Destroy(), deadline_s=DESTROY_DEADLINE_S)
                except ConnectionLost:
                    return Result(RECONNECT_S)
        return DONE

    def gone(self, vmi: v1.VirtualMachineInstance) -> None:
        """The guest will not come here after all."""
        self._ports.cut(vmi.metadata.uid)

    async def _prepare(self, vmi: v1.VirtualMachineInstance, launcher: Launcher, state: State) -> State:
        if launcher.version < least_version(vmi.spec):
            raise RequestFailed(
                "Internal", "the launcher of the target is too old for a guest with network functions or hot-plugged "
                            "disks")
        if plugged := hotplug.held(vmi):
            await self._volumes.give(launcher, dict.fromkeys(plugged, state.target_attachment_pod_uid))
        pod = await wire(self._networks, vmi, launcher)
        try:
            launcher.functions = await self._devices.prepare(vmi, launcher)
            request = PrepareTarget(
                vmi=codec.encode(vmi), interfaces=pod.interfaces, facts=self._facts(), functions=launcher.functions)
            await launcher.call_with_sockets(request, pod.sockets, deadline_s=PREPARE_DEADLINE_S)
        finally:
            pod.close()
        ports = (LIBVIRT_PORT, MEMORY_PORT, *((DISK_PORT,) if copied_volumes(vmi) else ()))

        async def opening(port: int) -> socket.socket:
            return await launcher.open(OpenMigrationPort(port=port), deadline_s=OPEN_DEADLINE_S)

        numbers = await self._ports.listen(
            vmi.metadata.uid, state.migration_uid, ports, opening, in_clear=in_clear(state.migration_configuration))
        _logger.info("ready to take a guest", key=launcher.key, ports=dict(numbers))
        return replace(
            state, target_node_address=self._address, target_direct_migration_node_ports=numbers,
            migration_network_type=_NETWORK)

    async def _stay_paused(self, vmi: v1.VirtualMachineInstance, launcher: Launcher | None) -> None:
        """libvirt lets a guest run here that was paused by a person after its migration had begun. Raises
        ConnectionLost."""
        paused = conditions.find(vmi.status.conditions, "Paused")
        if paused is None or paused.reason != PAUSED_BY_USER or launcher is None or launcher.status is None:
            return
        if launcher.status.state is not DomainState.RUNNING:
            return
        try:
            await launcher.call(Pause(), deadline_s=PAUSE_DEADLINE_S)
        except ConnectionLost:
            raise
        except RpcError as error:
            _logger.warning("a guest that was paused by its user runs", key=launcher.key, error=str(error))

    async def _take_over(
        self, vmi: v1.VirtualMachineInstance, grown: v1.VirtualMachineInstance, state: State
    ) -> None:
        """The one write that makes the guest ours. The source's connections have to outlive it: by them it hears that
        its part is over. ``grown``: as the VMI is once the guest has what it was to be given."""
        now = rfc3339(self._clock.now())
        came = replace(
            state, target_node_domain_detected=True, target_node_domain_ready_timestamp=now, completed=True,
            start_timestamp=state.start_timestamp or now, end_timestamp=now, mode=state.mode or "PreCopy",
            abort_status="Failed" if state.abort_requested else state.abort_status,
        )
        here = settled(grown)
        status = replace(here.status, migration_state=came, node_name=state.target_node, evacuation_node_name="")
        labels = {names.NODE_NAME_LABEL: state.target_node, names.MIGRATION_TARGET_NODE_LABEL: None}
        if not await self._patch(vmi, status, labels, here.spec):
            return
        self._ports.release(vmi.metadata.uid)
        _logger.info("guest taken over", key=f"{vmi.metadata.namespace}/{vmi.metadata.name}", source=state.source_node)
        self._recorder.event(
            vmi, "Normal", "Migrated", f"The VirtualMachineInstance migrated to node {state.target_node}.")

    async def _write(self, vmi: v1.VirtualMachineInstance, state: State) -> None:
        await self._patch(vmi, replace(vmi.status, migration_state=state), {})

    async def _patch(
        self, vmi: v1.VirtualMachineInstance, status: v1.VirtualMachineInstanceStatus, labels: dict[str, str | None],
        spec: v1.VirtualMachineInstanceSpec | None = None,
    ) -> bool:
        """False when the VMI is gone. Raises ConflictError for a lost race, which may have gone to the source."""
        patch = status_patch(vmi, status)
        if patch is None:
            return True
        if spec is not None and spec != vmi.spec:       # its change of volumes was taken back too late
            patch["spec"] = {"volumes": codec.to_json(spec.volumes)}
        if labels:
            patch["metadata"]["labels"] = labels
        try:
            written = await self._client.patch(
                VMI, vmi.metadata.name, MergePatch(patch), namespace=vmi.metadata.namespace)
        except NotFoundError:
            return False
        if written.metadata.labels.get(names.MIGRATION_TARGET_NODE_LABEL) == status_node(status):
            self._incoming.learn(written)
        return True


def status_node(status: v1.VirtualMachineInstanceStatus) -> str:
    return status.migration_state.target_node if status.migration_state is not None else ""
