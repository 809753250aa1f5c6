"""Whose the sockets are that the handler sends."""

import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from virt.launcher.dhcp import Servers, servers
from virt.rpc.messages import DhcpLease, WiredInterface

LEASED = WiredInterface(
    name="default", tap="tap0", mac="02:00:00:00:00:01", mtu=1500,
    lease=DhcpLease(
        address="10.0.2.2", prefix_length=24, gateway="10.0.2.1", server="10.0.2.1", mtu=1500, hostname="vm"))
SILENT = WiredInterface(name="other", tap="tap1", mac="02:00:00:00:00:02", mtu=1500)


class Sent:
    """A socket on its way to the launcher, and this end of it."""

    def __init__(self) -> None:
        self.end, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.fd = other.detach()

    @property
    def is_open(self) -> bool:
        try:
            self.end.send(b"x")
        except ConnectionError:
            return False
        return True


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Sent, Sent]]:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 10.96.0.10\n")
    monkeypatch.setattr(servers, "RESOLV_CONF", resolv_conf)
    both = Sent(), Sent()
    yield both
    for each in both:
        each.end.close()


async def test_the_first_sockets_serve_until_the_end_and_later_ones_are_closed(sent: tuple[Sent, Sent]) -> None:
    first, second = sent
    found = Servers()
    found.begin((SILENT, LEASED), (first.fd,))
    found.begin((SILENT, LEASED), (second.fd,))
    assert (first.is_open, second.is_open) == (True, False)
    found.stop()
    assert not first.is_open


async def test_sockets_that_do_not_fit_the_leases_are_closed_and_the_next_ones_serve(sent: tuple[Sent, Sent]) -> None:
    first, second = sent
    found = Servers()
    found.begin((SILENT,), (first.fd,))
    assert not first.is_open
    found.begin((LEASED,), (second.fd,))
    assert second.is_open
    found.stop()


async def test_an_interface_that_cannot_be_served_keeps_no_socket_open(sent: tuple[Sent, Sent]) -> None:
    first, second = sent
    broken = msgspec.structs.replace(LEASED, name="other", tap="tap1", mac="02:00:00:00:00:zz")
    with pytest.raises(ValueError, match="fromhex"):
        Servers().begin((broken, LEASED), (first.fd, second.fd))
    assert (first.is_open, second.is_open) == (False, False)
