"""Files of disk containers, received as descriptors.

The helper in the disk container (helpers/container-disk.c) opened the file; we keep the descriptor for the pod's life,
and QEMU opens it again through a link to /proc/<our pid>/fd/<n>. Never resolve that link: what readlink says is a path
of the other container's root. Overlay and domain name the link only, so they stay true when pids differ.
"""

import asyncio
import fcntl
import os
import socket
import stat
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from virt.api import names
from virt.base import log
from virt.base.waiting import WaitTimeout, wait_for_async
from virt.launcher.disks import image
from virt.launcher.disks.errors import DiskError, DiskNotThereYet
from virt.rpc.framing import close_all, credentials

_logger = log.get("virt.launcher.disks")
_ANSWER_S = 10.0
_LARGEST_ANSWER = 16384
_LOWEST_FD = 100              # out of the way of whatever a library expects below
_MOST_FILES = 2


class _Offer(msgspec.Struct, frozen=True):
    role: str = ""
    path: str = ""
    size: int = 0
    mode: int = 0
    uid: int = 0
    error: str = ""


@dataclass(frozen=True)
class HeldFile:
    """``link`` is what QEMU opens; ``format`` and ``size`` as in :class:`virt.launcher.disks.image.Image`."""

    link: str
    format: str
    size: int


@dataclass
class ContainerFiles:
    """Asks helpers once and keeps what they gave. ``links``: the folder of the links, made when missing."""

    links: Path
    wait_s: float = 60.0
    _held: dict[str, dict[str, HeldFile]] = field(default_factory=dict)
    _connections: list[socket.socket] = field(default_factory=list)

    async def files(self, volume: str) -> dict[str, HeldFile]:
        """The volume's files by role: "disk", or "kernel" and "initrd". Waits for the helper; raises DiskError."""
        if volume not in self._held:
            path = names.container_disk_socket(volume)

            async def connected() -> socket.socket | OSError:
                try:
                    return await asyncio.to_thread(_connect, path)
                except OSError as error:
                    return error

            try:
                connection = await wait_for_async(
                    connected, lambda got: isinstance(got, socket.socket), deadline_s=self.wait_s, every_s=0.05,
                    what=f"the disk container of volume {volume}",
                )  # fmt: skip
            except WaitTimeout as error:
                raise DiskNotThereYet(f"volume {volume}: its disk container does not answer: {error}") from error
            assert isinstance(connection, socket.socket)
            self._held[volume] = await asyncio.to_thread(self._take, volume, connection)
        return self._held[volume]

    def _take(self, volume: str, connection: socket.socket) -> dict[str, HeldFile]:
        try:
            offers, fds = _receive(connection)
        except (OSError, msgspec.DecodeError) as error:
            connection.close()
            raise DiskError(f"volume {volume}: no answer from its disk container: {error}") from error
        kept: list[int] = []
        try:
            refused = next((offer.error for offer in offers if offer.error), "")
            if refused or not offers or len(offers) != len(fds):
                raise DiskError(f"volume {volume}: {refused or 'its disk container offers no file'}")
            held = {offer.role: self._hold(volume, offer, fd, kept) for offer, fd in zip(offers, fds, strict=True)}
            connection.send(b"h")              # the helper stays as long as this connection does
        except BaseException:
            close_all(kept)                    # it is tried again and again
            connection.close()
            raise
        finally:
            close_all(fds)
        self._connections.append(connection)
        return held

    def _hold(self, volume: str, offer: _Offer, fd: int, held: list[int]) -> HeldFile:
        """``held`` gets the descriptor that is kept from now on, also where the file cannot be used after all."""
        where = f"volume {volume}: {offer.path}"
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise DiskError(f"{where} is no regular file")
        try:
            found = image.inspect(fd)
        except image.UnusableImage as error:
            raise DiskError(f"{where}: {error}") from error
        kept = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST_FD)
        held.append(kept)
        self.links.mkdir(parents=True, exist_ok=True)
        link = self.links / f"{volume}-{offer.role}.img"
        link.unlink(missing_ok=True)
        link.symlink_to(f"/proc/{os.getpid()}/fd/{kept}")
        try:
            os.close(os.open(link, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            whose = f"mode {offer.mode:04o}, uid {offer.uid}"
            raise DiskError(f"{where} ({whose}) cannot be opened by uid {os.getuid()}: {error.strerror}") from error
        _logger.info("container disk", volume=volume, path=offer.path, format=found.format, size=found.size)
        return HeldFile(str(link), found.format, found.size)


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_ANSWER_S)
        connection.connect(path)
        _, uid, _ = credentials(connection)
        if uid != os.getuid():
            raise PermissionError(f"{path} is served by uid {uid}, not {os.getuid()}")
    except BaseException:
        connection.close()
        raise
    return connection


def _receive(connection: socket.socket) -> tuple[list[_Offer], list[int]]:
    text, fds = b"", []
    try:
        while len(text) < _LARGEST_ANSWER:
            chunk, received, _flags, _address = socket.recv_fds(
                connection, _LARGEST_ANSWER, _MOST_FILES, socket.MSG_CMSG_CLOEXEC
            )
            fds += received
            if not chunk:
                break
            text += chunk
        return [msgspec.json.decode(line, type=_Offer) for line in text.splitlines()], fds
    except BaseException:
        close_all(fds)
        raise
