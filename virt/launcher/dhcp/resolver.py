"""Name servers for the guest: those of its pod, which the kubelet wrote into the launcher's /etc/resolv.conf."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from virt.api.ipaddresses import is_address
from virt.rpc.messages import DhcpLease

RESOLV_CONF = Path("/etc/resolv.conf")
_SERVICES = ".svc."             # in the domain of a namespace's services: "ns.svc.cluster.local"


def with_names(lease: DhcpLease, resolv_conf: str) -> DhcpLease:
    """``lease`` with the servers and search domains of a resolv.conf(5) text, unless it has its own.

    Only IPv4 servers fit into DHCPv4. Of several search lines the last one counts, as for the resolver. A VMI with a
    subdomain searches that first, so that its own full name is found by its host name.
    """
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for line in resolv_conf.splitlines():
        word, *values = line.split() or [""]
        if word == "nameserver" and values and is_address(values[0], version=4):
            servers.append(values[0])
        elif word in ("search", "domain"):
            search = tuple(values)
    own = own_domain(search, lease.subdomain)
    return msgspec.structs.replace(
        lease, dns_servers=lease.dns_servers or tuple(servers),
        search_domains=lease.search_domains or ((own, *search) if own else search),
    )


def own_domain(search: Sequence[str], subdomain: str) -> str:
    """The domain of the VMI itself, "" where no search domain is that of a namespace's services.

    >>> own_domain(["ns.svc.cluster.local", "svc.cluster.local"], "web")
    'web.ns.svc.cluster.local'
    """
    services = max((domain for domain in search if _SERVICES in domain), key=len, default="")
    if not subdomain or not services or services.startswith(f"{subdomain}."):
        return ""
    return f"{subdomain}.{services}"
