"""Answers on a socket that the handler bound to port 67 of an interface's bridge. It needs no right of its own."""

import asyncio
import socket

from virt.base import log
from virt.launcher.dhcp import packet
from virt.launcher.dhcp.answers import answer
from virt.rpc.messages import DhcpLease

_CLIENT_PORT = 68
_LARGEST = 4096
_AT_ONCE = 16                   # messages read per turn: a guest that floods does not hold up the event loop
_logger = log.get("virt.launcher.dhcp")


class Server:
    """Serves from :meth:`start` until :meth:`stop`, which closes the socket. ``fd`` becomes its own."""

    def __init__(self, fd: int, lease: DhcpLease, mac: str) -> None:
        self._lease = lease
        self._mac = bytes.fromhex(mac.replace(":", "").replace("-", ""))
        self._socket = socket.socket(fileno=fd)     # last: who fails leaves ``fd`` to the caller
        self._socket.setblocking(False)

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(_LARGEST)
            except BlockingIOError:
                return
            except OSError as error:
                _logger.warning("DHCP receive", error=str(error))
                return
            self._take(data)

    def _take(self, data: bytes) -> None:
        try:
            asked = packet.decode(data)
            decided = answer(asked, self._lease, self._mac)
        except ValueError as error:
            _logger.debug("no DHCP message", error=str(error))
            return
        if decided is None:
            return
        reply, target = decided
        try:
            self._socket.sendto(packet.encode(reply), (target, _CLIENT_PORT))
        except OSError as error:
            _logger.warning("DHCP answer not sent", target=target, error=str(error))
        else:
            _logger.info("DHCP", asked=asked.kind, answered=reply.kind, address=reply.yours)
