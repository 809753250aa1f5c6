"""What the handler knows about one launcher: its connection, the last reported state of its domain, its network."""

import socket
from collections.abc import Sequence

from virt.api import v1
from virt.handler.launchers.process import Process
from virt.rpc.errors import ConnectionLost, RequestFailed
from virt.rpc.framing import close_all
from virt.rpc.messages import (
    DiskError,
    DomainEvent,
    DomainState,
    DomainStatus,
    Event,
    GivenFunction,
    GuestAgentSilent,
    GuestPanicked,
    Hello,
    Request,
    WiredInterface,
)
from virt.rpc.peer import Peer, Reply

Note = GuestPanicked | GuestAgentSilent | DiskError
LIVE_STATES = (DomainState.RUNNING, DomainState.PAUSED, DomainState.SHUTDOWN)


class Launcher:
    """The launcher of one pod, from its first connection until its process has ended; it may connect again meanwhile.

    ``vmi`` is the VMI as last seen: events are about it, also when it is gone already. ``wired`` is None until this
    handler has wired the pod.
    """

    def __init__(self, key: str, vmi: v1.VirtualMachineInstance, process: Process) -> None:
        self.key = key
        self.vmi = vmi
        self.process = process
        self.status: DomainStatus | None = None
        self.wired: tuple[WiredInterface, ...] | None = None
        self.pod_addresses: tuple[str, ...] = ()
        self.functions: tuple[GivenFunction, ...] = ()      # given by this handler
        self._has_sockets = False                   # for DHCP
        self.power_button_at: float | None = None
        self.resumes = 0                            # after I/O errors
        self.stopped_at: float | None = None
        self.notes: list[Note] = []      # happened, not yet told to people
        self.is_dead = False
        self.version = 1                            # of the protocol
        self._peer: Peer | None = None

    @property
    def pod_uid(self) -> str:
        return self.process.pod_uid

    @property
    def is_connected(self) -> bool:
        return self._peer is not None

    @property
    def has_live_guest(self) -> bool:
        """Whether there is a guest that can be asked something now."""
        return self.is_connected and self.status is not None and self.status.state in LIVE_STATES

    @property
    def has_lost_its_guest(self) -> bool:
        """Whether the launcher has ended, or its guest has gone to another node."""
        has_left = self.status is not None and self.status.state is DomainState.SHUTOFF
        return self.is_dead or (has_left and self.status is not None and self.status.reason == "Migrated")

    @property
    def has_ended(self) -> bool:
        """Its process has ended, and everything that it sent has been read."""
        return self.is_dead and not self.is_connected

    def connected(self, peer: Peer) -> None:
        self.hang_up()
        self._peer = peer
        self.status = None          # the first event tells it

    def disconnected(self, peer: Peer) -> bool:
        """False when another connection has taken its place already."""
        if self._peer is not peer:
            return False
        self._peer = None
        return True

    def take(self, event: Event) -> None:
        match event:
            case Hello(version=version):
                self.version = version
            case DomainEvent(status=status):
                self.status = status
            case GuestPanicked() | GuestAgentSilent() | DiskError():
                self.notes.append(event)
                del self.notes[:-16]

    async def call(self, request: Request, fds: Sequence[int] = (), *, deadline_s: float) -> Reply:
        """As :meth:`virt.rpc.peer.Peer.call`; ConnectionLost also while the launcher is not connected."""
        if self._peer is None:
            raise ConnectionLost(f"the launcher of {self.key} is not connected")
        reply = await self._peer.call(request, fds, deadline_s=deadline_s)
        if isinstance(reply.answer, DomainStatus):
            self.status = reply.answer
        return reply

    async def open(self, request: Request, *, deadline_s: float) -> socket.socket:
        """The connected stream socket with which a request is answered; it does not block.

        Raises as :meth:`call`, and RequestFailed for an answer with anything else.
        """
        _, fds = await self.call(request, deadline_s=deadline_s)
        if len(fds) != 1:
            close_all(fds)
            raise RequestFailed("Internal", f"the launcher gave {len(fds)} sockets instead of one")
        try:
            opened = socket.socket(fileno=fds[0])
        except OSError as error:
            close_all(fds)
            raise RequestFailed("Internal", f"the launcher gave something that is no socket: {error}") from error
        if opened.family is not socket.AF_UNIX or opened.type is not socket.SOCK_STREAM:
            opened.close()
            raise RequestFailed("Internal", "the launcher gave something that is no stream socket")
        opened.setblocking(False)
        return opened

    async def call_with_sockets(self, request: Request, sockets: Sequence[socket.socket], *, deadline_s: float) -> None:
        """A call that brings the launcher its DHCP sockets, unless it has them already; they stay the caller's."""
        fds = () if self._has_sockets else tuple(each.fileno() for each in sockets)
        self._has_sockets = True            # sent means given, whatever the answer: it keeps them for the next try
        try:
            await self.call(request, fds, deadline_s=deadline_s)
        except ConnectionLost:
            self._has_sockets = False
            raise

    def hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
