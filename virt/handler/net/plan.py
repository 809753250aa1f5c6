"""What to make in the pod's network for the VMI's interfaces. Pure.

Names, addresses and the two bindings are those of KubeVirt (pkg/network/setup), so that guests, probes and people's
scripts find what they know.
"""

import ipaddress
from collections.abc import Mapping, Sequence

from virt.api import links
from virt.api.ipaddresses import plain
from virt.handler.net.addresses import DEFAULT_CIDR, DEFAULT_CIDR6, guest_subnet, is_ipv4, local_mac, plain_mac
from virt.handler.net.model import (
    Binding,
    GuestNic,
    NetworkPlanError,
    PodLink,
    PodRoute,
    RenamedLink,
    Wiring,
)
from virt.handler.net.nftables import Masquerade, ruleset
from virt.rpc.messages import DhcpLease, WiredInterface

GATEWAY_MAC = "02:00:00:00:00:00"
PRIMARY_LINK = "eth0"


def pod_link_name(network: str) -> str:
    """The pod's card for a network of the spec: eth0, or "pod" and 11 hex digits for a multus network."""
    return links.secondary_link(network) if network else PRIMARY_LINK


def plan(nics: Sequence[GuestNic], links: Mapping[str, PodLink], hostname: str) -> tuple[Wiring, ...]:
    """One Wiring per interface, in order. ``links`` are the pod's cards by name, as the CNI plugins left them.

    Raises NetworkPlanError where the spec cannot be met, and for a card that the pod does not have.
    """
    return tuple(_wiring(nic, index, links, hostname) for index, nic in enumerate(nics))


def wired(wiring: Wiring) -> WiredInterface:
    """What the launcher is told about an interface."""
    return WiredInterface(
        name=wiring.nic, tap=wiring.tap, mac=wiring.guest_mac, mtu=wiring.mtu, lease=wiring.lease
    )


def _wiring(nic: GuestNic, index: int, links: Mapping[str, PodLink], hostname: str) -> Wiring:
    name = pod_link_name(nic.network)
    link = links.get(name)
    if link is None:
        raise NetworkPlanError(f"the pod has no network card {name} for interface {nic.name!r}")
    match nic.binding:
        case Binding.MASQUERADE:
            return _masquerade(nic, link, hostname)
        case Binding.BRIDGE:
            return _bridge(nic, index, link, hostname)


def _masquerade(nic: GuestNic, link: PodLink, hostname: str) -> Wiring:
    subnet = guest_subnet(nic.cidr or DEFAULT_CIDR)
    subnet6 = guest_subnet(nic.cidr6 or DEFAULT_CIDR6)
    has_ipv4 = any(is_ipv4(address) for address in link.addresses)
    subnets = [subnet] if has_ipv4 else []
    if any(not is_ipv4(address) for address in link.addresses):
        subnets.append(subnet6)
    bridge = f"k6t-{_stem(link.name)}"
    rules = (ruleset(Masquerade(link.name, bridge, each.gateway, each.guest, nic.ports)) for each in subnets)
    lease = _lease(
        nic, link, hostname, address=subnet.guest, prefix=subnet.prefix, gateway=subnet.gateway, server=subnet.gateway
    )
    return Wiring(
        nic=nic.name,
        pod_link=link.name,
        bridge=bridge,
        bridge_mac=GATEWAY_MAC,
        addresses=tuple(each.gateway_with_prefix for each in subnets),
        tap=guest_tap(link.name),
        queues=nic.queues,
        mtu=link.mtu,
        guest_mac=_mac(nic, link),
        ruleset="".join(rules),
        forwards=True,
        lease=lease if has_ipv4 else None,
    )


def _bridge(nic: GuestNic, index: int, link: PodLink, hostname: str) -> Wiring:
    stem = _stem(link.name)
    # The guest takes the card's MAC, so the card itself needs another: it shares the bridge's.
    port_mac = local_mac(link.mac)
    ipv4 = next((ipaddress.IPv4Interface(address) for address in link.addresses if is_ipv4(address)), None)
    server = f"169.254.75.1{index}"
    lease = None
    if ipv4 is not None:
        routes = tuple(route for route in link.routes if is_ipv4(route.destination))
        gateway = next((route.gateway for route in routes if route.destination == "0.0.0.0/0"), "")
        prefix = 32 if is_point_to_point(ipv4, routes) else ipv4.network.prefixlen
        lease = _lease(
            nic, link, hostname, address=str(ipv4.ip), prefix=prefix, gateway=gateway, server=server,
            routes=classless_routes(ipv4, prefix, routes),
        )
    return Wiring(
        nic=nic.name,
        pod_link=link.name,
        bridge=f"k6t-{stem}",
        bridge_mac=port_mac,
        addresses=(f"{server}/32",) if ipv4 else (),
        tap=guest_tap(link.name),
        queues=nic.queues,
        mtu=link.mtu,
        guest_mac=_mac(nic, link),
        renamed=RenamedLink(f"{stem}-nic", port_mac, link.name, link.mac, link.addresses),
        lease=lease,
    )


def is_point_to_point(address: ipaddress.IPv4Interface, routes: Sequence[PodRoute]) -> bool:
    """Whether even the neighbours of the pod's own subnet are behind its gateway.

    The ptp CNI plugin gives an address with a wide prefix, then removes the kernel's on-link route. A guest that was
    told the prefix would ask for its neighbours by ARP, and nobody would answer.
    """
    own = str(address.network)
    return address.network.prefixlen == 32 or not any(
        route.destination == own and not route.gateway for route in routes
    )


def classless_routes(
    address: ipaddress.IPv4Interface, prefix: int, routes: Sequence[PodRoute]
) -> tuple[tuple[str, str], ...]:
    """The pod's routes for DHCP option 121 (RFC 3442), () where address and gateway alone say the same.

    A client that gets option 121 ignores the gateway option, so the default route is among them. A gateway outside the
    guest's subnet is told first, as on the link ("0.0.0.0").
    """
    guest = ipaddress.ip_network(f"{address.ip}/{prefix}", strict=False)
    behind = [route for route in routes if route.gateway]
    plain = [route for route in behind if route.destination == "0.0.0.0/0"]
    outside = sorted({route.gateway for route in behind if ipaddress.ip_address(route.gateway) not in guest})
    on_link = [
        route.destination for route in routes
        if not route.gateway and ipaddress.ip_network(route.destination) != address.network
        and ipaddress.ip_network(route.destination).prefixlen < 32
    ]
    if not outside and not on_link and behind == plain:
        return ()
    # The default route comes last: by then every gateway is reachable. The own subnet follows from it under /32.
    others = [route for route in behind if route not in plain and not (prefix == 32 and _is(route, address.network))]
    return (
        *((f"{gateway}/32", "0.0.0.0") for gateway in outside),
        *((destination, "0.0.0.0") for destination in on_link),
        *((route.destination, route.gateway) for route in (*others, *plain)),
    )


def _is(route: PodRoute, network: ipaddress.IPv4Network) -> bool:
    return route.destination == str(network)


def _lease(
    nic: GuestNic, link: PodLink, hostname: str, *, address: str, prefix: int, gateway: str, server: str,
    routes: tuple[tuple[str, str], ...] = (),
) -> DhcpLease:
    """DNS stays empty: the launcher reads its own resolv.conf, which the handler must not open."""
    return DhcpLease(
        address=address,
        prefix_length=prefix,
        gateway=gateway,
        server=server,
        mtu=link.mtu,
        hostname=hostname,
        routes=routes,
        ntp_servers=tuple(plain(server) for server in nic.dhcp.ntp_servers),
        boot_file=nic.dhcp.boot_file,
        tftp_server=nic.dhcp.tftp_server,
        private_options=nic.dhcp.private_options,
        # Behind masquerade the guest's MAC is nobody else's business; on a bridge the pod network knows only one.
        any_mac=nic.binding is Binding.MASQUERADE,
        subdomain=nic.dhcp.subdomain,
    )


def _mac(nic: GuestNic, link: PodLink) -> str:
    return plain_mac(nic.mac) or link.mac


def _stem(link: str) -> str:
    """Interface names have 15 characters: a multus card drops its "pod" to make room for prefix or suffix."""
    return link if link == PRIMARY_LINK else link.removeprefix("pod")


def guest_tap(link: str) -> str:
    """The guest's tap for a card of the pod."""
    return "tap0" if link == PRIMARY_LINK else f"tap{_stem(link)}"
