"""libvirt's daemons in the launcher's container: their configuration, start and end.

Session mode, as the container's only user. Debian has no virtqemud: libvirtd with only the QEMU driver installed is the
same thing, and a link gives clients the socket under the name that they know from KubeVirt.
"""

import asyncio
import contextlib
import os
import shutil
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from virt.api import names
from virt.base import exec as process
from virt.base import log
from virt.base.waiting import wait_for_async
from virt.launcher.libvirt_conn import HypervisorError
from virt.launcher.libvirt_conn.real import Libvirt

_logger = log.get("virt.launcher.daemons")
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
# The serial log goes through virtlogd, which cuts it: a guest must not be able to fill the node's disk.
_VIRTLOGD = """\
log_level = 3
log_outputs = "3:stderr"
max_size = 1048576
max_backups = 2
"""
# max_core 0: a core file would hold the guest's memory.
_QEMU = """\
stdio_handler = "logd"
remember_owner = 0
namespaces = []
cgroup_controllers = []
max_core = 0
"""


@dataclass(frozen=True)
class Paths:
    """``run``: sockets and state. ``config``: XDG_CONFIG_HOME, ``cache``: XDG_CACHE_HOME."""

    run: Path = Path(names.LIBVIRT_DIR)
    config: Path = Path(names.PRIVATE_DIR)
    cache: Path = Path(names.PRIVATE_DIR)

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
        folder / "virtlogd.conf": _VIRTLOGD,
        folder / "qemu.conf": _QEMU,
    }


class Daemons:
    """virtlogd and libvirtd, started again when they end: guests outlive both, and a new libvirtd finds its guest."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._running: dict[str, process.Running] = {}
        self._restarts: deque[float] = deque(maxlen=_MOST_RESTARTS)

    @property
    def _socket(self) -> Path:
        return self._paths.run / "libvirt-sock"

    async def start(self, host_uuid: str) -> Libvirt:
        """Both daemons run, and this is the connection to libvirt. Raises RunError or WaitTimeout."""
        for path, text in files(self._paths, host_uuid).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._paths.run.mkdir(parents=True, exist_ok=True)
        for name in ("virtlogd", "libvirtd"):
            await self._start(name)
        libvirt = Libvirt(f"qemu+unix:///session?socket={self._socket}")
        await self._connect(libvirt)
        with contextlib.suppress(FileExistsError):
            (self._paths.run / Path(names.LIBVIRT_SOCKET).name).symlink_to(self._socket.name)
        return libvirt

    async def _start(self, name: str) -> None:
        program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or name
        config = self._paths.config / "libvirt" / f"{name}.conf"
        self._running[name] = await process.start([program, "--config", str(config)], env=self._paths.environment)

    async def _connect(self, libvirt: Libvirt) -> None:
        async def connected() -> Exception | None:
            if (ended := self._ended("libvirtd")) is not None:
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

    def _ended(self, name: str) -> process.RunError | None:
        each = self._running[name]
        code = each.process.returncode
        return None if code is None else process.RunError(process.Result(each.argv, code, "", "its log is above", 0.0))

    async def supervise(self, libvirt: Libvirt) -> None:
        """Returns never. Raises RunError when daemons end again and again."""
        while True:
            waits = {
                **{name: asyncio.ensure_future(each.wait()) for name, each in self._running.items()},
                "connection": asyncio.ensure_future(libvirt.lost.wait()),
            }
            try:
                await asyncio.wait(waits.values(), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits.values():
                    wait.cancel()
            for name in tuple(self._running):
                if (ended := self._ended(name)) is not None:
                    _logger.error("daemon ended", daemon=name, code=ended.result.code)
                    self._count_restart(ended)
                    await self._start(name)
            # A lost connection shows before the daemon's end does, or without it.
            if libvirt.lost.is_set():
                await asyncio.sleep(_REAP_S)
                if self._ended("libvirtd") is None:
                    await self._connect(libvirt)
                    _logger.info("connected to libvirt again")

    def _count_restart(self, ended: process.RunError) -> None:
        now = time.monotonic()
        if len(self._restarts) == _MOST_RESTARTS and now - self._restarts[0] < _RESTARTS_WITHIN_S:
            raise ended
        self._restarts.append(now)

    async def stop(self) -> None:
        for each in reversed(self._running.values()):
            await each.stop()
