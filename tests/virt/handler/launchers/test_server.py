"""The socket that launchers dial, when the machine is short of what a connection needs."""

import asyncio
import errno
import os
import socket
from pathlib import Path

import pytest

from tests.waits import HANG_S
from virt.api import v1
from virt.handler.launchers import server
from virt.handler.launchers.process import Process, UnknownProcessError
from virt.handler.launchers.server import Launchers
from virt.kube.store import Store


async def test_a_handler_out_of_descriptors_takes_who_waits_once_one_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = asyncio.Event()

    def who(sock: socket.socket) -> Process:
        seen.set()
        raise UnknownProcessError("a stranger")

    loop = asyncio.get_running_loop()
    real, refused = loop.sock_accept, [errno.EMFILE, errno.ENOMEM]

    async def accept(listener: socket.socket) -> tuple[socket.socket, object]:
        if refused:
            number = refused.pop()
            raise OSError(number, os.strerror(number))
        return await real(listener)

    monkeypatch.setattr(loop, "sock_accept", accept)
    monkeypatch.setattr(server, "ACCEPT_AGAIN_S", 0.01)
    path = tmp_path / "launchers.sock"
    launchers = Launchers(Store[v1.VirtualMachineInstance](), lambda _: None, node="n1", path=path, who=who)
    running = asyncio.create_task(launchers.run())
    try:
        async with asyncio.timeout(HANG_S):
            while not path.exists():
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_unix_connection(path)
            await seen.wait()
            assert await reader.read() == b""           # met, and hung up on: it is nobody's launcher
            writer.close()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert refused == []


async def test_another_failure_of_the_socket_ends_the_handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def accept(listener: socket.socket) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_accept", accept)
    launchers = Launchers(Store[v1.VirtualMachineInstance](), lambda _: None, node="n1", path=tmp_path / "x.sock")
    with pytest.raises(OSError, match="Bad file descriptor"):
        await asyncio.wait_for(launchers.run(), HANG_S)
