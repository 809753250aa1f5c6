"""A launcher that dials a handler's socket and plays a domain: no libvirt, no guest, the real protocol."""

import asyncio
import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path

from tests.waits import HANG_S
from virt.rpc.errors import RequestFailed
from virt.rpc.messages import (
    PROTOCOL_VERSION,
    Data,
    Destroy,
    DomainEvent,
    DomainState,
    DomainStatus,
    Done,
    Event,
    GuestInfo,
    Hello,
    Migrate,
    OpenMigrationPort,
    OpenSerial,
    OpenVnc,
    Pause,
    Request,
    Screenshot,
    SetVcpus,
    Shutdown,
    SyncVmi,
    Unpause,
)
from virt.rpc.peer import Peer, Reply


class FakeLauncher:
    """``asked`` holds every request; ``refuse`` answers the next ones of that type with an error. The guest ignores the
    power button unless ``obeys``. ``guest_ends`` are the guest's sides of the streams that were opened; ``passes`` is a
    path that is opened and passed instead of a stream."""

    def __init__(self, status: DomainStatus | None = None, *, obeys: bool = True) -> None:
        self.status = status or DomainStatus(state=DomainState.NONE)
        self.asked: list[Request] = []
        self.refuse: dict[type, RequestFailed] = {}
        self.obeys = obeys
        self.sockets: list[int] = []
        self.guest_ends: list[socket.socket] = []
        self.guest_info = b"{}"
        self.version = PROTOCOL_VERSION
        self.migration_ports: dict[int, str] = {}         # of a source: paths of its listening sockets
        self.migration_ends: dict[int, socket.socket] = {}      # of a target: what its libvirt and QEMU would hold
        self._folders: list[str] = []
        self.passes = ""
        self._peer: Peer | None = None
        self._task: asyncio.Task[None] | None = None

    async def dial(self, path: Path) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(str(path))
        self._peer = Peer(sock, serve=self._serve)
        self._task = asyncio.create_task(self._peer.run())
        await self._peer.tell(Hello(version=self.version, pid=1))
        await self._peer.tell(DomainEvent(status=self.status))

    async def becomes(self, status: DomainStatus) -> None:
        self.status = status
        await self.tell(DomainEvent(status=status))

    async def tell(self, event: Event) -> None:
        assert self._peer is not None
        await self._peer.tell(event)

    async def hang_up(self) -> None:
        if self._peer is not None and self._task is not None:
            self._peer.close()
            with contextlib.suppress(Exception):
                await self._task
            self._peer = None

    async def until_closed(self) -> None:
        assert self._task is not None
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._task, HANG_S)

    def close(self) -> None:
        for fd in self.sockets:
            os.close(fd)
        for end in self.guest_ends:
            end.close()
        for folder in self._folders:
            shutil.rmtree(folder)

    def _listening(self, ports: tuple[int, ...]) -> tuple[int, ...]:
        found = []
        folder = tempfile.mkdtemp()             # a test's own folder is too long for a socket's path
        self._folders.append(folder)
        for port in ports:
            self.migration_ports[port] = f"{folder}/{port}.sock"
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.bind(self.migration_ports[port])
            made.listen()
            found.append(made.detach())
        return tuple(found)

    async def _serve(self, request: Request, fds: tuple[int, ...]) -> Reply:
        self.asked.append(request)
        self.sockets += fds
        if type(request) in self.refuse:
            raise self.refuse.pop(type(request))
        match request:
            case SyncVmi():
                self.status = DomainStatus(
                    state=DomainState.RUNNING, reason="Booted", machine="pc-q35-10.0", accelerator="tcg",
                    disks=self.status.disks,
                )
                return Reply(self.status)
            case OpenSerial() | OpenVnc() if self.passes:
                return Reply(Done(), (os.open(self.passes, os.O_RDONLY),))
            case OpenSerial() | OpenVnc():
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                self.guest_ends.append(ours)
                return Reply(Done(), (theirs.detach(),))
            case Migrate():
                return Reply(Done(), self._listening((0, 49152, *((49153,) if request.copied else ()))))
            case OpenMigrationPort(port=port):
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                self.migration_ends[port] = ours
                self.guest_ends.append(ours)
                return Reply(Done(), (theirs.detach(),))
            case SetVcpus():
                return Reply(self.status)
            case Screenshot():
                return Reply(Data(body=b"\x89PNG"))
            case GuestInfo():
                return Reply(Data(body=self.guest_info))
            case Shutdown() if self.obeys:
                await self.becomes(DomainStatus(state=DomainState.SHUTOFF, reason="Shutdown"))
            case Destroy():
                await self.becomes(DomainStatus(state=DomainState.SHUTOFF, reason="Destroyed"))
            case Pause():
                await self.becomes(DomainStatus(state=DomainState.PAUSED, reason="User"))
            case Unpause():
                await self.becomes(DomainStatus(state=DomainState.RUNNING, reason="Unpaused"))
        return Reply(Done())
