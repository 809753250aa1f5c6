"""libvirt's daemon in the launcher's container: its configuration, start and end.

Session mode, as the container's only user. Debian has no virtqemud: libvirtd with only the QEMU driver installed is the
same thing, and a link gives clients the socket under the name that they know from KubeVirt.
"""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from virt.api import names
from virt.base import exec as process
from virt.base import log
from virt.base.waiting import WaitStopped, WaitTimeout, wait_for_async
from virt.launcher.libvirt_conn import HypervisorError
from virt.launcher.libvirt_conn.real import Libvirt

_logger = log.get("virt.launcher.daemon")
_START_S = 60.0
_MOST_RESTARTS, _RESTARTS_WITHIN_S = 6, 60.0
_REAP_S = 0.05

# One key per line, as libvirt's parser wants it.
_LIBVIRTD = """\
unix_sock_dir = "{run}"
auth_unix_rw = "none"
log_level = 3
log_outputs = "3:stderr"
max_clients = 20
max_workers = 6
min_workers = 2
prio_workers = 2
max_client_requests = 5
max_queued_clients = 20
{host_uuid}"""
# stdio_handler file: no virtlogd, six megabytes in every launcher; virt.launcher.seriallog keeps the log small.
# max_core 0: a core file would hold the guest's memory.
# shared_filesystems: what kind of file system a claim is says nothing of who else mounts it; that its access mode says,
# and only VMIs whose claims are ReadWriteMany migrate. libvirt would refuse all but network file systems.
_QEMU = """\
stdio_handler = "file"
remember_owner = 0
namespaces = []
cgroup_controllers = []
max_core = 0
shared_filesystems = ["{claims}"]
"""


@dataclass(frozen=True)
class Paths:
    """``run``: sockets and state. ``config``: XDG_CONFIG_HOME, ``cache``: XDG_CACHE_HOME. ``claims``: below it file
    systems of claims are mounted."""

    run: Path = Path(names.LIBVIRT_DIR)
    config: Path = Path(names.PRIVATE_DIR)
    cache: Path = Path(names.PRIVATE_DIR)
    claims: Path = Path(names.VMI_DISKS_DIR)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "XDG_RUNTIME_DIR": str(self.run.parent),
            "XDG_CONFIG_HOME": str(self.config),
            "XDG_CACHE_HOME": str(self.cache),
            "HOME": str(self.config),
            "MALLOC_ARENA_MAX": "1",              # glibc's arena per thread costs megabytes in every launcher
        }


def files(paths: Paths, host_uuid: str) -> Mapping[Path, str]:
    """Configuration files and what is in them. ``host_uuid``: the pod's uid; migration refuses twins."""
    folder = paths.config / "libvirt"
    return {
        folder / "libvirtd.conf": _LIBVIRTD.format(
            run=paths.run, host_uuid=f'host_uuid = "{host_uuid}"\n' if host_uuid else ""
        ),
        folder / "qemu.conf": _QEMU.format(claims=paths.claims),
    }


class Daemon:
    """libvirtd, started again when it ends: the guest outlives it, and a new one finds its guest."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._running: process.Running | None = None
        self._restarts: deque[float] = deque(maxlen=_MOST_RESTARTS)

    @property
    def _socket(self) -> Path:
        return self._paths.run / "libvirt-sock"

    async def start(self, host_uuid: str) -> Libvirt:
        """The daemon runs, and this is the connection to libvirt. Raises RunError or WaitTimeout."""
        for path, text in files(self._paths, host_uuid).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for folder in (self._paths.run, self._paths.claims):      # libvirt reads no path that is not there
            folder.mkdir(parents=True, exist_ok=True)
        await self._start()
        libvirt = Libvirt(f"qemu+unix:///session?socket={self._socket}")
        await self._connect(libvirt)
        with contextlib.suppress(FileExistsError):
            (self._paths.run / Path(names.LIBVIRT_SOCKET).name).symlink_to(self._socket.name)
        return libvirt

    async def _start(self) -> None:
        config = self._paths.config / "libvirt" / "libvirtd.conf"
        environment = {**self._paths.environment, "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"}
        self._running = await process.start(["libvirtd", "--config", str(config)], env=environment)

    async def _connect(self, libvirt: Libvirt) -> None:
        async def connected() -> Exception | None:
            if (ended := self._ended()) is not None:
                return ended
            try:
                await libvirt.connect()
            except HypervisorError as error:
                return error
            return None

        await wait_for_async(
            connected, lambda problem: problem is None, stop=lambda problem: isinstance(problem, process.RunError),
            deadline_s=_START_S, every_s=0.02, what="libvirtd to answer",
        )  # fmt: skip

    def _ended(self) -> process.RunError | None:
        each = self._running
        if each is None or each.process.returncode is None:
            return None
        return process.RunError(process.Result(each.argv, each.process.returncode, "", "its log is above", 0.0))

    async def supervise(self, libvirt: Libvirt) -> None:
        """Returns never. Raises RunError when the daemon ends again and again."""
        assert self._running is not None
        while True:
            waits = (asyncio.ensure_future(self._running.wait()), asyncio.ensure_future(libvirt.lost.wait()))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
            if (ended := self._ended()) is not None:
                _logger.error("libvirtd ended", code=ended.result.code)
                self._count_restart(ended)
                await self._start()
            # A lost connection shows before the daemon's end does, or without it.
            if libvirt.lost.is_set():
                await asyncio.sleep(_REAP_S)
                if self._ended() is None:
                    await self._reconnect(libvirt)

    async def _reconnect(self, libvirt: Libvirt) -> None:
        """Where that fails the daemon has ended, or is made to: it is started anew then, and the guest goes on."""
        try:
            await self._connect(libvirt)
        except WaitStopped as error:
            _logger.warning("libvirtd has ended again", error=str(error))
        except WaitTimeout as error:
            _logger.error("libvirtd does not answer", error=str(error))
            await self.stop()
        else:
            _logger.info("connected to libvirt again")

    def _count_restart(self, ended: process.RunError) -> None:
        now = time.monotonic()
        if len(self._restarts) == _MOST_RESTARTS and now - self._restarts[0] < _RESTARTS_WITHIN_S:
            raise ended
        self._restarts.append(now)

    async def stop(self) -> None:
        if self._running is not None:
            await self._running.stop()
