"""Requests of the handler carried out on the one guest of this pod.

SyncVmi is level-triggered: the first makes disks and domain and starts it, later ones report; a start that failed is
tried anew. What fails is answered with a word for programs and a text for people (virt.rpc.messages.Failed).
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from virt.api import codec, names
from virt.base import log
from virt.base.errors import VirtError
from virt.base.exec import RunError
from virt.launcher import dhcp, seriallog
from virt.launcher.disks.errors import DiskError as UnusableVolume
from virt.launcher.draft import Drafts
from virt.launcher.guest import ENDED, Guest
from virt.launcher.libvirt_conn import Hypervisor, HypervisorError, InvalidDomain, words
from virt.launcher.outline import Outline
from virt.launcher.picture import as_png
from virt.rpc import messages
from virt.rpc.errors import RequestFailed
from virt.rpc.framing import close_all
from virt.rpc.messages import Data, DomainState, DomainStatus, Done, Event, Request, SyncVmi
from virt.rpc.peer import Reply

_DONE = Reply(Done())
_DEFAULT_GRACE_S = 30
_logger = log.get("virt.launcher.manager")


class Manager:
    """``hypervisor`` is awaited by the first that needs it: libvirt starts while the handler is greeted."""

    def __init__(
        self, hypervisor: asyncio.Future[Hypervisor], drafts: Drafts, tell: Callable[[Event], Awaitable[bool]]
    ) -> None:
        self._hypervisor = hypervisor
        self._drafts = drafts
        self._tell = tell
        self._vmi: Outline | None = None
        self._starting: asyncio.Task[Guest] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._log_keeper: asyncio.Task[None] | None = None
        self._servers: list[dhcp.Server] = []
        self.guest: Guest | None = None
        self.synced = asyncio.Event()            # the first SyncVmi came
        self.over = asyncio.Event()              # the guest ended, or its end was asked for before it began
        self.told_to_end = asyncio.Event()       # the handler leads the shutdown

    @property
    def status(self) -> DomainStatus:
        return self.guest.status if self.guest else DomainStatus(state=DomainState.NONE)

    @property
    def grace_s(self) -> int:
        seconds = self._vmi.spec.termination_grace_period_seconds if self._vmi else None
        return _DEFAULT_GRACE_S if seconds is None else seconds

    async def serve(self, request: Request, fds: tuple[int, ...]) -> Reply:
        """Owns ``fds``. Raises RequestFailed."""
        try:
            if isinstance(request, SyncVmi):
                return Reply(await self._sync(request, fds))
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
        try:
            self._vmi = codec.decode(request.vmi, Outline)
        except msgspec.MsgspecError as error:
            close_all(fds)
            raise RequestFailed("InvalidSpec", f"the VMI cannot be read: {error}") from error
        self.synced.set()
        self._serve_dhcp(request, fds)
        if self.over.is_set() and self.guest is None:
            raise RequestFailed("NotRunning", "the guest's end was asked for before it began")
        if self._starting is None or (self._starting.done() and _failed(self._starting)):
            self._starting = asyncio.create_task(self._start(self._vmi, request), name="start")
        # A handler that gives up or goes away does not undo the start; the next one joins it.
        guest = await asyncio.shield(self._starting)
        return guest.status if guest.ended.is_set() else await guest.refresh()

    def _serve_dhcp(self, request: SyncVmi, fds: tuple[int, ...]) -> None:
        leased = [interface for interface in request.interfaces if interface.lease is not None]
        if self._servers or len(fds) != len(leased):
            if not self._servers and leased:
                _logger.warning("no DHCP", sockets=len(fds), leases=len(leased))
            close_all(fds)
            return
        for interface, fd in zip(leased, fds, strict=True):
            assert interface.lease is not None
            lease = dhcp.with_names(interface.lease, dhcp.RESOLV_CONF.read_text())
            server = dhcp.Server(fd, lease, interface.mac)
            server.start()
            self._servers.append(server)

    async def _start(self, vmi: Outline, request: SyncVmi) -> Guest:
        draft = await self._drafts.draft(request, vmi)
        Path(names.serial_socket(vmi.uid)).parent.mkdir(parents=True, exist_ok=True)
        hypervisor = await asyncio.shield(self._hypervisor)
        if self.over.is_set():
            raise HypervisorError("the guest's end was asked for before it began")
        try:
            name = await hypervisor.create(draft.xml, paused=vmi.spec.start_strategy == "Paused")
        except InvalidDomain:
            _logger.error("libvirt refused the domain", xml=draft.xml)
            raise
        machine, accelerator = words.machine_and_accelerator(await hypervisor.describe(name))
        status = DomainStatus(
            state=DomainState.NONE, domain_name=name, machine=machine, accelerator=accelerator, disks=draft.disks,
        )  # fmt: skip
        self.guest = Guest(hypervisor, status, self._tell)
        self._watching = asyncio.create_task(self._watch(self.guest), name="guest")
        self._log_keeper = asyncio.create_task(
            seriallog.keep_small(Path(names.serial_log(vmi.uid))), name="serial log"
        )
        self.guest.look_again()                  # what happened before the subscription
        return self.guest

    async def _watch(self, guest: Guest) -> None:
        await guest.watch()
        self.over.set()

    # --- while it runs ---

    async def _act(self, request: Request) -> Reply:
        if isinstance(request, messages.Shutdown | messages.Destroy):
            return await self._end(request)
        guest = self._running_guest()
        hypervisor, name = guest.hypervisor, guest.name
        match request:
            case messages.Pause():
                await hypervisor.suspend(name)
                await guest.refresh()
            case messages.Unpause():
                await hypervisor.resume(name)
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
            case messages.GuestExec(argv=argv, timeout_s=timeout_s):
                return Reply(Data(body=json.dumps(await guest.agent.execute(argv, timeout_s)).encode()))
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
        for server in self._servers:
            server.stop()
        if self._log_keeper is not None:
            self._log_keeper.cancel()


_HANDLER_SPEAKS_S = 3.0
_HANDLER_MARGIN_S = 5.0


def _failed(task: asyncio.Task[Guest]) -> bool:
    return task.cancelled() or isinstance(task.exception(), VirtError | Exception)
