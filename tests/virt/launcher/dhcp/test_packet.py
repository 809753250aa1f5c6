"""DHCP messages as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from virt.launcher.dhcp import packet
from virt.launcher.dhcp.packet import Malformed, Packet

ADDRESSES = st.ip_addresses(v=4).map(str)


@given(
    st.builds(
        Packet,
        op=st.sampled_from([1, 2]),
        transaction=st.integers(0, 2**32 - 1),
        mac=st.binary(min_size=6, max_size=6),
        flags=st.sampled_from([0, packet.BROADCAST]),
        client=ADDRESSES, yours=ADDRESSES, server=ADDRESSES, relay=ADDRESSES,
        options=st.dictionaries(st.integers(1, 254), st.binary(max_size=600), max_size=8),
    )
)  # fmt: skip
def test_what_is_written_is_read_back(message: Packet) -> None:
    assert packet.decode(packet.encode(message)) == message


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_or_malformed(data: bytes) -> None:
    for candidate in (data, packet.encode(Packet(op=1, transaction=1, mac=bytes(6)))[:240] + data):
        try:
            message = packet.decode(candidate)
        except Malformed as fault:
            assert "cookie" in str(fault) or "cut short" in str(fault) or "hardware type" in str(fault)
            continue
        assert len(message.mac) == 6
        assert sum(map(len, message.options.values())) < len(candidate)
        assert packet.decode(packet.encode(message)) == message


def test_a_message_is_at_least_as_long_as_bootp() -> None:
    assert len(packet.encode(Packet(op=2, transaction=1, mac=bytes(6)))) == 300


def test_a_cut_option_is_malformed() -> None:
    whole = packet.encode(Packet(op=1, transaction=1, mac=bytes(6)))[:240]
    with pytest.raises(Malformed, match="option 53 is cut short"):
        packet.decode(whole + bytes((53, 4, 1)))


def test_routes_hold_only_the_bytes_that_matter() -> None:
    routes = [("0.0.0.0/0", "10.0.2.1"), ("192.168.5.0/25", "10.0.2.1"), ("10.1.2.3/32", "0.0.0.0")]
    assert packet.classless_routes(routes).hex(" ") == (
        "00 0a 00 02 01 19 c0 a8 05 00 0a 00 02 01 20 0a 01 02 03 00 00 00 00"
    )


def test_search_domains_are_written_as_dns_names_and_bad_ones_left_out() -> None:
    assert packet.search_list(["a.bc.", "x" * 64, ""]) == b"\x01a\x02bc\0"
