"""The servers of one guest: one for each of its interfaces that has a lease."""

from collections.abc import Sequence

from virt.base import log
from virt.launcher.dhcp.resolver import RESOLV_CONF, with_names
from virt.launcher.dhcp.server import Server
from virt.rpc.framing import close_all
from virt.rpc.messages import WiredInterface

_logger = log.get("virt.launcher.dhcp")


class Servers:
    """Begin with the first sockets that come, and go on whatever the handler sends later, until :meth:`stop`."""

    def __init__(self) -> None:
        self._running: list[Server] = []

    def begin(self, interfaces: Sequence[WiredInterface], fds: Sequence[int]) -> None:
        """Owns ``fds``: a bound socket for each interface with a lease, in their order; else nobody is served."""
        leased = [(interface.lease, interface.mac) for interface in interfaces if interface.lease is not None]
        if self._running or len(fds) != len(leased):
            if not self._running and leased:
                _logger.warning("no DHCP", sockets=len(fds), leases=len(leased))
            close_all(fds)
            return
        free = list(fds)
        try:
            resolver = RESOLV_CONF.read_text()
            for lease, mac in leased:
                server = Server(free[0], with_names(lease, resolver), mac)
                free.pop(0)
                self._running.append(server)
                server.start()
        finally:
            close_all(free)

    def stop(self) -> None:
        for server in self._running:
            server.stop()
        self._running.clear()
