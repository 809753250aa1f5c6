"""Bytes between two streams, both ways, until both have ended. Nothing that was read is lost at the end."""

import asyncio
import contextlib

BUFFER = 1 << 20


async def join(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter], other: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """Owns both. The end of one is passed on as the end of the other, after everything that came before it."""
    for _, writer in (one, other):
        writer.transport.set_write_buffer_limits(high=BUFFER)
    ways = {asyncio.create_task(_pass_on(one[0], other[1])), asyncio.create_task(_pass_on(other[0], one[1]))}
    try:
        await asyncio.wait(ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for _, writer in (one, other):
            writer.transport.abort()        # nothing is left to send, or nobody wants it any more


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """TLS has no half-closed streams, so an end closes the other stream as a whole; close() sends what is buffered."""
    with contextlib.suppress(OSError):
        while data := await reader.read(BUFFER):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
