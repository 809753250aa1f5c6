"""Serving to the end: what comes in while a pod leaves its Service's addresses is still answered."""

import asyncio
import socket

import aiohttp
import pytest

from tests.waits import HANG_S
from virt.kube import http


async def _answer(port: int) -> tuple[int, str]:
    """The status, and what the server says of the connection."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/healthz", timeout=aiohttp.ClientTimeout(total=10)) as response,
    ):
        return response.status, response.headers.get("Connection", "")


async def _until_it_listens(port: int) -> None:
    while True:
        try:
            assert await _answer(port) == (200, "")
            return
        except aiohttp.ClientConnectorError:
            await asyncio.sleep(0.01)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def test_a_server_that_is_stopped_answers_until_it_is_drained(port: int) -> None:
    serving = asyncio.create_task(http.serve(http.health_app(), port=port, host="127.0.0.1", drain_s=3600))
    await asyncio.wait_for(_until_it_listens(port), HANG_S)
    serving.cancel()
    async with asyncio.timeout(HANG_S):
        while (answer := await _answer(port)) != (200, "close"):
            assert answer == (200, "")          # the word has not yet come through
    assert await _answer(port) == (200, "close")
    serving.cancel()            # its time is up
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(serving, HANG_S)
    with pytest.raises(aiohttp.ClientConnectorError):
        await _answer(port)


async def test_without_draining_nothing_is_taken_after_the_stop(port: int) -> None:
    serving = asyncio.create_task(http.serve(http.health_app(), port=port, host="127.0.0.1"))
    await asyncio.wait_for(_until_it_listens(port), HANG_S)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(serving, HANG_S)
    with pytest.raises(aiohttp.ClientConnectorError):
        await _answer(port)


def test_the_name_in_a_certificate() -> None:
    assert http.common_name({"subject": ((("organizationName", "x"),), (("commonName", "y"),))}) == "y"
    assert http.common_name(None) == http.common_name({}) == ""
