"""Who gets which answer, and where it goes."""

from dataclasses import replace

import msgspec
import pytest

from virt.launcher.dhcp.answers import EVERYBODY, answer, options_of
from virt.launcher.dhcp.packet import REPLY, REQUEST, Kind, Option, Packet, addresses
from virt.rpc.messages import DhcpLease

MAC = bytes.fromhex("020000000001")
LEASE = DhcpLease(
    address="10.0.2.2", prefix_length=24, gateway="10.0.2.1", server="10.0.2.1", mtu=1480, hostname="web",
    dns_servers=("10.96.0.10", "fd00::10"), search_domains=("default.svc.cluster.local", "cluster.local"),
)  # fmt: skip


def asked(kind: Kind, **options: bytes) -> Packet:
    extra: dict[int, bytes] = {Option[name.upper()]: value for name, value in options.items()}
    return Packet(op=REQUEST, transaction=7, mac=MAC, options={Option.KIND: bytes((kind,)), **extra})


def answered(message: Packet, lease: DhcpLease = LEASE) -> tuple[Packet, str]:
    decided = answer(message, lease, MAC)
    assert decided is not None
    return decided


def test_discover_gets_an_offer_of_the_one_address_by_broadcast() -> None:
    reply, target = answered(asked(Kind.DISCOVER))
    assert (reply.op, reply.kind, reply.transaction) == (REPLY, Kind.OFFER, 7)
    assert (reply.yours, target) == ("10.0.2.2", EVERYBODY)
    assert reply.options[Option.LEASE_TIME] == (86_313_600).to_bytes(4, "big")


def test_request_of_the_address_is_acknowledged() -> None:
    reply, target = answered(asked(Kind.REQUEST, requested_address=addresses(["10.0.2.2"])))
    assert (reply.kind, target) == (Kind.ACK, EVERYBODY)


def test_request_of_another_address_is_refused() -> None:
    reply, target = answered(asked(Kind.REQUEST, requested_address=addresses(["10.0.2.99"])))
    assert (reply.kind, reply.yours, target) == (Kind.NAK, "0.0.0.0", EVERYBODY)


def test_renewal_goes_to_the_client_that_has_the_address() -> None:
    reply, target = answered(replace(asked(Kind.REQUEST), client="10.0.2.2"))
    assert (reply.kind, target) == (Kind.ACK, "10.0.2.2")


def test_inform_gets_options_and_no_address() -> None:
    reply, target = answered(replace(asked(Kind.INFORM), client="10.0.2.2"))
    assert (reply.kind, reply.yours, target) == (Kind.ACK, "0.0.0.0", "10.0.2.2")
    assert Option.LEASE_TIME not in reply.options


@pytest.mark.parametrize(
    "message",
    [
        asked(Kind.RELEASE),
        asked(Kind.DECLINE),
        asked(Kind.REQUEST, server=addresses(["10.0.2.77"])),
        replace(asked(Kind.DISCOVER), mac=bytes(6)),
        replace(asked(Kind.DISCOVER), op=REPLY),
        replace(asked(Kind.DISCOVER), relay="10.9.9.9"),
        Packet(op=REQUEST, transaction=1, mac=MAC),
    ],
    ids=["release", "decline", "another server", "another client", "a reply", "relayed", "plain BOOTP"],
)
def test_silence(message: Packet) -> None:
    assert answer(message, LEASE, MAC) is None


def test_any_card_is_answered_where_the_lease_says_so() -> None:
    lease = msgspec.structs.replace(LEASE, any_mac=True)
    other = bytes.fromhex("020000000002")
    reply, _ = answered(replace(asked(Kind.DISCOVER), mac=other), lease)
    assert (reply.kind, reply.yours, reply.mac) == (Kind.OFFER, "10.0.2.2", other)


def test_all_of_the_lease_is_in_the_options() -> None:
    options = options_of(LEASE)
    assert options[Option.SUBNET_MASK] == addresses(["255.255.255.0"])
    assert options[Option.ROUTERS] == addresses(["10.0.2.1"])
    assert options[Option.MTU] == (1480).to_bytes(2, "big")
    assert options[Option.DNS_SERVERS] == addresses(["10.96.0.10"])      # of this family only
    assert options[Option.DOMAIN_NAME] == b"default.svc.cluster.local"
    assert options[Option.HOST_NAME] == b"web"
    assert Option.CLASSLESS_ROUTES not in options


def test_the_default_route_is_among_the_routes_too() -> None:
    lease = msgspec.structs.replace(LEASE, routes=(("10.9.0.0/16", "10.0.2.1"),))
    assert options_of(lease)[Option.CLASSLESS_ROUTES].endswith(b"\0" + addresses(["10.0.2.1"]))
