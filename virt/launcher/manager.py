"""Carries out the handler's requests on the one guest of this pod.

SyncVmi is level-triggered: the first makes disks and domain and starts it, later ones report; a start that failed is
tried again. PrepareTarget makes the same ready for a guest that comes from another node. A failure is answered with a
word for programs and a text for people (virt.rpc.messages.Failed).
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from virt.api import codec, names
from virt.base import log
from virt.base.exec import RunError
from virt.launcher import seriallog
from virt.launcher.dhcp import Servers
from virt.launcher.disks.errors import DiskError as UnusableVolume
from virt.launcher.disks.held import HeldClaims
from virt.launcher.draft import Draft, Drafts
from virt.launcher.guest import ENDED, Guest
from virt.launcher.guestclock import set_clock
from virt.launcher.libvirt_conn import Hypervisor, HypervisorError, InvalidDomain, words
from virt.launcher.migration.functions import Functions
from virt.launcher.migration.incoming import Incoming, target_socket
from virt.launcher.migration.outgoing import Outgoing
from virt.launcher.outline import Outline
from virt.launcher.picture import as_png
from virt.launcher.plugging import Plugging
from virt.rpc import messages
from virt.rpc.errors import RequestFailed
from virt.rpc.framing import close_all
from virt.rpc.messages import (
    Data,
    DomainState,
    DomainStatus,
    Done,
    Event,
    PrepareTarget,
    Request,
    SyncVmi,
)
from virt.rpc.peer import Reply

_DONE = Reply(Done())
_DEFAULT_GRACE_S = 30
_HANDLER_SPEAKS_S = 3.0
_HANDLER_MARGIN_S = 5.0
_FAREWELL_S = 10.0              # libvirt tells of the guest's end here a moment before its migration is through
_logger = log.get("virt.launcher.manager")


class Manager:
    """``hypervisor`` is awaited by the first that needs it: libvirt starts while the handler is greeted."""

    def __init__(
        self, hypervisor: asyncio.Future[Hypervisor], drafts: Drafts, tell: Callable[[Event], Awaitable[bool]],
        held: HeldClaims | None = None,
    ) -> None:
        self._hypervisor = hypervisor
        self._held = held or HeldClaims()
        self._plugging = Plugging(drafts, self._held)
        self._drafts = drafts
        self._tell = tell
        self._vmi: Outline | None = None
        self._starting: asyncio.Task[Guest] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._log_keeper: asyncio.Task[None] | None = None
        self._preparing: asyncio.Task[None] | None = None
        self._arriving: asyncio.Task[None] | None = None
        self._outgoing: Outgoing | None = None
        self._functions: Functions | None = None
        self._dhcp = Servers()
        self.guest: Guest | None = None
        self.synced = asyncio.Event()            # the first SyncVmi came
        self.over = asyncio.Event()              # the guest ended, or its end was asked for before it began
        self.told_to_end = asyncio.Event()       # the handler leads the shutdown

    @property
    def status(self) -> DomainStatus:
        return self.guest.status if self.guest else DomainStatus(state=DomainState.NONE, given=self._held.names)

    @property
    def is_expecting(self) -> bool:
        """Whether a guest is coming from another node, or may be: nobody has said yet what this pod is for."""
        return self.guest is None and self._starting is None and not self.over.is_set()

    @property
    def grace_s(self) -> int:
        seconds = self._vmi.spec.termination_grace_period_seconds if self._vmi else None
        return _DEFAULT_GRACE_S if seconds is None else seconds

    async def serve(self, request: Request, fds: tuple[int, ...]) -> Reply:
        """Owns ``fds``. Raises RequestFailed."""
        try:
            if isinstance(request, SyncVmi):
                return Reply(await self._sync(request, fds))
            if isinstance(request, PrepareTarget):
                await self._prepare(request, fds)
                return _DONE
            if isinstance(request, messages.GiveVolumes):
                return await self._take_volumes(request, fds)
            close_all(fds)
            return await self._act(request)
        except HypervisorError as error:
            raise RequestFailed(error.code, str(error)) from error
        except UnusableVolume as error:
            raise RequestFailed(error.code, str(error)) from error
        except RunError as error:
            raise RequestFailed("Internal", str(error)) from error

    # --- start ---

    async def _sync(self, request: SyncVmi, fds: tuple[int, ...]) -> DomainStatus:
        self._vmi = self._take(request, fds)
        if self._starting is None or (self._starting.done() and _failed(self._starting)):
            self._starting = asyncio.create_task(self._start(self._vmi, request), name="start")
        # A handler that gives up or goes away does not undo the start; the next one joins it.
        guest = await asyncio.shield(self._starting)
        return guest.status if guest.ended.is_set() else await guest.refresh()

    def _take(self, request: SyncVmi | PrepareTarget, fds: tuple[int, ...]) -> Outline:
        """What a request to start or to receive brings. Raises RequestFailed."""
        try:
            vmi = codec.decode(request.vmi, Outline)
        except msgspec.MsgspecError as error:
            close_all(fds)
            raise RequestFailed("InvalidSpec", f"the VMI cannot be read: {error}") from error
        self.synced.set()
        self._dhcp.begin(request.interfaces, fds)
        if self.over.is_set() and self.guest is None:
            raise RequestFailed("NotRunning", "the guest's end was asked for before it began")
        return vmi

    async def _start(self, vmi: Outline, request: SyncVmi) -> Guest:
        draft = await self._drafts.draft(request, vmi)
        Path(names.serial_socket(vmi.uid)).parent.mkdir(parents=True, exist_ok=True)
        hypervisor = await asyncio.shield(self._hypervisor)
        draft = await self._with_places(hypervisor, draft, request, vmi)
        if self.over.is_set():
            raise HypervisorError("the guest's end was asked for before it began")
        try:
            name = await hypervisor.create(draft.xml, paused=vmi.spec.start_strategy == "Paused")
        except InvalidDomain:
            _logger.error("libvirt refused the domain", xml=draft.xml)
            raise
        return self._adopt(hypervisor, name, vmi, draft, xml=await hypervisor.describe(name))

    async def _with_places(self, hypervisor: Hypervisor, draft: Draft, request: SyncVmi, vmi: Outline) -> Draft:
        """The draft for a guest that is told where its devices are, which libvirt decides."""
        if not draft.tells_places:
            return draft
        return await self._drafts.draft(request, vmi, placed=await hypervisor.placed(draft.xml))

    def _adopt(self, hypervisor: Hypervisor, name: str, vmi: Outline, draft: Draft, *, xml: str) -> Guest:
        """Follow a domain that runs. ``xml``: libvirt's description of it."""
        machine, accelerator = words.machine_and_accelerator(xml)
        targets = words.disk_targets(xml)        # a guest that came may have other ones than a new one would
        status = DomainStatus(
            state=DomainState.NONE, domain_name=name, machine=machine, accelerator=accelerator, given=self._held.names,
            disks=tuple(msgspec.structs.replace(disk, target=targets.get(disk.volume, disk.target))
                        for disk in draft.disks),
        )  # fmt: skip
        self.guest = Guest(hypervisor, status, self._tell)
        self._functions = Functions(hypervisor, name, draft.functions, self.guest.learn_missing)
        self._watching = asyncio.create_task(self._watch(self.guest), name="guest")
        self._log_keeper = asyncio.create_task(
            seriallog.keep_small(Path(names.serial_log(vmi.uid))), name="serial log"
        )
        if words.agent_is_connected(xml):        # one that came along says nothing of itself here
            self.guest.agent_is_there()
        self.guest.look_again()                  # what happened before the subscription
        return self.guest

    async def _watch(self, guest: Guest) -> None:
        await guest.watch()
        if self._functions is not None:
            self._functions.close()
        if self._outgoing is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._outgoing.wait()
        self.over.set()

    # --- migration ---

    async def _prepare(self, request: PrepareTarget, fds: tuple[int, ...]) -> None:
        self._vmi = self._take(request, fds)
        if self._starting is not None:
            raise RequestFailed("Internal", "a guest was started here already")
        if self._preparing is None or (self._preparing.done() and _failed(self._preparing)):
            self._preparing = asyncio.create_task(self._make_ready(self._vmi, request), name="prepare")
        await asyncio.shield(self._preparing)

    async def _make_ready(self, vmi: Outline, request: PrepareTarget) -> None:
        sync = SyncVmi(
            vmi=request.vmi, interfaces=request.interfaces, facts=request.facts, functions=request.functions)
        draft = await self._drafts.draft(sync, vmi)         # its domain is not needed: the guest brings its own
        Path(names.serial_socket(vmi.uid)).parent.mkdir(parents=True, exist_ok=True)
        Path(names.MIGRATION_DIR).mkdir(parents=True, exist_ok=True)
        hypervisor = await asyncio.shield(self._hypervisor)
        draft = await self._with_places(hypervisor, draft, sync, vmi)
        name = names.domain_name(vmi.metadata.namespace, vmi.metadata.name)
        self._arriving = asyncio.create_task(
            self._receive(hypervisor, Incoming(hypervisor, name), name, draft), name="arrival"
        )

    async def _receive(self, hypervisor: Hypervisor, incoming: Incoming, name: str, draft: Draft) -> None:
        assert self._vmi is not None
        xml = await incoming.arrival()
        guest = self._adopt(hypervisor, name, self._vmi, draft, xml=xml)
        if self._functions is not None:
            self._functions.take_all()
        await set_clock(guest)

    async def _migrate(self, guest: Guest, request: messages.Migrate) -> Reply:
        if self._outgoing is not None and not self._outgoing.is_over:
            raise RequestFailed("Internal", f"migration {self._outgoing.report.uid} is under way")
        targets = {disk.volume: disk.target for disk in guest.status.disks}
        missing = sorted(set(request.copied) - set(targets))
        if missing:
            raise RequestFailed("InvalidSpec", f"no disk of the guest is volume {', '.join(missing)}")
        if set(self._held.names) & set(targets):
            # libvirt asks what file system a disk is on, and cannot follow the link to a claim that was given. That it
            # is shared its access mode says, without which no VMI migrates (virt.launcher.daemon, shared_filesystems).
            request = msgspec.structs.replace(request, limits=msgspec.structs.replace(request.limits, unsafe=True))
        outgoing = Outgoing(
            guest.hypervisor, guest.name, request, targets, guest.learn_migration, kept=guest.keep_paused,
            functions=self._functions)
        try:
            fds = outgoing.begin()
        except OSError as error:
            raise RequestFailed("Internal", f"no sockets for the migration: {error}") from error
        self._outgoing = outgoing
        return Reply(Done(), fds)

    async def _cancel(self, request: messages.CancelMigration) -> Reply:
        if self._outgoing is not None and self._outgoing.report.uid == request.uid and not self._outgoing.is_over:
            await self._outgoing.cancel(request.reason)
        return _DONE

    # --- while it runs ---

    async def _take_volumes(self, request: messages.GiveVolumes, fds: tuple[int, ...]) -> Reply:
        try:
            self._held.take(request.volumes, fds)
        finally:
            close_all(fds)
        if self.guest is not None:
            await self.guest.learn_volumes(self._held.names, self.guest.status.volumes_troubled)
        return _DONE

    async def _act(self, request: Request) -> Reply:
        if isinstance(request, messages.Shutdown | messages.Destroy):
            return await self._end(request)
        if isinstance(request, messages.OpenMigrationPort):
            path = target_socket(request.port)
            return Reply(Done(), (await self._open(str(path), f"migration port {request.port}"),))
        if isinstance(request, messages.CancelMigration):
            return await self._cancel(request)
        guest = self._running_guest()
        hypervisor, name = guest.hypervisor, guest.name
        match request:
            case messages.Pause():
                if self._outgoing is not None:
                    self._outgoing.keep_paused(True)
                await hypervisor.suspend(name)
                await guest.refresh()
            case messages.Unpause():
                if self._outgoing is not None and self._outgoing.holds_guest:
                    raise RequestFailed(
                        "NotRunning", "the guest is paused so that its migration can finish; cancel that first")
                await hypervisor.resume(name)
                if self._outgoing is not None:
                    self._outgoing.keep_paused(False)
                await guest.refresh()
                if guest.status.agent_connected:
                    with contextlib.suppress(HypervisorError):      # a clock that is late is no reason to fail
                        await hypervisor.set_guest_time(name)
            case messages.Reset():
                await hypervisor.reset(name)
            case messages.SoftReboot():
                await hypervisor.reboot(name, by_agent=guest.status.agent_connected)
            case messages.OpenSerial():
                return Reply(Done(), (await self._open(names.serial_socket(self._uid), "serial console"),))
            case messages.OpenVnc():
                return Reply(Done(), (await self._open(names.vnc_socket(self._uid), "graphics"),))
            case messages.SyncVolumes():
                if self._outgoing is not None and not self._outgoing.is_over:
                    raise RequestFailed("Internal", "the guest is being moved, with the disks that it has")
                return Reply(await self._plugging.sync(guest, request))
            case messages.Migrate():
                return await self._migrate(guest, request)
            case messages.SetVcpus():
                await hypervisor.set_vcpus(name, request.count)
                return Reply(await guest.refresh())
            case messages.Screenshot():
                return Reply(Data(body=as_png(await hypervisor.screenshot(name))))
            case _:
                return await self._ask_agent(guest, request)
        return _DONE

    async def _ask_agent(self, guest: Guest, request: Request) -> Reply:
        if not guest.status.agent_connected:
            raise RequestFailed("NoAgent", "VMI does not have guest agent connected")
        match request:
            case messages.GuestInfo():
                return Reply(Data(body=codec.encode(await guest.agent.everything())))
            case messages.Freeze(timeout_s=timeout_s):
                if guest.status.state != DomainState.RUNNING:
                    raise RequestFailed("NotRunning", "a paused guest cannot be frozen")
                await guest.freeze(timeout_s)
            case messages.Unfreeze():
                await guest.thaw()
            case _:
                raise RequestFailed("Internal", f"{type(request).__name__} is unknown to this launcher")
        return _DONE

    def _running_guest(self) -> Guest:
        if self.guest is None or self.guest.status.state in (*ENDED, DomainState.NONE):
            raise RequestFailed("NotRunning", "the guest is not running")
        return self.guest

    @property
    def _uid(self) -> str:
        assert self._vmi is not None
        return self._vmi.uid

    async def _open(self, path: str, what: str) -> int:
        """A connection to a socket of QEMU, as a descriptor that the reply takes with it."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, path)
        except OSError as error:
            connection.close()
            raise RequestFailed("NoDevice", f"the guest has no {what}: {path}: {error.strerror}") from error
        return connection.detach()

    # --- the end ---

    async def _end(self, request: messages.Shutdown | messages.Destroy) -> Reply:
        self.told_to_end.set()
        if self.guest is None:
            if self._starting is not None and not self._starting.done():
                # Half-made: let it become a guest that can be ended, or fail.
                await asyncio.wait({self._starting})
            if self.guest is None:
                self.over.set()
                return _DONE
        if self.guest.ended.is_set():
            return _DONE
        if isinstance(request, messages.Destroy):
            await self.guest.destroy()
        else:
            await self.guest.press_power_button()
        return _DONE

    async def terminate(self, *, handler_leads: bool) -> None:
        """SIGTERM: bring the guest down. A connected handler knows best, so it gets a moment to speak first."""
        if self.guest is None:
            self.over.set()
            return
        margin_s = 0.0
        if handler_leads:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HANDLER_SPEAKS_S):
                    await self.told_to_end.wait()
            margin_s = _HANDLER_MARGIN_S         # the handler's own deadline comes first
        has_button = self._vmi is None or self._vmi.has_power_button
        await self.guest.bring_down(self.grace_s + margin_s, by_button=has_button)

    def close(self) -> None:
        self._dhcp.stop()
        for task in (self._log_keeper, self._preparing, self._arriving):
            if task is not None:
                task.cancel()


def _failed(task: asyncio.Task[Guest] | asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None
