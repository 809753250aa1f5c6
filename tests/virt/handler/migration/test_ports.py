"""Ports of migrations with real certificates: who gets through, and what is in the clear."""

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.fakes.authority import Authority
from tests.waits import HANG_S
from virt.api import names
from virt.handler.migration import ports, relay
from virt.handler.migration.ports import SourcePorts, TargetPorts
from virt.handler.migration.streams import notice_silence, secured
from virt.kube.http import Certificates

LOOPBACK = "127.0.0.1"


class Ends:
    """What a launcher at the target would hold: one end of each stream that was opened."""

    def __init__(self) -> None:
        self.opened: list[socket.socket] = []

    async def open(self, _port: int) -> socket.socket:
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setblocking(False)
        self.opened.append(ours)
        return theirs


@pytest.fixture
def certificates(tmp_path: Path) -> Mapping[str, Certificates]:
    """By the common name's purpose, and ``foreign``: the right name of a CA that nobody knows."""
    ours, theirs = Authority("ours"), Authority("theirs")
    (tmp_path / "ca").write_text(ours.pem)
    made = {}
    for purpose, authority, name in (
        ("handler", ours, names.HANDLER_NAME), ("migration", ours, names.MIGRATION_CLIENT_NAME),
        ("api", ours, names.HANDLER_CLIENT_NAME), ("foreign", theirs, names.MIGRATION_CLIENT_NAME),
    ):
        made[purpose] = Certificates(authority.issue(tmp_path / purpose, name), client_ca=tmp_path / "ca")
    return made


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    made = Ends()
    yield made
    for each in made.opened:
        each.close()


async def through(source: SourcePorts, numbers: Mapping[str, int], *, in_clear: bool = False) -> bytes:
    """What comes back to a QEMU at the source that says hello; b"" when it is cut off."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("")               # a name of the kernel's choice
    listener.listen()
    name = listener.getsockname()
    source.serve("vmi", "m", {0: listener}, LOOPBACK, numbers, in_clear=in_clear)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as near:
        loop = asyncio.get_running_loop()
        near.setblocking(False)
        await loop.sock_connect(near, name)
        await loop.sock_sendall(near, b"hello")
        async with asyncio.timeout(HANG_S):
            try:
                return await loop.sock_recv(near, 100)
            except ConnectionError:
                return b""


async def answered(ends: Ends) -> None:
    """The target's launcher answers the first that comes through."""
    while not ends.opened:
        await asyncio.sleep(0.005)
    loop = asyncio.get_running_loop()
    assert await loop.sock_recv(ends.opened[0], 100) == b"hello"
    await loop.sock_sendall(ends.opened[0], b"welcome")


@pytest.mark.parametrize("shown", ["migration", "api", "foreign"])
async def test_only_the_certificate_for_migrations_gets_through(
    certificates: Mapping[str, Certificates], ends: Ends, shown: str
) -> None:
    source, target = SourcePorts(certificates[shown].client), TargetPorts(certificates["handler"].server, host=LOOPBACK)
    if shown == "foreign":
        source = SourcePorts(_trusting_nobody(certificates["foreign"].client))
    numbers = await target.listen("vmi", "m", (0,), ends.open)
    answering = asyncio.create_task(answered(ends))
    try:
        assert await through(source, numbers) == (b"welcome" if shown == "migration" else b"")
        assert bool(ends.opened) is (shown == "migration")
    finally:
        answering.cancel()
        source.close()
        target.close()


def _trusting_nobody(context: ssl.SSLContext) -> ssl.SSLContext:
    """A stranger does not care whom it talks to."""
    context.verify_mode = ssl.CERT_NONE
    return context


async def test_all_arrives_through_tls(certificates: Mapping[str, Certificates], ends: Ends) -> None:
    """More than all buffers hold, in both directions at the same time."""
    source, target = SourcePorts(certificates["migration"].client), TargetPorts(
        certificates["handler"].server, host=LOOPBACK)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind("")
    listener.listen()
    loop = asyncio.get_running_loop()
    source.serve("vmi", "m", {0: listener}, LOOPBACK, await target.listen("vmi", "m", (0,), ends.open))
    there, back = os.urandom(6_000_001), os.urandom(5_000_007)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as near:
            near.setblocking(False)
            await loop.sock_connect(near, listener.getsockname())
            async with asyncio.timeout(60), asyncio.TaskGroup() as both:
                while not ends.opened:
                    await asyncio.sleep(0.005)
                both.create_task(loop.sock_sendall(near, there))
                both.create_task(loop.sock_sendall(ends.opened[0], back))
                memory = both.create_task(_exactly(ends.opened[0], len(there)))
                told = both.create_task(_exactly(near, len(back)))
            assert memory.result() == there
            assert told.result() == back
    finally:
        source.close()
        target.close()


async def _exactly(sock: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count and (data := await asyncio.get_running_loop().sock_recv(sock, 1 << 16)):
        found += data
    return bytes(found)


async def test_nothing_stays_behind_in_openssl(
    certificates: Mapping[str, Certificates], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that do not fit into the buffer as a whole, and nothing after them."""
    monkeypatch.setattr(relay, "BUFFER", 4 * relay.RECORD)
    (peer, far), (guest, near) = socket.socketpair(), socket.socketpair()
    for each in (peer, far, guest, near):
        each.setblocking(False)
    client, server = await asyncio.gather(
        secured(peer, certificates["migration"].client, is_server=False),
        secured(far, certificates["handler"].server, is_server=True))
    records = [bytes(1000), *(bytes(relay.RECORD) for _ in range(4))]
    for record in records:
        assert client.send(record) == len(record)
    joined = asyncio.create_task(relay.join(near, server))
    try:
        async with asyncio.timeout(60):
            assert len(await _exactly(guest, sum(map(len, records)))) == sum(map(len, records))
    finally:
        client.close()
        guest.close()
        await joined


async def test_who_says_nothing_is_cut_off(
    certificates: Mapping[str, Certificates], ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "HANDSHAKE_S", 0.05)
    target = TargetPorts(certificates["handler"].server, host=LOOPBACK)
    port = int(next(iter(await target.listen("vmi", "m", (0,), ends.open))))
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        async with asyncio.timeout(60):
            assert await reader.read(1) == b""
    finally:
        writer.close()
        target.close()


async def test_the_target_has_to_be_a_handler(certificates: Mapping[str, Certificates], ends: Ends) -> None:
    source = SourcePorts(certificates["migration"].client)
    target = TargetPorts(certificates["api"].server, host=LOOPBACK)
    numbers = await target.listen("vmi", "m", (0,), ends.open)
    try:
        assert await through(source, numbers) == b""
    finally:
        source.close()
        target.close()


async def test_without_tls_everything_is_in_the_clear(
    certificates: Mapping[str, Certificates], ends: Ends
) -> None:
    """And for this one migration only."""
    source = SourcePorts(certificates["migration"].client)
    target = TargetPorts(certificates["handler"].server, host=LOOPBACK)
    numbers = await target.listen("vmi", "m", (0,), ends.open, in_clear=True)
    answering = asyncio.create_task(answered(ends))
    try:
        assert await through(source, numbers, in_clear=True) == b"welcome"
        await answering
        port = int(next(iter(await target.listen("other", "n", (0,), ends.open))))
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"hello\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"welcome" not in await reader.read(100)
        assert len(ends.opened) == 1, "bytes in the clear reached a launcher"
        writer.close()
    finally:
        answering.cancel()
        source.close()
        target.close()


def test_a_peer_that_is_gone_is_noticed() -> None:
    with socket.socket() as sock:
        notice_silence(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


async def test_nothing_is_kept_of_migrations_that_are_over(ends: Ends) -> None:
    target = TargetPorts(None, host=LOOPBACK)
    for end in (target.cut, target.release):
        await target.listen("guest", "migration", (0, 1), ends.open)
        end("guest")
        assert "migration" not in repr(vars(target))
