"""Links, addresses and sysctls of a pod, read and set. To be called inside its namespace (``netns.inside``).

Every function looks first and makes what is missing, so a handler that died in the middle just starts again.
"""

import socket
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from virt.handler.net.model import PodLink, PodRoute, RenamedLink, Wiring
from virt.handler.net.tap import make_tap

LAUNCHER_UID = 107
_MAIN_TABLE = 254
_GLOBAL_SCOPE = 0
_SYSCTL = Path("/proc/sys/net")
_DEFAULTS = {socket.AF_INET: "0.0.0.0/0", socket.AF_INET6: "::/0"}


def read_link(name: str) -> PodLink | None:
    """A card with its global addresses and its routes in the main table; None when there is none of that name."""
    with IPRoute() as netlink:
        index = index_of(netlink, name)
        if index is None:
            return None
        link = next(iter(netlink.get_links(index)))
        addresses = tuple(
            f"{address.get('address')}/{address['prefixlen']}"
            for address in netlink.get_addr(index=index)
            if address["scope"] == _GLOBAL_SCOPE
        )
        routes = tuple(
            _route(route) for route in netlink.get_routes(oif=index, table=_MAIN_TABLE)
            if route["family"] in _DEFAULTS
        )
        return PodLink(name=name, mac=link.get("address"), mtu=link.get("mtu"), addresses=addresses, routes=routes)


def _route(route: Any) -> PodRoute:
    destination = route.get("dst")
    return PodRoute(
        f"{destination}/{route['dst_len']}" if destination else _DEFAULTS[route["family"]],
        route.get("gateway") or "",
    )


def make(wiring: Wiring) -> None:
    """Make bridge, tap and, for a bridge binding, the card's new place; then the sysctls.

    Raises NetlinkError and OSError.
    """
    with IPRoute() as netlink:
        if wiring.renamed is not None:
            _rename(netlink, wiring.renamed, wiring.mtu)
        bridge = _ensure_bridge(netlink, wiring)
        if wiring.renamed is not None:
            _attach_card(netlink, wiring.renamed, bridge)
        if index_of(netlink, wiring.tap) is None:
            make_tap(wiring.tap, owner=LAUNCHER_UID, queues=wiring.queues)
        netlink.link("set", index=_existing(netlink, wiring.tap), mtu=wiring.mtu, master=bridge, state="up")
    if wiring.forwards:
        set_sysctl("ipv4/ip_forward", "1")
        set_sysctl(f"ipv4/conf/{wiring.bridge}/route_localnet", "1")
        set_sysctl("ipv6/conf/all/forwarding", "1")
    else:
        # The placeholder keeps the guest's address: only ask about addresses of the card that was asked.
        set_sysctl("ipv4/conf/all/arp_ignore", "1")
        if not wiring.addresses:
            seal(wiring.bridge)


def _rename(netlink: IPRoute, renamed: RenamedLink, mtu: int) -> None:
    index = index_of(netlink, renamed.name)
    if index is None:
        index = _existing(netlink, renamed.placeholder)
        netlink.link("set", index=index, state="down")      # a card that is up keeps its name
        netlink.link("set", index=index, ifname=renamed.name)
    netlink.flush_addr(index=index)
    netlink.link("set", index=index, address=renamed.mac)
    placeholder = index_of(netlink, renamed.placeholder)
    if placeholder is None:
        try:
            netlink.link("add", ifname=renamed.placeholder, kind="dummy", address=renamed.placeholder_mac)
        except NetlinkError:
            # Kernels without dummy links: an empty bridge that is down keeps a name and an address just as well.
            netlink.link("add", ifname=renamed.placeholder, kind="bridge", address=renamed.placeholder_mac)
        placeholder = _existing(netlink, renamed.placeholder)
    netlink.link("set", index=placeholder, mtu=mtu)
    _ensure_addresses(netlink, placeholder, renamed.placeholder_addresses)


def _ensure_bridge(netlink: IPRoute, wiring: Wiring) -> int:
    if index_of(netlink, wiring.bridge) is None:
        # An address given at the start stays: else the bridge takes the lowest of its ports'.
        netlink.link("add", ifname=wiring.bridge, kind="bridge", address=wiring.bridge_mac, br_mcast_snooping=0)
    index = _existing(netlink, wiring.bridge)
    netlink.link("set", index=index, mtu=wiring.mtu, state="up")
    _ensure_addresses(netlink, index, wiring.addresses)
    return index


def _attach_card(netlink: IPRoute, renamed: RenamedLink, bridge: int) -> None:
    index = _existing(netlink, renamed.name)
    set_sysctl(f"ipv6/conf/{renamed.name}/disable_ipv6", "1")
    netlink.link("set", index=index, master=bridge, state="up")
    # The guest's MAC must never be learned on the card's side: a migration would find frames going the wrong way.
    netlink.brport("set", index=index, learning=0)


def _ensure_addresses(netlink: IPRoute, index: int, addresses: tuple[str, ...]) -> None:
    for address in addresses:
        host, _, prefix = address.partition("/")
        extra = {"flags": 0x02} if ":" in host else {}      # IFA_F_NODAD: nobody else is on this link
        netlink.addr("replace", index=index, address=host, prefixlen=int(prefix), **extra)


def index_of(netlink: IPRoute, name: str) -> int | None:
    """None when there is no link of that name."""
    return next(iter(netlink.link_lookup(ifname=name)), None)


def _existing(netlink: IPRoute, name: str) -> int:
    index = index_of(netlink, name)
    if index is None:
        raise OSError(f"the network card {name} is gone from the pod")
    return index


def seal(bridge: str) -> None:
    """The network behind a bridge without an address is the guests' own: this namespace says nothing there of its
    addresses, and neither takes nor routes what comes from there (no source has its route by the bridge)."""
    set_sysctl(f"ipv6/conf/{bridge}/disable_ipv6", "1")
    set_sysctl(f"ipv4/conf/{bridge}/arp_ignore", "1")
    set_sysctl(f"ipv4/conf/{bridge}/rp_filter", "1")


def set_sysctl(name: str, value: str) -> None:
    """Write a sysctl of this namespace when it differs: an equal one may lie on a read-only /proc/sys."""
    path = _SYSCTL / name
    if not path.exists() and name.startswith("ipv6/"):
        return
    if path.read_text().strip() != value:
        path.write_text(value)
