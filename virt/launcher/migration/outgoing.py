"""The guest leaves: sockets that the handler serves, libvirt's call, and an eye on its progress."""

import asyncio
import contextlib
import dataclasses
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from msgspec.structs import replace

from virt.api import names
from virt.base import log
from virt.launcher.libvirt_conn import Hypervisor, HypervisorError, JobProgress, MigrationRequest
from virt.launcher.migration.functions import Functions
from virt.launcher.migration.policy import ABORTED, PAUSED, POST_COPY, Course, Step, downtime_ms, verdict
from virt.rpc.messages import (
    DISK_PORT,
    LIBVIRT_PORT,
    MEMORY_PORT,
    DomainState,
    Migrate,
    MigrationPhase,
    MigrationReport,
)

LOOK_S = 0.4                    # KubeVirt's monitor period
STUCK_S = 5.0                   # for libvirt to give up
TELL_S = 2.0                    # of the progress, to whoever wants figures
_BACKLOG = 16
_logger = log.get("virt.launcher.migration")

Socket = Callable[[int], str]


class Outgoing:
    """One migration away from here. ``tell`` is told each report; the last one says how it ended.

    ``targets``: device names of the volumes. ``socket_path``: where the socket of a port is. ``kept`` is told
    whether a person has paused the guest on the way: libvirt gives the migration as the reason of every pause.
    ``functions``: of this node, which the guest leaves behind.
    """

    def __init__(
        self, hypervisor: Hypervisor, domain: str, request: Migrate, targets: Mapping[str, str],
        tell: Callable[[MigrationReport], Awaitable[None]], *, socket_path: Socket = names.migration_socket,
        kept: Callable[[bool], None] = lambda _: None, functions: Functions | None = None,
    ) -> None:
        self._hypervisor = hypervisor
        self._domain = domain
        self._request = request
        self._targets = targets
        self._tell = tell
        self._socket_path = socket_path
        self._kept = kept
        self._functions = functions
        self._course = Course()
        self._given_up = ""
        self._is_kept = False
        self._downtime_ms = 0           # what was asked of QEMU last
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.report = MigrationReport(uid=request.uid, phase=MigrationPhase.RUNNING)

    @property
    def is_over(self) -> bool:
        return self.report.phase is not MigrationPhase.RUNNING

    @property
    def holds_guest(self) -> bool:
        """Whether the guest stands still for this migration."""
        return self._course.mode == PAUSED and not self.is_over

    def begin(self) -> tuple[int, ...]:
        """The migration runs from now on; the listening sockets, which are the caller's. Raises OSError."""
        ports = (LIBVIRT_PORT, MEMORY_PORT, *((DISK_PORT,) if self._request.copied else ()))
        sockets: list[socket.socket] = []
        try:
            for port in ports:
                sockets.append(_listening(Path(self._socket_path(port))))
        except OSError:
            for each in sockets:
                each.close()
            raise
        self._task = asyncio.create_task(self._run(), name="migration")
        return tuple(each.detach() for each in sockets)

    async def cancel(self, reason: str) -> None:
        """Ask libvirt to give up. What came of it is in the report, which is told later."""
        self._given_up = reason or ABORTED
        await self._abort()

    async def wait(self) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        limits = self._request.limits
        request = MigrationRequest(
            libvirt=self._socket_path(LIBVIRT_PORT), memory=self._socket_path(MEMORY_PORT),
            disks=self._socket_path(DISK_PORT), copied=tuple(self._targets[name] for name in self._request.copied),
            bandwidth_mib_s=limits.bandwidth_mib_s, auto_converge=limits.auto_converge, unsafe=limits.unsafe,
            post_copy=limits.may_post_copy,
        )
        _logger.info("migration begins", uid=self._request.uid, copied=request.copied)
        await self._tell(self.report)
        try:
            if self._functions is not None:
                await self._functions.let_go(lambda: self._given_up)
            await self._leave(request)
        except HypervisorError as error:
            phase = MigrationPhase.ABORTED if self._given_up else MigrationPhase.FAILED
            reason = self._given_up or await self._why(error)
            _logger.warning("migration failed", uid=self._request.uid, reason=reason, error=str(error))
            await self._let_go()
            self.report = replace(self.report, phase=phase, reason=reason)
        else:
            _logger.info("the guest has left", uid=self._request.uid)
            self.report = replace(self.report, phase=MigrationPhase.SUCCEEDED, remaining=0)
        await self._tell(self.report)

    async def _why(self, error: HypervisorError) -> str:
        """What libvirt says; of a guest that has ended on the way it only tells which connection that broke."""
        try:
            state, why = await self._hypervisor.state(self._domain)
        except HypervisorError:
            return str(error)
        if state in (DomainState.RUNNING, DomainState.PAUSED):
            return str(error)
        what = "shut down" if DomainState.SHUTDOWN in (state, why) else f"ended ({f'{state.value} {why}'.strip()})"
        return f"the guest has {what} on the way: {error}"

    async def _leave(self, request: MigrationRequest) -> None:
        await self._set_downtime(passes=0)
        watching = asyncio.create_task(self._watch(), name="migration progress")
        stuck = asyncio.create_task(self._tell_when_stuck(), name="migration is stuck")
        try:
            await self._hypervisor.migrate(self._domain, request)
        finally:
            self._ended.set()
            await asyncio.wait({watching, stuck})

    async def _watch(self) -> None:
        """Until the migration has ended: not cancelled, since what it does to the guest has to be whole. A call that
        fails is one look less; the end is told by the migration itself."""
        loop = asyncio.get_running_loop()
        began, told_at_s = loop.time(), 0.0
        while not await self._has_ended():
            progress = await self._progress()
            if progress is None or self._ended.is_set():
                continue
            await self._set_downtime(progress.passes)
            at_s = loop.time() - began
            self._course = self._course.after(progress, at_s)
            self.report = replace(
                self.report, total=progress.total, remaining=progress.remaining, processed=progress.processed,
                dirty_rate=progress.dirty_rate, transfer_rate=progress.transfer_rate)
            if at_s - told_at_s >= TELL_S:
                told_at_s = at_s
                await self._tell(self.report)
            if not self._given_up:
                await self._judge(progress, at_s)
            if self._given_up:
                await self._abort()         # again, when it was asked before there was a job

    async def _tell_when_stuck(self) -> None:
        """libvirt that was told to give up tells its peer first, and waits half a minute for one that is out of reach.
        Whoever joins the sockets may cut them then: the guest runs here, so it has not left and will not."""
        loop = asyncio.get_running_loop()
        since: float | None = None
        while not await self._has_ended():
            if not self._given_up or self._course.mode == POST_COPY:
                continue
            since = loop.time() if since is None else since
            if loop.time() - since >= STUCK_S and await self._runs_here():
                self.report = replace(self.report, is_stuck=True)
                await self._tell(self.report)
                return

    async def _runs_here(self) -> bool:
        try:
            return (await self._hypervisor.state(self._domain))[0] is DomainState.RUNNING
        except HypervisorError:
            return False

    async def _has_ended(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._ended.wait()
        return self._ended.is_set()

    async def _judge(self, progress: JobProgress, at_s: float) -> None:
        found = verdict(self._request.limits, progress, self._course, at_s)
        match found.step:
            case Step.GIVE_UP:
                self._given_up = found.why
            case Step.PAUSE:
                await self._enter(PAUSED, self._pause)
            case Step.POST_COPY:
                await self._enter(POST_COPY, self._hypervisor.start_post_copy)

    async def _enter(self, mode: str, begin: Callable[[str], Awaitable[None]]) -> None:
        """Tried again at the next look when it fails."""
        before = self._course
        self._course = dataclasses.replace(before, mode=mode)
        try:
            await begin(self._domain)
        except HypervisorError as error:
            _logger.warning("mode not changed", mode=mode, error=str(error))
            self._course = before
            return
        _logger.info("mode changed", uid=self._request.uid, mode=mode)
        self.report = replace(self.report, mode=mode)
        await self._tell(self.report)

    async def _pause(self, domain: str) -> None:
        """Who is paused already is so for another reason, and stays so."""
        if (await self._hypervisor.state(domain))[0] is DomainState.PAUSED:
            self._is_kept = True
            return
        await self._hypervisor.suspend(domain)

    async def _let_go(self) -> None:
        """After a migration that failed: the guest that was paused for it goes on here. One that a person had paused on
        the way does not, though libvirt lets it."""
        try:
            state, _ = await self._hypervisor.state(self._domain)
            if self._is_kept and state is DomainState.RUNNING:
                await self._hypervisor.suspend(self._domain)
            elif not self._is_kept and self._course.mode == PAUSED and state is DomainState.PAUSED:
                await self._hypervisor.resume(self._domain)
        except HypervisorError as error:
            _logger.error("the guest is not as it should be after its migration", error=str(error))
        if self._functions is not None:
            self._functions.give_back()
        self._kept(False)

    def keep_paused(self, is_kept: bool) -> None:
        """Whether a person wants the guest paused, whatever becomes of the migration."""
        if not self.is_over:
            self._is_kept = is_kept
            self._kept(is_kept)

    async def _progress(self) -> JobProgress | None:
        try:
            return await self._hypervisor.progress(self._domain)
        except HypervisorError as error:
            _logger.info("no progress known", error=str(error))
            return None

    async def _set_downtime(self, passes: int) -> None:
        """Tried again at the next look when it fails."""
        wanted = downtime_ms(self._request.limits, passes)
        if wanted == self._downtime_ms:
            return
        try:
            await self._hypervisor.set_max_downtime(self._domain, wanted)
        except HypervisorError as error:
            _logger.info("maximum downtime not set yet", error=str(error))
        else:
            self._downtime_ms = wanted

    async def _abort(self) -> None:
        try:
            await self._hypervisor.abort_migration(self._domain)
        except HypervisorError as error:
            _logger.info("not aborted", error=str(error))


def _listening(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)            # of an earlier migration that failed
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(os.fspath(path))
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made
