"""TCP sockets between handlers, and TLS on them: plain sockets that do not block, for the relay's threads.

What asyncio makes of a connection could not leave its event loop again.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

from virt.base import silence
from virt.kube.http import common_name

SILENCE_S = 30.0                # as long as libvirt waits for an answer of its peer


async def dialled(host: str, port: int) -> socket.socket:
    """A connection. Raises OSError."""
    loop = asyncio.get_running_loop()
    (family, kind, protocol, _, address), *_ = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def secured(sock: socket.socket, context: ssl.SSLContext, *, is_server: bool) -> ssl.SSLSocket:
    """``sock`` with TLS, to be used in its place. Raises OSError."""
    made = context.wrap_socket(sock, server_side=is_server, do_handshake_on_connect=False)
    loop = asyncio.get_running_loop()
    try:
        while True:
            try:
                made.do_handshake()
                return made
            except ssl.SSLWantReadError:
                await _ready(made.fileno(), loop.add_reader, loop.remove_reader)
            except ssl.SSLWantWriteError:
                await _ready(made.fileno(), loop.add_writer, loop.remove_writer)
    except BaseException:
        made.close()
        raise


def common_name_of(sock: socket.socket) -> str:
    """Common name in the certificate that the other side has shown."""
    assert isinstance(sock, ssl.SSLSocket)
    return common_name(sock.getpeercert())


def notice_silence(sock: socket.socket) -> None:
    """A node that is gone without a word ends the connection: else what the target holds for it would stay."""
    silence.notice(sock)
    for option, value in (
        (socket.TCP_NODELAY, 1),            # libvirt's questions and answers are small
        (socket.TCP_USER_TIMEOUT, round(SILENCE_S * 1000)),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


async def _ready(number: int, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    event = asyncio.Event()
    add(number, event.set)
    try:
        await event.wait()
    finally:
        remove(number)
