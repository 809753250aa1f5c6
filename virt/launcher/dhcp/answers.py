"""What to answer to a DHCP message. Pure; one lease, one client."""

import ipaddress
from collections.abc import Mapping

from virt.launcher.dhcp.packet import (
    BROADCAST,
    REPLY,
    REQUEST,
    Kind,
    Option,
    Packet,
    addresses,
    classless_routes,
    search_list,
)
from virt.rpc.messages import DhcpLease

LEASE_S = 999 * 24 * 3600       # as KubeVirt: the address is the guest's as long as the pod lives
_ANYBODY = "0.0.0.0"
EVERYBODY = "255.255.255.255"


def answer(asked: Packet, lease: DhcpLease, mac: bytes) -> tuple[Packet, str] | None:
    """The reply and the address that it goes to; None for silence (not our client, not for us, or nothing to say).

    Until the guest has an address (ciaddr 0) the reply is broadcast: we cannot send to an address that no ARP answers.
    """
    if asked.op != REQUEST or asked.relay != _ANYBODY:
        return None
    if asked.mac != mac and not lease.any_mac:
        return None
    server = asked.options.get(Option.SERVER)
    if server is not None and server != addresses([lease.server]):
        return None                                        # the client chose somebody else
    match asked.kind:
        case Kind.DISCOVER:
            return _reply(asked, lease, Kind.OFFER)
        case Kind.REQUEST:
            wanted = asked.options.get(Option.REQUESTED_ADDRESS) or addresses([asked.client])
            if wanted not in (addresses([lease.address]), addresses([_ANYBODY])):
                return _refusal(asked, lease)              # an address of an earlier life: it starts over
            return _reply(asked, lease, Kind.ACK)
        case Kind.INFORM:
            return _reply(asked, lease, Kind.ACK)
        case _:
            return None                                    # RELEASE and DECLINE: the address is its own all the same


def _reply(asked: Packet, lease: DhcpLease, kind: Kind) -> tuple[Packet, str]:
    is_inform = asked.kind == Kind.INFORM
    options: dict[int, bytes] = {Option.KIND: bytes((kind,)), Option.SERVER: addresses([lease.server])}
    if not is_inform:
        options[Option.LEASE_TIME] = LEASE_S.to_bytes(4, "big")
    packet = Packet(
        op=REPLY, transaction=asked.transaction, mac=asked.mac, flags=asked.flags, client=asked.client,
        yours=_ANYBODY if is_inform else lease.address, server=lease.server, boot_file=lease.boot_file,
        options={**options, **options_of(lease)},
    )  # fmt: skip
    return packet, _target(asked)


def _refusal(asked: Packet, lease: DhcpLease) -> tuple[Packet, str]:
    options: dict[int, bytes] = {Option.KIND: bytes((Kind.NAK,)), Option.SERVER: addresses([lease.server])}
    return Packet(op=REPLY, transaction=asked.transaction, mac=asked.mac, flags=BROADCAST, options=options), EVERYBODY


def _target(asked: Packet) -> str:
    return EVERYBODY if asked.client == _ANYBODY else asked.client


def options_of(lease: DhcpLease) -> Mapping[int, bytes]:
    """Everything the lease says beside the address, in the order it is sent.

    A client that gets option 121 ignores option 3 (RFC 3442), so the default route is in both.
    """
    options: dict[int, bytes] = {
        Option.SUBNET_MASK: ipaddress.IPv4Network(f"0.0.0.0/{lease.prefix_length}").netmask.packed
    }
    if lease.gateway:
        options[Option.ROUTERS] = addresses([lease.gateway])
    if lease.mtu:
        options[Option.MTU] = lease.mtu.to_bytes(2, "big")
    if lease.routes:
        routes = list(lease.routes)
        if lease.gateway and not any(destination == "0.0.0.0/0" for destination, _ in routes):
            routes.append(("0.0.0.0/0", lease.gateway))
        options[Option.CLASSLESS_ROUTES] = classless_routes(routes)
    if servers := addresses(lease.dns_servers):
        options[Option.DNS_SERVERS] = servers
    if lease.search_domains:
        options[Option.DOMAIN_NAME] = lease.search_domains[0].encode("ascii", "ignore")
        options[Option.DOMAIN_SEARCH] = search_list(lease.search_domains)
    if lease.hostname:
        options[Option.HOST_NAME] = lease.hostname.encode("ascii", "ignore")
    if servers := addresses(lease.ntp_servers):
        options[Option.NTP_SERVERS] = servers
    if lease.tftp_server:
        options[Option.TFTP_SERVER_NAME] = lease.tftp_server.encode()
    if lease.boot_file:
        options[Option.BOOT_FILE] = lease.boot_file.encode()
    for number, text in lease.private_options:
        options[number] = text.encode()
    return options
