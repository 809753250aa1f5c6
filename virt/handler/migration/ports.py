"""Ports of migrations: at the target TCP with mutual TLS, at the source the launcher's listening sockets.

Each logical port (0 libvirt, 49152 memory, 49153 disks) is one TCP port of its own, chosen by the kernel for this one
migration, as in KubeVirt. Whoever connects must show the certificate that handlers show each other in migrations.
"""

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

from virt.api import names
from virt.base import log
from virt.handler.migration.relay import join
from virt.handler.migration.streams import common_name_of, dialled, notice_silence, secured
from virt.rpc.errors import RpcError

DIAL_S = 10.0
HANDSHAKE_S = 10.0
# The source hears of the switch-over through these very connections, so they outlive it.
FAREWELL_S = 30.0

Open = Callable[[int], Awaitable[socket.socket]]     # the target launcher's end of a logical port
Serve = Callable[[socket.socket], Coroutine[None, None, None]]       # owns the connection that it is given

_logger = log.get("virt.handler.migration")


@dataclass
class _Joined:
    """The tasks of one migration: those that accept connections, and those that serve them. ``numbers``: at the target,
    TCP port (as text) -> logical port."""

    numbers: dict[str, int] = field(default_factory=dict)
    accepting: list[asyncio.Task[None]] = field(default_factory=list)
    connections: set[asyncio.Task[None]] = field(default_factory=set)

    def accept(self, listener: socket.socket, serve: Serve) -> None:
        """Serve whoever connects to ``listener``, which is owned."""
        listener.setblocking(False)
        task = asyncio.create_task(self._accept(listener, serve), name="accepting")
        task.add_done_callback(lambda _: listener.close())
        self.accepting.append(task)

    async def _accept(self, listener: socket.socket, serve: Serve) -> None:
        try:
            while True:
                sock, _ = await asyncio.get_running_loop().sock_accept(listener)
                self._serve(serve(sock))
        except OSError as error:
            _logger.error("no more connections are accepted", error=str(error))

    def _serve(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self.connections.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.connections.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _logger.warning("connection of a migration failed", error=str(error) or type(error).__name__)

    def stop_accepting(self) -> None:
        for each in self.accepting:
            each.cancel()
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
        """Cut all connections of the VMI's migrations at once: the guest stays where it is."""
        for key in [key for key in self._joined if key[0] == vmi_uid]:
            self._joined.pop(key).cut()

    def release(self, vmi_uid: str) -> None:
        """Accept no more connections for the VMI; existing ones get time to end by themselves."""
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

    async def listen(
        self, vmi_uid: str, migration_uid: str, logical: Sequence[int], opening: Open, *, in_clear: bool = False
    ) -> Mapping[str, int]:
        """TCP port (as text) -> logical port. ``in_clear``: without TLS, as the cluster's settings allow. Raises
        OSError."""
        context = None if in_clear else self._context
        key = (vmi_uid, migration_uid)
        if key in self._joined:
            return self._joined[key].numbers
        self.cut(vmi_uid)
        joined = _Joined()
        try:
            for port in logical:
                listener = _tcp_listener(self._host)
                joined.numbers[str(listener.getsockname()[1])] = port
                joined.accept(listener, functools.partial(self._serve, opening, port, context))
        except OSError:
            joined.cut()
            raise
        self._joined[key] = joined
        return joined.numbers

    async def _serve(self, opening: Open, port: int, context: ssl.SSLContext | None, sock: socket.socket) -> None:
        with contextlib.ExitStack() as owned:
            far = owned.enter_context(sock)
            notice_silence(far)
            if context is not None:
                async with asyncio.timeout(HANDSHAKE_S):
                    far = owned.enter_context(await secured(far, context, is_server=True))
                if (name := common_name_of(far)) != names.MIGRATION_CLIENT_NAME:
                    _logger.warning("client refused", common_name=name, remote=far.getpeername())
                    return
            try:
                near = await opening(port)
            except (OSError, RpcError) as error:
                _logger.warning("no connection to the launcher", port=port, error=str(error))
                return
            owned.pop_all()
        await join(near, far)


def _tcp_listener(host: str) -> socket.socket:
    """Listens on one port for IPv4 and IPv6, where the host has both."""
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
            joined.accept(listener, functools.partial(self._serve, (address, tcp.get(port, 0)), context))

    async def _serve(self, to: tuple[str, int], context: ssl.SSLContext | None, sock: socket.socket) -> None:
        with contextlib.ExitStack() as owned:
            owned.enter_context(sock)
            async with asyncio.timeout(DIAL_S):
                far = owned.enter_context(await dialled(*to))
                notice_silence(far)
                if context is not None:
                    far = owned.enter_context(await secured(far, context, is_server=False))
            if context is not None and (name := common_name_of(far)) != names.HANDLER_NAME:
                _logger.warning("target refused: it is no virt-handler", common_name=name, address=to)
                return
            owned.pop_all()
        await join(sock, far)
