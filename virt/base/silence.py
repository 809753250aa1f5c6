"""TCP connections whose peer may vanish without a word, with the node that it ran on."""

import socket
from typing import Final, Protocol

IDLE_S: Final = 10
PROBE_S: Final = 5
PROBES: Final = 4


class Sock(Protocol):
    """A socket, or asyncio's transport socket."""

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


def notice(sock: Sock | None) -> None:
    """End the connection after 30 s without an answer to the kernel's probes, instead of after its two hours. What was
    sent and not acknowledged is repeated for as long as the kernel does that. None: a transport's that has ended."""
    if sock is None:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, IDLE_S), (socket.TCP_KEEPINTVL, PROBE_S), (socket.TCP_KEEPCNT, PROBES),
    ):
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
