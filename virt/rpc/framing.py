"""Messages and file descriptors on a stream socket.

A frame is four bytes of length (big endian) and a MessagePack body; its descriptors travel with its first byte
(SCM_RIGHTS, unix(7)). The kernel never merges what two sendmsg calls with descriptors sent into one recvmsg, but one
recvmsg may end in the middle of a frame: descriptors belong to the frame whose first byte came with them, so frames are
read one at a time, head before body.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Sequence

import msgspec

from virt.rpc.errors import ConnectionLost
from virt.rpc.messages import Answer, Event, Request

MAX_BODY = 16 * 1024 * 1024
MAX_FDS = 64
_HEAD = struct.Struct(">I")
_PEER = struct.Struct("3i")


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """``number`` matches a request with its answer; events have 0. ``answers`` tells the two apart."""

    number: int
    answers: bool
    body: Request | Answer | Event


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode


def credentials(sock: socket.socket) -> tuple[int, int, int]:
    """(pid, uid, gid) of the process that connected, as the kernel knows them in our namespaces."""
    pid, uid, gid = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return pid, uid, gid


class FrameSocket:
    """Frames over one connected AF_UNIX stream socket, which it makes non-blocking and owns."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._writing = asyncio.Lock()

    async def send(self, frame: Frame, fds: Sequence[int] = ()) -> None:
        """The kernel duplicates ``fds``; the caller keeps its own. Raises ConnectionLost."""
        body = _encode(frame)
        data = memoryview(_HEAD.pack(len(body)) + body)
        async with self._writing:
            try:
                sent = await self._first_part(data, fds)
                await asyncio.get_running_loop().sock_sendall(self._sock, data[sent:])
            except OSError as error:
                raise ConnectionLost(f"cannot send: {error}") from error

    async def _first_part(self, data: memoryview, fds: Sequence[int]) -> int:
        while True:
            try:
                return socket.send_fds(self._sock, [data], list(fds)) if fds else self._sock.send(data)
            except BlockingIOError:
                await self._until(writable=True)

    async def receive(self) -> tuple[Frame, tuple[int, ...]] | None:
        """The next frame and its descriptors, which belong to the caller; None at the end of the stream.

        Raises ConnectionLost for a stream that ends inside a frame or holds what is no frame.
        """
        head, fds = await self._exactly(_HEAD.size, at_start=True)
        if not head:
            return None
        try:
            (length,) = _HEAD.unpack(head)
            if length > MAX_BODY:
                raise ConnectionLost(f"a message of {length} bytes; at most {MAX_BODY} are allowed")
            body, more = await self._exactly(length, at_start=False)
            fds += more
            return _decode(body), fds
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            # Text that is no UTF-8 and endless nesting come through as Python's own errors.
            close_all(fds)
            raise ConnectionLost(f"not a message: {error}") from error
        except BaseException:
            close_all(fds)
            raise

    async def _exactly(self, count: int, *, at_start: bool) -> tuple[bytes, tuple[int, ...]]:
        data = bytearray()
        fds: tuple[int, ...] = ()
        try:
            while len(data) < count:
                try:
                    chunk, found, _flags, _ = socket.recv_fds(
                        self._sock, count - len(data), MAX_FDS, socket.MSG_CMSG_CLOEXEC
                    )
                except BlockingIOError:
                    await self._until(writable=False)
                    continue
                fds += tuple(found)
                if len(fds) > MAX_FDS:      # else a message sent byte by byte would fill our table
                    raise ConnectionLost(f"more than {MAX_FDS} descriptors with one message")
                if not chunk:
                    if at_start and not data:
                        return b"", fds
                    raise ConnectionLost("the other side closed in the middle of a message")
                data += chunk
        except OSError as error:
            close_all(fds)
            raise ConnectionLost(f"cannot receive: {error}") from error
        except BaseException:
            close_all(fds)
            raise
        return bytes(data), fds

    async def _until(self, *, writable: bool) -> None:
        """Until the socket is ready. A reader and a writer may wait at the same time."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        add, remove = (loop.add_writer, loop.remove_writer) if writable else (loop.add_reader, loop.remove_reader)
        add(self._sock, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            remove(self._sock)

    def hang_up(self) -> None:
        """End the stream in both directions: whoever waits in :meth:`receive` sees its end."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._sock.close()


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
