"""The subresources themselves: read the objects, ask the pure rules, write or ask the node.

Objects are read from the API server each time, never from a cache: a client may have written them a moment ago.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from virt.api import core, jsonpatch, kinds, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.kinds import Kind
from virt.api.subresources import (
    AddVolumeOptions,
    DryRun,
    EvacuateCancelOptions,
    MigrateOptions,
    PauseOptions,
    RemoveVolumeOptions,
    RestartOptions,
    StartOptions,
    StopOptions,
    UnpauseOptions,
)
from virt.apiserver import expansion, parsing, preconditions, relay, runstate, volumes
from virt.apiserver.nodes import DIAL_S, Nodes
from virt.apiserver.refusal import LostRaceError, conflict, internal, not_implemented, of_api_error
from virt.kube.client import ApiError, Client, JsonPatch
from virt.kube.http import RefusedError, json_response

T = TypeVar("T")

_OWNER: Final = "VirtualMachine"
_EVACUATION: Final = "/status/evacuationNodeName"
_TRIES: Final = 5               # lost races that a caller need not hear of

Decision = Callable[[v1.VirtualMachine, v1.VirtualMachineInstance | None], tuple[runstate.Write, ...]]


class Subresources:
    """One method for each subresource; ``virt.apiserver.server`` routes to them."""

    def __init__(
        self, client: Client, nodes: Nodes, config: Callable[[], ClusterConfig] = ClusterConfig
    ) -> None:
        self._client = client
        self._nodes = nodes
        self._config = config

    # --- virtualmachines ---

    async def start(self, request: web.Request) -> web.StreamResponse:
        options = await parsing.options(request, StartOptions)
        return await self._changed(request, lambda vm, vmi: runstate.start(vm, vmi, options), options)

    async def stop(self, request: web.Request) -> web.StreamResponse:
        options = await parsing.options(request, StopOptions)
        return await self._changed(request, lambda vm, vmi: runstate.stop(vm, vmi, options), options)

    async def restart(self, request: web.Request) -> web.StreamResponse:
        options = await parsing.options(request, RestartOptions)
        return await self._changed(request, lambda vm, vmi: runstate.restart(vm, vmi, options), options)

    async def add_volume_to_machine(self, request: web.Request) -> web.StreamResponse:
        options = await parsing.options(request, AddVolumeOptions)
        return await self._changed(request, lambda vm, _: volumes.add_to_machine(vm, options), options)

    async def remove_volume_from_machine(self, request: web.Request) -> web.StreamResponse:
        options = await parsing.options(request, RemoveVolumeOptions)
        return await self._changed(request, lambda vm, _: volumes.remove_from_machine(vm, options), options)

    async def expand_machine(self, request: web.Request) -> web.StreamResponse:
        namespace, name = parsing.place(request)
        stored = await self._found(expansion.STORED, namespace, name)
        return json_response(stored)

    async def expand_sent(self, request: web.Request) -> web.StreamResponse:
        sent = await parsing.document(request)
        return json_response(expansion.expanded(sent, request.match_info["namespace"]))

    async def migrate(self, request: web.Request) -> web.StreamResponse:
        options = await parsing.options(request, MigrateOptions)
        vm, vmi = await self._machine(request)
        preconditions.migrate(vm, vmi)
        migration = v1.VirtualMachineInstanceMigration(
            metadata=msgspec.structs.replace(
                v1.VirtualMachineInstanceMigration().metadata, generate_name="kubevirt-migrate-vm-"),
            spec=v1.VirtualMachineInstanceMigrationSpec(
                vmi_name=vm.metadata.name, added_node_selector=options.added_node_selector),
        )
        try:
            await self._client.create(kinds.VMIM, migration, vm.metadata.namespace, dry_run=options.is_dry_run)
        except ApiError as error:
            raise internal(error.message) from error
        return web.Response(status=202)

    async def cancel_evacuation_of_machine(self, request: web.Request) -> web.StreamResponse:
        vm, vmi = await self._machine(request)
        if vmi is None:
            raise conflict(kinds.VM, vm.metadata.name, "VM is not running")
        return await self.cancel_evacuation(request)

    async def forward_to_machine(self, request: web.Request) -> web.StreamResponse:
        vm, vmi = await self._machine(request)
        if vmi is None:
            raise conflict(kinds.VM, vm.metadata.name, "VM is not running")
        return await self._forwarded(request, vmi)

    # --- virtualmachineinstances ---

    async def console(self, request: web.Request) -> web.StreamResponse:
        vmi = await self._instance(request)
        preconditions.console(vmi)
        return await self._streamed(request, vmi, "console")

    async def vnc(self, request: web.Request) -> web.StreamResponse:
        vmi = await self._instance(request)
        preconditions.graphics(vmi)
        return await self._streamed(request, vmi, "vnc")

    async def screenshot(self, request: web.Request) -> web.StreamResponse:
        vmi = await self._instance(request)
        preconditions.graphics(vmi)
        return await self._asked(request, vmi, "vnc/screenshot")

    async def forward(self, request: web.Request) -> web.StreamResponse:
        return await self._forwarded(request, await self._instance(request))

    async def pause(self, request: web.Request) -> web.StreamResponse:
        options = await parsing.options(request, PauseOptions)
        vmi = await self._instance(request)
        preconditions.pause(vmi)
        return await self._acted(vmi, "pause", is_dry_run=options.is_dry_run)

    async def unpause(self, request: web.Request) -> web.StreamResponse:
        options = await parsing.options(request, UnpauseOptions)
        vmi = await self._instance(request)
        preconditions.unpause(vmi, await self._owner(vmi))
        return await self._acted(vmi, "unpause", is_dry_run=options.is_dry_run)

    async def soft_reboot(self, request: web.Request) -> web.StreamResponse:
        vmi = await self._instance(request)
        preconditions.soft_reboot(vmi)
        return await self._acted(vmi, "softreboot")

    async def reset(self, request: web.Request) -> web.StreamResponse:
        vmi = await self._instance(request)
        preconditions.reset(vmi)
        return await self._acted(vmi, "reset")

    async def freeze(self, request: web.Request) -> web.StreamResponse:
        """Freezes or thaws, as the last part of the path says."""
        vmi = await self._instance(request)
        preconditions.running(vmi)
        action = parsing.last_part(request)
        await self._nodes.ask(vmi, "PUT", action, body=await parsing.body(request))
        return web.Response()

    async def guest_question(self, request: web.Request) -> web.StreamResponse:
        """guestosinfo, userlist and filesystemlist."""
        vmi = await self._instance(request)
        preconditions.guest_agent(vmi)
        return await self._asked(request, vmi, parsing.last_part(request))

    async def add_volume(self, request: web.Request) -> web.StreamResponse:
        options = await parsing.options(request, AddVolumeOptions)
        return await self._changed_instance(request, lambda vmi: volumes.add_to_instance(vmi, options), options)

    async def remove_volume(self, request: web.Request) -> web.StreamResponse:
        options = await parsing.options(request, RemoveVolumeOptions)
        return await self._changed_instance(request, lambda vmi: volumes.remove_from_instance(vmi, options), options)

    async def unbuilt(self, request: web.Request) -> web.StreamResponse:
        raise not_implemented(parsing.last_part(request))

    async def cancel_evacuation(self, request: web.Request) -> web.StreamResponse:
        """The VMI need not leave its node after all. A migration that was made for it goes on."""
        options = await parsing.options(request, EvacuateCancelOptions)
        vmi = await self._instance(request)
        marked = vmi.status.evacuation_node_name
        node = None
        if marked:
            node = await self._maybe(kinds.NODE, None, marked)
        taint = self._config().migrations.node_drain_taint_key
        if preconditions.cancel_evacuation(vmi, node, options.evacuation_node_name, taint):
            patch = JsonPatch((jsonpatch.test(_EVACUATION, marked), jsonpatch.remove(_EVACUATION)))
            try:
                await self._client.patch(
                    kinds.VMI, vmi.metadata.name, patch, namespace=vmi.metadata.namespace, dry_run=options.is_dry_run)
            except ApiError as error:
                raise of_api_error(error, kinds.VMI, vmi.metadata.name) from error
        return web.Response()

    # --- shared ---

    async def _machine(self, request: web.Request) -> tuple[v1.VirtualMachine, v1.VirtualMachineInstance | None]:
        namespace, name = parsing.place(request)
        vm = await self._found(kinds.VM, namespace, name)
        return vm, await self._maybe(kinds.VMI, namespace, name)

    async def _instance(self, request: web.Request) -> v1.VirtualMachineInstance:
        return await self._found(kinds.VMI, *parsing.place(request))

    async def _owner(self, vmi: v1.VirtualMachineInstance) -> v1.VirtualMachine | None:
        owners = [owner.name for owner in vmi.metadata.owner_references if owner.kind == _OWNER]
        if not owners:
            return None
        return await self._maybe(kinds.VM, vmi.metadata.namespace, owners[0])

    async def _found(self, kind: Kind[T], namespace: str | None, name: str) -> T:
        try:
            return await self._client.get(kind, name, namespace)
        except ApiError as error:
            raise of_api_error(error, kind, name) from error

    async def _maybe(self, kind: Kind[T], namespace: str | None, name: str) -> T | None:
        try:
            return await self._found(kind, namespace, name)
        except RefusedError as error:
            if error.status.code == 404:
                return None
            raise

    async def _changed(self, request: web.Request, decide: Decision, options: DryRun) -> web.StreamResponse:
        async def once() -> None:
            vm, vmi = await self._machine(request)
            await self._written(vm.metadata, decide(vm, vmi), options)

        return await self._tried(once)

    async def _changed_instance(
        self, request: web.Request, decide: Callable[[v1.VirtualMachineInstance], tuple[runstate.Write, ...]],
        options: DryRun,
    ) -> web.StreamResponse:
        async def once() -> None:
            vmi = await self._instance(request)
            await self._written(vmi.metadata, decide(vmi), options)

        return await self._tried(once)

    async def _tried(self, once: Callable[[], Awaitable[None]]) -> web.StreamResponse:
        """Read, decide, write; again from the start when somebody else wrote in between, as the controller does."""
        tries_left = _TRIES
        while True:
            tries_left -= 1
            try:
                await once()
            except LostRaceError:
                if not tries_left:
                    raise
            else:
                return web.Response(status=202)

    async def _written(
        self, meta: core.ObjectMeta, writes: tuple[runstate.Write, ...], options: DryRun
    ) -> None:
        for write in writes:
            try:
                await self._client.patch(
                    write.kind, meta.name, JsonPatch(write.operations), namespace=meta.namespace,
                    subresource=write.subresource, dry_run=options.is_dry_run)
            except ApiError as error:
                refused = of_api_error(error, write.kind, meta.name)
                raise LostRaceError(refused.status) if refused.status.code == 409 else refused from error

    async def _acted(
        self, vmi: v1.VirtualMachineInstance, action: str, *, is_dry_run: bool = False
    ) -> web.StreamResponse:
        if not is_dry_run:
            await self._nodes.ask(vmi, "PUT", action)
        return web.Response()

    async def _asked(
        self, request: web.Request, vmi: v1.VirtualMachineInstance, path: str
    ) -> web.StreamResponse:
        answer = await self._nodes.ask(vmi, "GET", path, query=parsing.query(request))
        return web.Response(body=answer.body, content_type=answer.content_type)

    async def _streamed(
        self, request: web.Request, vmi: v1.VirtualMachineInstance, path: str
    ) -> web.StreamResponse:
        client = parsing.upgrade(request)
        stream = await self._nodes.open(vmi, path, query=parsing.query(request))
        try:
            await client.prepare(request)
            await relay.join(client, stream.socket)
        finally:
            await stream.close()
        return client

    async def _forwarded(self, request: web.Request, vmi: v1.VirtualMachineInstance) -> web.StreamResponse:
        address = preconditions.port_forward(vmi)
        port, protocol = parsing.port(request)
        if protocol == "udp":
            raise not_implemented("portforward of udp")
        client = parsing.upgrade(request, autoping=False)
        try:
            async with asyncio.timeout(DIAL_S):
                reader, writer = await asyncio.open_connection(address, port)
        except OSError as error:              # TimeoutError is one
            raise internal(f"dialing VM: {error or 'no answer'}") from error
        try:
            await client.prepare(request)
        except BaseException:
            writer.close()
            raise
        await relay.join_stream(client, reader, writer)
        return client
