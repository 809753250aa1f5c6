"""The masquerade rules of a pod as input of ``nft -f -``. Pure.

One transaction makes the whole state: tables and chains are added where missing, our chains emptied and filled again,
so that a second run changes nothing and rules of others in the same table (a service mesh) stay. Established
connections live in conntrack and do not notice.

Inbound: what comes in by the pod's card goes to the guest, all of it or the listed ports. Outbound: the guest leaves
with the pod's address. Loopback: kubectl port-forward and probes dial 127.0.0.1 in the pod; they go to the guest too
and come from the gateway, since a guest drops packets from 127.0.0.1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from virt.handler.net.addresses import is_ipv4
from virt.handler.net.model import PortRange

_BASE_CHAINS = {"prerouting": -100, "input": 100, "output": -100, "postrouting": 100}
_INBOUND = "KUBEVIRT_PREINBOUND"
_INBOUND_SOURCE = "KUBEVIRT_POSTINBOUND"


@dataclass(frozen=True)
class Masquerade:
    """One family's addresses on one interface, without prefix. No ``ports`` means all of them."""

    pod_link: str
    bridge: str
    gateway: str
    guest: str
    ports: tuple[PortRange, ...] = ()


def ruleset(masquerade: Masquerade) -> str:
    """The rules of one family, which the address decides."""
    family, loopback = ("ip", "127.0.0.1") if is_ipv4(masquerade.guest) else ("ip6", "::1")
    return "\n".join(_lines(masquerade, family, loopback)) + "\n"


def own_mac_only(tap: str, mac: str) -> str:
    """A table that lets nothing in by ``tap`` but frames from ``mac``: the guest may not speak as somebody else."""
    table = f"bridge macspoof-{tap}"
    return "\n".join((
        f"add table {table}",
        f"add chain {table} prerouting {{ type filter hook prerouting priority -300; policy accept; }}",
        f"flush chain {table} prerouting",
        f'add rule {table} prerouting iifname "{tap}" ether saddr != {mac} counter drop',
    )) + "\n"


def _lines(masquerade: Masquerade, family: str, loopback: str) -> Iterator[str]:
    yield f"add table {family} nat"
    for chain, priority in _BASE_CHAINS.items():
        hook = f"{{ type nat hook {chain} priority {priority}; policy accept; }}"
        yield f"add chain {family} nat {chain} {hook}"
        yield f"flush chain {family} nat {chain}"
    for chain in (_INBOUND, _INBOUND_SOURCE):
        yield f"add chain {family} nat {chain}"
        yield f"flush chain {family} nat {chain}"

    def rule(chain: str, text: str) -> str:
        return f"add rule {family} nat {chain} {text}"

    yield rule("postrouting", f"{family} saddr {masquerade.guest} counter masquerade")
    yield rule("prerouting", f'iifname "{masquerade.pod_link}" counter jump {_INBOUND}')
    yield rule("postrouting", f'oifname "{masquerade.bridge}" counter jump {_INBOUND_SOURCE}')
    for match in _matches(masquerade.ports):
        yield rule(_INBOUND, f"{match}counter dnat to {masquerade.guest}")
        yield rule(_INBOUND_SOURCE, f"{match}{family} saddr {loopback} counter snat to {masquerade.gateway}")
        yield rule("output", f"{family} daddr {loopback} {match}counter dnat to {masquerade.guest}")


def _matches(ports: tuple[PortRange, ...]) -> Iterator[str]:
    """A match per entry, each with a space at its end; one empty match for "all ports"."""
    if not ports:
        yield ""
    for entry in ports:
        span = str(entry.first) if entry.first == entry.last else f"{entry.first}-{entry.last}"
        yield f"{entry.protocol} dport {span} "
