"""The connection to this node's virt-handler, dialled again when it ends: handlers are updated under running guests."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from virt.api import names
from virt.base import log
from virt.rpc.errors import ConnectionLost, RpcError
from virt.rpc.messages import PROTOCOL_VERSION, DomainEvent, DomainStatus, Event, Hello, Request
from virt.rpc.peer import Peer, Reply

_logger = log.get("virt.launcher.link")
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0          # people wait for it: their actions go through the new handler
_ANSWERS_S = 2.0
_GOOD_AFTER_S = 10.0            # a connection that lived so long resets the pauses


class HandlerLink:
    """``serve`` answers requests; ``status`` tells the state with which each connection begins."""

    def __init__(
        self,
        serve: Callable[[Request, tuple[int, ...]], Awaitable[Reply]],
        status: Callable[[], DomainStatus],
        *,
        pid: int,
        path: str = names.LAUNCHER_HANDLER_SOCKET,
    ) -> None:
        self._serve = serve
        self._status = status
        self._pid = pid
        self._path = path
        self._peer: Peer | None = None
        self._connected = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        return self._peer is not None

    async def run(self) -> None:
        """Dial again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        pause_s, said = _FIRST_PAUSE_S, ""
        while True:
            began = loop.time()
            try:
                await self._one_connection()
                problem = "the handler closed the connection"
            except (OSError, RpcError) as error:
                problem = str(error) or type(error).__name__
            if loop.time() - began > _GOOD_AFTER_S:
                pause_s = _FIRST_PAUSE_S
            if problem != said:
                said = problem
                _logger.info("no connection to virt-handler", reason=problem, path=self._path)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    async def _one_connection(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, self._path)
        except BaseException:
            sock.close()
            raise
        peer = Peer(sock, serve=self._serve)
        try:
            await peer.tell(Hello(version=PROTOCOL_VERSION, pid=self._pid))
            await peer.tell(DomainEvent(status=self._status()))
            self._peer = peer
            self._connected.set()
            await peer.run()
        finally:
            self._peer = None
            self._connected.clear()
            peer.close()

    async def tell(self, event: Event) -> bool:
        """False when nobody heard it; the next connection starts with the state anyway."""
        peer = self._peer
        if peer is None:
            return False
        try:
            await peer.tell(event)
        except ConnectionLost:
            return False
        return True

    async def settle(self) -> None:
        """Until answers on their way are sent, the one to Destroy among them."""
        if self._peer is not None:
            await self._peer.settle(deadline_s=_ANSWERS_S)

    async def wait_connected(self) -> None:
        await self._connected.wait()
