"""libvirt's daemons in the launcher's container: their configuration, start and end.

Session mode, as the container's only user. Debian has no virtqemud: libvirtd with only the QEMU driver installed is the
same thing, and a link gives clients the socket under the name that they know from KubeVirt.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from virt.api import names
from virt.base import exec as process
from virt.base import log
from virt.base.waiting import wait_for_async
from virt.launcher.libvirt_conn.real import Libvirt

_logger = log.get("virt.launcher.daemons")
_START_S = 60.0

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
    """virtlogd and libvirtd from :meth:`start` to :meth:`stop`."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._running: list[process.Running] = []

    async def start(self, host_uuid: str) -> Libvirt:
        """Both daemons run, and this is the connection to libvirt. Raises RunError or WaitTimeout."""
        for path, text in files(self._paths, host_uuid).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._paths.run.mkdir(parents=True, exist_ok=True)
        folder = self._paths.config / "libvirt"
        environment = self._paths.environment
        for name in ("virtlogd", "libvirtd"):
            program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or name
            self._running.append(
                await process.start([program, "--config", str(folder / f"{name}.conf")], env=environment)
            )
        socket = self._paths.run / "libvirt-sock"

        async def connection() -> Libvirt | Exception:
            if (ended := self._ended()) is not None:
                return ended
            try:
                return await Libvirt.open(f"qemu+unix:///session?socket={socket}")
            except Exception as error:  # noqa: BLE001  (whatever it is, it is the state that the wait reports)
                return error

        opened = await wait_for_async(
            connection, lambda got: isinstance(got, Libvirt), stop=lambda got: isinstance(got, process.RunError),
            deadline_s=_START_S, every_s=0.02, what="libvirtd to answer",
        )  # fmt: skip
        assert isinstance(opened, Libvirt)
        with contextlib.suppress(FileExistsError):
            Path(self._paths.run / Path(names.LIBVIRT_SOCKET).name).symlink_to(socket.name)
        return opened

    def _ended(self) -> process.RunError | None:
        for each in self._running:
            code = each.process.returncode
            if code is not None:
                return process.RunError(process.Result(each.argv, code, "", "it ended; its log is above", 0.0))
        return None

    async def watch(self) -> None:
        """Returns never; raises RunError when a daemon ends."""
        ends = [asyncio.ensure_future(each.wait()) for each in self._running]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        ended = self._ended()
        assert ended is not None
        raise ended

    async def stop(self) -> None:
        for each in reversed(self._running):
            await each.stop()
