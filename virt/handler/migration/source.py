"""The node that the guest leaves: starts the migration, joins its sockets with the target's, reports progress."""

import socket

from virt.api import names, passthrough, v1
from virt.api.migrationstate import State, failed
from virt.base.clock import Clock, rfc3339
from virt.handler.launchers.launcher import Launcher
from virt.handler.migration.plan import SourceSeen, SourceStep, source
from virt.handler.migration.ports import SourcePorts
from virt.handler.migration.settings import in_clear, least_version, limits
from virt.handler.vmi.migratable import copied_volumes
from virt.kube.events import EventRecorder
from virt.rpc.errors import ConnectionLost, RpcError
from virt.rpc.framing import close_all
from virt.rpc.messages import DISK_PORT, LIBVIRT_PORT, MEMORY_PORT, CancelMigration, Migrate

DEADLINE_S = 30.0


class Source:
    """Part of the loop over the VMIs of this node: gives back the migration's state that the VMI is to have."""

    def __init__(self, ports: SourcePorts, recorder: EventRecorder, clock: Clock) -> None:
        self._ports = ports
        self._recorder = recorder
        self._clock = clock

    async def step(self, vmi: v1.VirtualMachineInstance, launcher: Launcher | None) -> State | None:
        """One pass. Raises ConnectionLost."""
        state = vmi.status.migration_state
        if state is None or launcher is None or not launcher.is_connected:
            return state
        uid = vmi.metadata.uid
        seen = SourceSeen(launcher.status, self._ports.has(uid, state.migration_uid))
        todo = source(state, seen, rfc3339(self._clock.now()))
        match todo.step:
            case SourceStep.START:
                return await self._start(vmi, launcher, state)
            case SourceStep.CANCEL:
                await launcher.call(CancelMigration(uid=todo.uid, reason=todo.why), deadline_s=DEADLINE_S)
        if todo.state.completed or todo.step is SourceStep.CUT:
            self._ports.cut(uid)
        return todo.state

    def gone(self, vmi: v1.VirtualMachineInstance) -> None:
        """The VMI is no longer of this node: what is joined ends by itself, soon."""
        self._ports.release(vmi.metadata.uid)

    def tell(self, vmi: v1.VirtualMachineInstance, before: State | None, after: State | None) -> None:
        """Events about what was written: ``after`` in place of ``before``."""
        if after is None or before is None:
            return
        if after.start_timestamp and not before.start_timestamp:
            self._recorder.event(
                vmi, "Normal", "Migrating", f"The VirtualMachineInstance is migrating to node {after.target_node}.")
        if after.failed and not before.failed:
            self._recorder.event(
                vmi, "Warning", "Migrated",
                f"The VirtualMachineInstance did not migrate to node {after.target_node}: {after.failure_reason}")

    async def _start(self, vmi: v1.VirtualMachineInstance, launcher: Launcher, state: State) -> State:
        """The start itself is written when the launcher reports it."""
        now = rfc3339(self._clock.now())
        if names.FAIL_MIGRATION_ANNOTATION in vmi.metadata.annotations:
            return failed(state, f"the VMI has the annotation {names.FAIL_MIGRATION_ANNOTATION}", now)
        is_pinned = passthrough.has_any(vmi.spec)
        if launcher.version < least_version(vmi.spec):
            return failed(state, "the launcher of this guest is too old to migrate; restart the guest", now)
        request = Migrate(
            uid=state.migration_uid, copied=copied_volumes(vmi),
            limits=limits(state.migration_configuration, is_pinned=is_pinned))
        try:
            _, fds = await launcher.call(request, deadline_s=DEADLINE_S)
        except ConnectionLost:
            raise
        except RpcError as error:
            return failed(state, f"the source could not begin: {error}", now)
        ports = (LIBVIRT_PORT, MEMORY_PORT, *((DISK_PORT,) if request.copied else ()))
        if len(fds) != len(ports):
            close_all(fds)
            return failed(state, f"the launcher gave {len(fds)} sockets, not {len(ports)}", now)
        listeners = {port: socket.socket(fileno=fd) for port, fd in zip(ports, fds, strict=True)}
        self._ports.serve(
            vmi.metadata.uid, state.migration_uid, listeners, state.target_node_address,
            state.target_direct_migration_node_ports, in_clear=in_clear(state.migration_configuration))
        return state
