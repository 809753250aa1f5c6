"""Ports of migrations: at the target TCP with mutual TLS, at the source the launcher's listening sockets.

Each logical port (0 libvirt, 49152 memory, 49153 disks) is one TCP port of its own, chosen by the kernel for this one
migration, as in KubeVirt. Whoever connects must show the certificate that handlers show each other in migrations.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from virt.api import names
from virt.base import log
from virt.handler.migration.relay import BUFFER, join
from virt.kube import http
from virt.rpc.errors import RpcError

DIAL_S = 10.0
# The source hears of the switch-over through these very connections, so they outlive it.
FAREWELL_S = 30.0
SILENCE_S = 30.0                # as long as libvirt waits for an answer of its peer

Open = Callable[[int], Awaitable[socket.socket]]     # the target launcher's end of a logical port

_logger = log.get("virt.handler.migration")


@dataclass
class _Joined:
    """Of one migration. ``accepting``: what waits for connections; ``connections``: what serves them."""

    accepting: list[asyncio.AbstractServer | asyncio.Task[None]] = field(default_factory=list)
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    def serve(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self.connections.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.connections.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.warning("connection of a migration failed", error=str(error) or type(error).__name__)

    def stop_accepting(self) -> None:
        for each in self.accepting:
            each.cancel() if isinstance(each, asyncio.Task) else each.close()
        self.accepting.clear()

    def cut(self) -> None:
        self.stop_accepting()
        for task in tuple(self.connections):
            task.cancel()


class _Ports:
    """Migrations by the uid of the VMI, each of which has one at a time."""

    def __init__(self) -> None:
        self._joined: dict[tuple[str, str], _Joined] = {}

    def has(self, vmi_uid: str, migration_uid: str) -> bool:
        return (vmi_uid, migration_uid) in self._joined

    def cut(self, vmi_uid: str) -> None:
        """All of the VMI, at once: the guest stays where it is."""
        for key in [key for key in self._joined if key[0] == vmi_uid]:
            self._joined.pop(key).cut()

    def release(self, vmi_uid: str) -> None:
        """All of the VMI: no new connections, and those that there are get time to end by themselves."""
        for key in [key for key in self._joined if key[0] == vmi_uid]:
            joined = self._joined.pop(key)
            joined.stop_accepting()
            if joined.connections:
                asyncio.get_running_loop().call_later(FAREWELL_S, joined.cut)

    def close(self) -> None:
        for joined in self._joined.values():
            joined.cut()
        self._joined.clear()


class TargetPorts(_Ports):
    """``context``: a server's, that asks for a certificate of our CA; None for connections in the clear. ``host`` "":
    all addresses."""

    def __init__(self, context: ssl.SSLContext | None, *, host: str = "") -> None:
        super().__init__()
        self._context = context
        self._host = host
        self._numbers: dict[tuple[str, str], Mapping[str, int]] = {}

    async def listen(
        self, vmi_uid: str, migration_uid: str, logical: Sequence[int], opening: Open, *, in_clear: bool = False
    ) -> Mapping[str, int]:
        """TCP port (as text) -> logical port. ``in_clear``: without TLS, as the cluster's settings allow. Raises
        OSError."""
        context = None if in_clear else self._context
        key = (vmi_uid, migration_uid)
        if key in self._joined:
            return self._numbers[key]
        self.cut(vmi_uid)
        joined, found = _Joined(), {}
        try:
            for port in logical:
                server = await asyncio.start_server(
                    self._connected(joined, opening, port, is_secure=context is not None),
                    sock=_tcp_listener(self._host), ssl=context, limit=BUFFER,
                )
                joined.accepting.append(server)
                found[str(server.sockets[0].getsockname()[1])] = port
        except OSError:
            joined.cut()
            raise
        self._joined[key], self._numbers[key] = joined, found
        return found

    def _connected(
        self, joined: _Joined, opening: Open, port: int, *, is_secure: bool
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            joined.serve(self._serve((reader, writer), opening, port, is_secure=is_secure))

        return connected

    async def _serve(
        self, stream: tuple[asyncio.StreamReader, asyncio.StreamWriter], opening: Open, port: int, *, is_secure: bool
    ) -> None:
        _, writer = stream
        name = http.common_name(writer.get_extra_info("peercert"))
        if is_secure and name != names.MIGRATION_CLIENT_NAME:
            _logger.warning("client refused", common_name=name, remote=writer.get_extra_info("peername"))
            writer.transport.abort()
            return
        try:
            sock = await opening(port)
        except (OSError, RpcError) as error:
            _logger.warning("no connection to the launcher", port=port, error=str(error))
            writer.transport.abort()
            return
        notice_silence(writer)
        await join(stream, await asyncio.open_unix_connection(sock=sock, limit=BUFFER))


def notice_silence(writer: asyncio.StreamWriter) -> None:
    """A node that is gone without a word ends the connection: else what the target holds for it would stay."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 4),
        (socket.TCP_USER_TIMEOUT, round(SILENCE_S * 1000)),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _tcp_listener(host: str) -> socket.socket:
    """One port for both families of addresses, where there are two."""
    if not host and socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server((host, 0))


class SourcePorts(_Ports):
    """``context``: a client's, that shows the certificate for migrations; None for a connection in the clear."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self._context = context

    def serve(
        self, vmi_uid: str, migration_uid: str, listeners: Mapping[int, socket.socket], address: str,
        numbers: Mapping[str, int], *, in_clear: bool = False,
    ) -> None:
        """Join whoever connects to ``listeners`` (by logical port; owned from now on) with the target's port."""
        self.cut(vmi_uid)
        context = None if in_clear else self._context
        tcp = {logical: int(number) for number, logical in numbers.items()}
        joined = self._joined[vmi_uid, migration_uid] = _Joined()
        for port, listener in listeners.items():
            listener.setblocking(False)
            joined.accepting.append(
                asyncio.create_task(
                    self._accept(joined, listener, (address, tcp.get(port, 0)), context), name=f"port {port}")
            )

    async def _accept(
        self, joined: _Joined, listener: socket.socket, to: tuple[str, int], context: ssl.SSLContext | None
    ) -> None:
        with listener:
            while True:
                sock, _ = await asyncio.get_running_loop().sock_accept(listener)
                sock.setblocking(False)
                joined.serve(self._serve(sock, to, context))

    async def _serve(self, sock: socket.socket, to: tuple[str, int], context: ssl.SSLContext | None) -> None:
        with contextlib.ExitStack() as owned:
            owned.callback(sock.close)
            async with asyncio.timeout(DIAL_S):
                reader, writer = await asyncio.open_connection(*to, ssl=context, limit=BUFFER)
            owned.callback(writer.transport.abort)
            name = http.common_name(writer.get_extra_info("peercert"))
            if context is not None and name != names.HANDLER_NAME:
                _logger.warning("target refused: it is no virt-handler", common_name=name, address=to)
                return
            notice_silence(writer)
            near = await asyncio.open_unix_connection(sock=sock, limit=BUFFER)
            owned.pop_all()
        await join(near, (reader, writer))
