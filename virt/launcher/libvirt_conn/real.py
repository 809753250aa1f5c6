"""libvirt behind :class:`~virt.launcher.libvirt_conn.api.Hypervisor`.

Threads: libvirt's own event loop runs in one, where its callbacks may only hand over to ours (call_soon_threadsafe).
Calls block, so they run in a small pool; those to the guest agent wait for as long as the guest likes and have threads
of their own, so that a silent agent never holds up a shutdown.
"""

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import libvirt
import libvirt_qemu

from virt.base import log
from virt.launcher.libvirt_conn import errors, words
from virt.launcher.libvirt_conn.api import (
    AgentChanged,
    DeviceGone,
    DiskFailed,
    JobProgress,
    Lifecycle,
    MigrationRequest,
    Notice,
    Panicked,
    Resumed,
)
from virt.launcher.libvirt_conn.translation import translated
from virt.rpc.messages import DomainState

T = TypeVar("T")
_logger = log.get("virt.launcher.libvirt_conn")

_PAGE = 4096
_event_thread: threading.Thread | None = None


def _run_events_once() -> None:
    """libvirt's event loop is the process's: registered before the first connection is opened, never stopped."""
    global _event_thread
    if _event_thread is not None:
        return
    libvirt.virEventRegisterDefaultImpl()
    libvirt.registerErrorHandler(lambda *_: None, None)      # errors come as exceptions; no copies on standard error

    def forever() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    _event_thread = threading.Thread(target=forever, name="libvirt-events", daemon=True)
    _event_thread.start()


class Libvirt:
    """A connection, or none: :meth:`connect` first, and again after ``lost`` was set."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._connection: Any = None
        self._loop = asyncio.get_running_loop()
        self._calls = ThreadPoolExecutor(3, "libvirt")
        self._agent_calls = ThreadPoolExecutor(2, "libvirt-agent")
        self._migration_calls = ThreadPoolExecutor(1, "libvirt-migration")     # one blocks until the guest has left
        self._listeners: list[Callable[[Notice], None]] = []
        self._registered: list[int] = []
        self.lost = asyncio.Event()

    async def connect(self) -> None:
        """Raises HypervisorLost when nobody serves there. Listeners are told to look at every domain that is there."""
        _run_events_once()
        self._connection = await self._call(lambda: libvirt.open(self._uri), errors.HypervisorLost)
        self.lost.clear()
        self._register()
        for domain in await self._call(self._connection.listAllDomains):
            self._hand_over(Lifecycle(domain.name()))

    async def warm_up(self) -> None:
        """Let libvirt ask QEMU what it can do, half a second that the first domain would wait for otherwise."""
        with suppress(errors.HypervisorError):
            await self._call(lambda: self._connection.getDomainCapabilities(None, "x86_64", None, None, 0))

    def _register(self) -> None:
        connection, hand_over = self._connection, self._hand_over
        self._registered.clear()

        def lifecycle(_conn: Any, domain: Any, event: int, _detail: int, _data: Any) -> None:
            if event == libvirt.VIR_DOMAIN_EVENT_CRASHED:
                hand_over(Panicked(domain.name()))
            if event == libvirt.VIR_DOMAIN_EVENT_RESUMED:
                hand_over(Resumed(domain.name()))
            hand_over(Lifecycle(domain.name()))

        def agent(_conn: Any, domain: Any, state: int, _reason: int, _data: Any) -> None:
            connected = libvirt.VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED
            hand_over(AgentChanged(domain.name(), state == connected))

        def disk_failed(_conn: Any, domain: Any, *about: Any) -> None:
            source, alias, action, reason = about[:4]
            if action == libvirt.VIR_DOMAIN_EVENT_IO_ERROR_PAUSE:
                hand_over(DiskFailed(domain.name(), alias or "", source or "", reason or ""))

        def device_gone(_conn: Any, domain: Any, alias: str, _data: Any) -> None:
            hand_over(DeviceGone(domain.name(), alias or ""))

        def closed(_conn: Any, _reason: int, _data: Any) -> None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.lost.set)

        for event, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, agent),
            (libvirt.VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, disk_failed),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, device_gone),
        ):
            try:
                self._registered.append(connection.domainEventRegisterAny(None, event, callback, None))
            except libvirt.libvirtError as error:        # the test driver has no agent
                _logger.info("no such events", number=event, error=str(error))
        try:
            connection.registerCloseCallback(closed, None)
            connection.setKeepAlive(5, 6)
        except libvirt.libvirtError as error:
            _logger.info("no sign of a lost connection", error=str(error))

    def _hand_over(self, notice: Notice) -> None:
        def deliver() -> None:
            for listener in self._listeners:
                listener(notice)

        with suppress(RuntimeError):                   # the loop is closed: nobody is left to hear it
            self._loop.call_soon_threadsafe(deliver)

    def subscribe(self, listener: Callable[[Notice], None]) -> None:
        self._listeners.append(listener)

    async def _call(
        self,
        work: Callable[[], T],
        default: type[errors.HypervisorError] = errors.HypervisorError,
        pool: ThreadPoolExecutor | None = None,
    ) -> T:
        def guarded() -> T:
            with translated(default):
                return work()

        return await self._loop.run_in_executor(pool or self._calls, guarded)

    def _find(self, domain: str) -> Any:
        return self._connection.lookupByName(domain)

    async def create(self, xml: str, *, paused: bool = False) -> str:
        def work() -> str:
            defined = self._connection.defineXMLFlags(xml, 0)
            if defined.isActive():                          # an earlier try whose answer was lost
                return str(defined.name())
            try:
                defined.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
            except libvirt.libvirtError:
                # Later calls into libvirt would clear the error that matters; the exception has it.
                try:
                    defined.undefineFlags(0)
                except libvirt.libvirtError as error:
                    _logger.warning("domain stays defined", error=str(error))
                raise
            return str(defined.name())

        return await self._call(work, errors.InvalidDomain)

    async def placed(self, xml: str) -> str:
        def work() -> str:
            defined = self._connection.defineXMLFlags(xml, 0)
            text = str(defined.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
            if not defined.isActive():                      # else an earlier try whose answer was lost
                defined.undefineFlags(0)
            return text

        return await self._call(work, errors.InvalidDomain)

    async def state(self, domain: str) -> tuple[DomainState, str]:
        try:
            state, reason = await self._call(lambda: self._find(domain).state())
        except errors.NotRunning:
            return DomainState.NONE, ""
        return words.state_and_reason(state, reason)

    async def describe(self, domain: str) -> str:
        return str(await self._call(lambda: self._find(domain).XMLDesc(0)))

    async def press_power_button(self, domain: str) -> None:
        await self._call(lambda: self._find(domain).shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN))

    async def destroy(self, domain: str) -> None:
        def work() -> None:
            found = self._find(domain)
            if found.isActive():
                found.destroyFlags(0)

        with suppress(errors.NotRunning):              # it ended by itself in between
            await self._call(work)

    async def suspend(self, domain: str) -> None:
        await self._call(lambda: self._find(domain).suspend())

    async def resume(self, domain: str) -> None:
        await self._call(lambda: self._find(domain).resume())

    async def reset(self, domain: str) -> None:
        await self._call(lambda: self._find(domain).reset(0))

    async def reboot(self, domain: str, *, by_agent: bool) -> None:
        how = libvirt.VIR_DOMAIN_REBOOT_GUEST_AGENT if by_agent else libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN
        await self._call(lambda: self._find(domain).reboot(how), pool=self._agent_calls if by_agent else None)

    async def screenshot(self, domain: str) -> bytes:
        def work() -> bytes:
            stream = self._connection.newStream(0)
            chunks: list[bytes] = []
            try:
                self._find(domain).screenshot(stream, 0, 0)
                while chunk := stream.recv(262120):
                    chunks.append(chunk)
                stream.finish()
            except BaseException:
                stream.abort()
                raise
            return b"".join(chunks)

        return await self._call(work, errors.NoDevice)

    async def agent_command(self, domain: str, command: str, *, timeout_s: int) -> str:
        def work() -> str:
            return str(libvirt_qemu.qemuAgentCommand(self._find(domain), command, timeout_s, 0))

        try:
            return await self._call(work, errors.AgentError, self._agent_calls)
        except errors.HypervisorError as error:
            name = json.loads(command).get("execute", "")
            raise type(error)(f"guest agent, {name}: {error}") from error

    async def set_guest_time(self, domain: str) -> None:
        await self._call(
            lambda: self._find(domain).setTime(flags=libvirt.VIR_DOMAIN_TIME_SYNC), errors.AgentError, self._agent_calls
        )

    async def attach_device(self, domain: str, xml: str) -> None:
        await self._call(
            lambda: self._find(domain).attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE), errors.NoDevice)

    async def detach_device(self, domain: str, alias: str) -> None:
        await self._call(
            lambda: self._find(domain).detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE), errors.NoDevice)

    async def set_vcpus(self, domain: str, count: int) -> None:
        def work() -> None:
            found = self._find(domain)
            if found.vcpusFlags(libvirt.VIR_DOMAIN_AFFECT_LIVE) < count:
                found.setVcpusFlags(count, libvirt.VIR_DOMAIN_AFFECT_LIVE)

        await self._call(work, errors.InvalidDomain)

    async def migrate(self, domain: str, request: MigrationRequest) -> None:
        flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_PERSIST_DEST
        parameters: dict[str, Any] = {libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{request.memory}"}
        if request.copied:
            # INC: of an overlay only what it holds itself; its backing file is at the target already.
            flags |= libvirt.VIR_MIGRATE_NON_SHARED_INC
            parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(request.copied)
            parameters[libvirt.VIR_MIGRATE_PARAM_DISKS_URI] = f"unix://{request.disks}"
        if request.bandwidth_mib_s:
            parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = request.bandwidth_mib_s
        if request.auto_converge:
            flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE
        if request.unsafe:
            flags |= libvirt.VIR_MIGRATE_UNSAFE
        if request.post_copy:
            flags |= libvirt.VIR_MIGRATE_POSTCOPY
        uri = f"qemu+unix:///session?socket={request.libvirt}"

        def work() -> None:
            self._find(domain).migrateToURI3(uri, parameters, flags)

        await self._call(work, errors.MigrationFailed, self._migration_calls)

    async def progress(self, domain: str) -> JobProgress | None:
        stats = await self._call(lambda: self._find(domain).jobStats())
        if stats.get("type", libvirt.VIR_DOMAIN_JOB_NONE) == libvirt.VIR_DOMAIN_JOB_NONE:
            return None

        def number(name: str) -> int:
            return int(stats.get(name, 0))

        return JobProgress(
            number(libvirt.VIR_DOMAIN_JOB_DATA_TOTAL), number(libvirt.VIR_DOMAIN_JOB_DATA_REMAINING),
            processed=number(libvirt.VIR_DOMAIN_JOB_DATA_PROCESSED),
            dirty_rate=number(libvirt.VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE) * (
                number(libvirt.VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE) or _PAGE),
            transfer_rate=number(libvirt.VIR_DOMAIN_JOB_MEMORY_BPS),
            passes=number(libvirt.VIR_DOMAIN_JOB_MEMORY_ITERATION),
        )

    async def set_max_downtime(self, domain: str, milliseconds: int) -> None:
        await self._call(lambda: self._find(domain).migrateSetMaxDowntime(milliseconds, 0))

    async def start_post_copy(self, domain: str) -> None:
        await self._call(lambda: self._find(domain).migrateStartPostCopy(0))

    async def abort_migration(self, domain: str) -> None:
        await self._call(lambda: self._find(domain).abortJob())

    async def close(self) -> None:
        self._listeners.clear()

        def work() -> None:
            for number in self._registered:
                self._connection.domainEventDeregisterAny(number)
            self._connection.close()

        await self._call(work)
        self._calls.shutdown(wait=False)
        self._agent_calls.shutdown(wait=False)
        self._migration_calls.shutdown(wait=False)
