"""Bytes between a WebSocket and a stream socket, both ways, no faster than the slower side takes them."""

import asyncio
import contextlib
import socket

from aiohttp import WSCloseCode, WSMsgType, web

BUFFER = 10240
CLOSE_DEADLINE_S = 2.0


async def relay(ws: web.WebSocketResponse, sock: socket.socket) -> None:
    """Until one side ends; then the stream socket, which is owned, is closed. The WebSocket is left to the caller.

    Text frames are ignored. Nothing is read from the one side while the other does not take what was read before.
    """
    reader, writer = await asyncio.open_unix_connection(sock=sock, limit=BUFFER)
    writer.transport.set_write_buffer_limits(high=BUFFER)
    ends = {asyncio.create_task(_to_client(reader, ws)), asyncio.create_task(_to_guest(ws, writer))}
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # Before anything is awaited: whoever takes over cancels us here too, and QEMU's port takes one connection.
        writer.transport.abort()            # close would wait for a guest that reads nothing
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def close(ws: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
    """End in the regular way (1000); a client that does not take it is cut off."""
    try:
        async with asyncio.timeout(CLOSE_DEADLINE_S):
            await ws.close(code=WSCloseCode.OK)
    except (OSError, RuntimeError):
        if transport is not None:
            transport.abort()


async def _to_client(reader: asyncio.StreamReader, ws: web.WebSocketResponse) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(BUFFER):
            await ws.send_bytes(data)


async def _to_guest(ws: web.WebSocketResponse, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        async for message in ws:
            if message.type is WSMsgType.BINARY:
                writer.write(message.data)
                await writer.drain()
