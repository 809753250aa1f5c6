"""DHCP for the guest's interfaces, on sockets that the handler bound (RFC 2131, RFC 2132, RFC 3442)."""

from virt.launcher.dhcp.resolver import RESOLV_CONF, with_names
from virt.launcher.dhcp.server import Server

__all__ = ["RESOLV_CONF", "Server", "with_names"]
