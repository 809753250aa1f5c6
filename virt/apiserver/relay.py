"""Carries bytes between a client's WebSocket and another one, or a TCP connection, until one side ends.

Each direction waits for its receiver before it reads on, so a slow side slows the other down and nothing piles up here.
Frames are binary; text from clients is ignored, as KubeVirt does.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import aiohttp
from aiohttp import web

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
ABNORMAL: Final = 1006         # never sent: means that the connection broke without a close frame
INTERNAL_ERROR: Final = 1011
CHUNK: Final = 32 * 1024
CLOSE_S: Final = 5.0           # how long a client may take to answer our close frame
PING_S: Final = 1.0            # of port forwarding, as KubeVirt does it
SILENCE_S: Final = 60.0        # a client from which nothing came for so long, not even a pong, is dropped

AnySocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


async def join(client: web.WebSocketResponse, node: aiohttp.ClientWebSocketResponse) -> None:
    """Until one side closes; then the other is closed the same way. A node that just vanishes is an error: 1011."""
    first = await _first(_copy(client, node), _copy(node, client))
    code = node.close_code if first == 1 else client.close_code
    if first == 1:
        await client.close(code=INTERNAL_ERROR if code in (None, ABNORMAL) else code or NORMAL)
    else:
        await node.close(code=GOING_AWAY if code in (None, ABNORMAL) else code or NORMAL)


async def join_stream(
    client: web.WebSocketResponse, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *,
    ping_s: float = PING_S, silence_s: float = SILENCE_S, now: Callable[[], float] = time.monotonic,
) -> None:
    """The same with a TCP connection, whose end is a normal one. Closes both.

    ``client`` is asked by pings whether it is still there; it must be one without ``autoping``.
    """
    heard, is_held_up = now(), False

    async def up() -> None:
        nonlocal heard, is_held_up
        async for message in client:
            if message.type is aiohttp.WSMsgType.PING:
                await client.pong(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                writer.write(message.data)
                is_held_up = True           # pongs are not read while the other side takes nothing
                await writer.drain()
                is_held_up = False
            heard = now()

    async def down() -> None:
        while data := await reader.read(CHUNK):
            await client.send_bytes(data)

    async def beat() -> None:
        while is_held_up or now() - heard < silence_s:
            await client.ping()
            await asyncio.sleep(ping_s)

    try:
        await _first(up(), down(), beat())
    finally:
        writer.close()
        await client.close(code=NORMAL)


async def _copy(source: AnySocket, target: AnySocket) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)


async def _first(*directions: Coroutine[Any, Any, None]) -> int:
    """Run all until one ends, broken connections included, and cancel the rest. Returns which it was."""
    tasks = [asyncio.create_task(direction) for direction in directions]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, (ConnectionError, aiohttp.ClientError)):
            raise result
    return next(index for index, task in enumerate(tasks) if task in done)
