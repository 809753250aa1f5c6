"""DHCP for the guest's interfaces, on sockets that the handler bound (RFC 2131, RFC 2132, RFC 3442)."""

from virt.launcher.dhcp.servers import Servers

__all__ = ["Servers"]
