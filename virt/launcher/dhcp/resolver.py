"""Name servers for the guest: those of its pod, which the kubelet wrote into the launcher's /etc/resolv.conf."""

import ipaddress
from pathlib import Path

import msgspec

from virt.rpc.messages import DhcpLease

RESOLV_CONF = Path("/etc/resolv.conf")


def with_names(lease: DhcpLease, resolv_conf: str) -> DhcpLease:
    """``lease`` with the servers and search domains of a resolv.conf(5) text, unless it has its own.

    Only IPv4 servers fit into DHCPv4. Of several search lines the last one counts, as for the resolver.
    """
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for line in resolv_conf.splitlines():
        word, *values = line.split() or [""]
        if word == "nameserver" and values and _is_ipv4(values[0]):
            servers.append(values[0])
        elif word in ("search", "domain"):
            search = tuple(values)
    return msgspec.structs.replace(
        lease, dns_servers=lease.dns_servers or tuple(servers), search_domains=lease.search_domains or search
    )


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True
