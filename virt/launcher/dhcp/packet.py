"""DHCP messages as bytes and back (RFC 2131 section 2, RFC 2132, RFC 3442 for routes, RFC 1035 for names)."""

import enum
import ipaddress
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

COOKIE = b"\x63\x82\x53\x63"
REQUEST, REPLY = 1, 2                       # op
BROADCAST = 0x8000
_HEAD = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_SMALLEST = 300                             # a BOOTP message; some clients drop shorter ones
_PAD, _END = 0, 255


class Kind(enum.IntEnum):
    """Option 53."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(enum.IntEnum):
    SUBNET_MASK = 1
    ROUTERS = 3
    DNS_SERVERS = 6
    HOST_NAME = 12
    DOMAIN_NAME = 15
    MTU = 26
    NTP_SERVERS = 42
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    KIND = 53
    SERVER = 54
    TFTP_SERVER_NAME = 66
    BOOT_FILE = 67
    DOMAIN_SEARCH = 119
    CLASSLESS_ROUTES = 121


class Malformed(ValueError):
    """No DHCP message."""


@dataclass(frozen=True, kw_only=True)
class Packet:
    """``mac``: hardware address, six bytes. Addresses are text. ``options``: number -> raw value."""

    op: int
    transaction: int
    mac: bytes
    flags: int = 0
    client: str = "0.0.0.0"
    yours: str = "0.0.0.0"
    server: str = "0.0.0.0"
    relay: str = "0.0.0.0"
    boot_file: str = ""
    options: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def kind(self) -> int:
        value = self.options.get(Option.KIND, b"")
        return value[0] if len(value) == 1 else 0


def decode(data: bytes) -> Packet:
    """Raises Malformed. Options of the same number are joined (RFC 3396); sname and file are not read for options."""
    if len(data) < _HEAD.size + len(COOKIE) or data[_HEAD.size : _HEAD.size + 4] != COOKIE:
        raise Malformed(f"{len(data)} bytes without DHCP's cookie")
    op, hardware, length, _hops, transaction, _secs, flags, client, yours, server, relay, address, _name, boot_file = (
        _HEAD.unpack_from(data)
    )
    if hardware != 1 or length != 6:
        raise Malformed(f"hardware type {hardware} with addresses of {length} bytes")
    return Packet(
        op=op, transaction=transaction, mac=address[:6], flags=flags, client=_text(client), yours=_text(yours),
        server=_text(server), relay=_text(relay), boot_file=boot_file.split(b"\0", 1)[0].decode("ascii", "replace"),
        options=_options(data[_HEAD.size + 4 :]),
    )  # fmt: skip


def _options(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 1 >= len(data) or at + 2 + data[at + 1] > len(data):
            raise Malformed(f"option {data[at]} is cut short")
        number, value = data[at], data[at + 2 : at + 2 + data[at + 1]]
        found[number] = found.get(number, b"") + value
        at += 2 + len(value)
    return found


def encode(packet: Packet) -> bytes:
    """Values longer than 255 bytes go into several options of the same number (RFC 3396)."""
    head = _HEAD.pack(
        packet.op, 1, 6, 0, packet.transaction, 0, packet.flags, _bytes(packet.client), _bytes(packet.yours),
        _bytes(packet.server), _bytes(packet.relay), packet.mac.ljust(16, b"\0"), b"",
        packet.boot_file.encode()[:127],
    )  # fmt: skip
    body = bytearray(head + COOKIE)
    for number, value in packet.options.items():
        for at in range(0, max(len(value), 1), 255):
            part = value[at : at + 255]
            body += bytes((number, len(part))) + part
    body.append(_END)
    return bytes(body).ljust(_SMALLEST, b"\0")


def addresses(texts: Iterable[str]) -> bytes:
    """IPv4 addresses one after the other; those of the other family are left out."""
    return b"".join(address.packed for text in texts if (address := ipaddress.ip_address(text)).version == 4)


def classless_routes(routes: Iterable[tuple[str, str]]) -> bytes:
    """Option 121: of each destination its prefix length and the bytes that matter, then the gateway.

    >>> classless_routes([("10.17.0.0/16", "10.0.2.1")]).hex(" ")
    '10 0a 11 0a 00 02 01'
    """
    value = b""
    for destination, gateway in routes:
        network = ipaddress.IPv4Network(destination, strict=False)
        value += bytes((network.prefixlen,)) + network.network_address.packed[: -(-network.prefixlen // 8)]
        value += ipaddress.IPv4Address(gateway).packed
    return value


def search_list(domains: Iterable[str]) -> bytes:
    """Option 119: domain names as DNS writes them, without compression. Names that DNS cannot hold are left out."""
    value = b""
    for domain in domains:
        labels = [label.encode("ascii", "ignore") for label in domain.strip(".").split(".")]
        if all(0 < len(label) < 64 for label in labels) and len(domain) < 254:
            value += b"".join(bytes((len(label),)) + label for label in labels) + b"\0"
    return value


def _text(packed: bytes) -> str:
    return str(ipaddress.IPv4Address(packed))


def _bytes(address: str) -> bytes:
    return ipaddress.IPv4Address(address).packed
