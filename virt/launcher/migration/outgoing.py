"""The guest leaves: sockets that the handler serves, libvirt's call, and an eye on its progress."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from msgspec.structs import replace

from virt.api import names
from virt.base import log
from virt.launcher.libvirt_conn import Hypervisor, HypervisorError, JobProgress, MigrationRequest
from virt.launcher.migration.policy import Course, why_given_up
from virt.rpc.messages import (
    DISK_PORT,
    LIBVIRT_PORT,
    MEMORY_PORT,
    Migrate,
    MigrationPhase,
    MigrationReport,
)

LOOK_S = 0.4                    # KubeVirt's monitor period
_BACKLOG = 16
_logger = log.get("virt.launcher.migration")

Socket = Callable[[int], str]


class Outgoing:
    """One migration away from here. ``tell`` is told each report; the last one says how it ended.

    ``targets``: device names of the volumes. ``socket_path``: where the socket of a port is.
    """

    def __init__(
        self, hypervisor: Hypervisor, domain: str, request: Migrate, targets: Mapping[str, str],
        tell: Callable[[MigrationReport], Awaitable[None]], *, socket_path: Socket = names.migration_socket,
    ) -> None:
        self._hypervisor = hypervisor
        self._domain = domain
        self._request = request
        self._targets = targets
        self._tell = tell
        self._socket_path = socket_path
        self._given_up = ""
        self._cancelled = False
        self._task: asyncio.Task[None] | None = None
        self.report = MigrationReport(uid=request.uid, phase=MigrationPhase.RUNNING)

    @property
    def is_over(self) -> bool:
        return self.report.phase is not MigrationPhase.RUNNING

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
        self._cancelled, self._given_up = True, reason or "Live migration has been aborted"
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
        )
        _logger.info("migration begins", uid=self._request.uid, copied=request.copied)
        await self._tell(self.report)
        watching = asyncio.create_task(self._watch(), name="migration progress")
        try:
            await self._hypervisor.migrate(self._domain, request)
        except HypervisorError as error:
            phase = MigrationPhase.ABORTED if self._cancelled else MigrationPhase.FAILED
            reason = self._given_up or str(error)
            _logger.warning("migration failed", uid=self._request.uid, reason=reason, error=str(error))
            self.report = replace(self.report, phase=phase, reason=reason)
        else:
            _logger.info("the guest has left", uid=self._request.uid)
            self.report = replace(self.report, phase=MigrationPhase.SUCCEEDED, remaining=0)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await self._tell(self.report)

    async def _watch(self) -> None:
        """Until cancelled. A call that fails is one look less; the end is told by the migration itself."""
        loop = asyncio.get_running_loop()
        began, course, is_set = loop.time(), Course(), False
        while True:
            await asyncio.sleep(LOOK_S)
            progress = await self._progress()
            if progress is None:
                continue
            if not is_set and self._request.limits.max_downtime_ms:
                is_set = await self._set_downtime()
            at_s = loop.time() - began
            course = course.after(progress, at_s)
            self.report = replace(self.report, total=progress.total, remaining=progress.remaining)
            if not self._given_up and (why := why_given_up(self._request.limits, progress, course, at_s)):
                self._given_up = why
            if self._given_up:
                await self._abort()         # again, when it was asked before there was a job

    async def _progress(self) -> JobProgress | None:
        try:
            return await self._hypervisor.progress(self._domain)
        except HypervisorError as error:
            _logger.info("no progress known", error=str(error))
            return None

    async def _set_downtime(self) -> bool:
        try:
            await self._hypervisor.set_max_downtime(self._domain, self._request.limits.max_downtime_ms)
        except HypervisorError as error:
            _logger.info("maximum downtime not set yet", error=str(error))
            return False
        return True

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
