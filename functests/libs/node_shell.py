"""A shell on a node that stays open: a script costs it some milliseconds, a new ``docker exec`` hundreds.

The engine's stream is the same for a local and a remote engine. Each script runs in a child of its own, with nothing on
its standard input, so it cannot end the shell or change the next script's world.
"""

import re
import secrets
import select
import shlex
import struct
from collections.abc import Sequence
from typing import Any, Protocol

import docker

SILENCE_S = 60.0            # a script that says nothing for so long is given up
_HEADER = struct.Struct(">BxxxL")       # the engine's frames: stream, length


class Connection(Protocol):
    """A socket, or what looks like one (TLS, a channel of SSH)."""

    def sendall(self, data: bytes, /) -> object: ...
    def recv(self, size: int, /) -> bytes: ...
    def settimeout(self, value: float, /) -> None: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class ShellLost(ConnectionError):
    """The node or the engine ended the shell, or the script fell silent."""


class Shell:
    """For one script at a time."""

    def __init__(self, connection: Connection, *, keep: object = None) -> None:
        self._connection = connection
        self._keep = keep               # the response that owns the connection, which closes it when it is collected
        self._frames = b""
        connection.settimeout(SILENCE_S)

    def is_open(self) -> bool:
        """Whether it can be used: between scripts nothing comes, so what can be read then is the stream's end."""
        return not select.select([self._connection], [], [], 0)[0]

    def run(self, script: str) -> tuple[int, str]:
        """Exit status and output (stdout and stderr). Raises ShellLost; then the shell is of no more use."""
        mark = secrets.token_hex(8)
        line = f"echo {mark}; sh -c {shlex.quote(script)} </dev/null 2>&1; printf '\\n%s %d\\n' {mark} $?\n"
        end = re.compile(rb"\n" + mark.encode() + rb" (\d+)\n")
        said, looked = bytearray(), 0
        try:
            self._connection.sendall(line.encode())
            while not (found := end.search(said, looked)):
                looked = max(0, len(said) - 64)
                said += self._read()
        except OSError as error:
            self.close()
            raise ShellLost(f"{error or type(error).__name__}; until then it said {bytes(said[-500:])!r}") from error
        begin = said.index(mark.encode()) + len(mark) + 1
        return int(found.group(1)), said[begin : found.start()].decode(errors="replace")

    def _read(self) -> bytes:
        """What came of either stream."""
        got = self._connection.recv(65536)
        if not got:
            raise ConnectionResetError("the shell ended")
        self._frames += got
        said = b""
        while len(self._frames) >= _HEADER.size:
            _, length = _HEADER.unpack_from(self._frames)
            if len(self._frames) < _HEADER.size + length:
                break
            said += self._frames[_HEADER.size : _HEADER.size + length]
            self._frames = self._frames[_HEADER.size + length :]
        return said

    def close(self) -> None:
        self._connection.close()


def open_shell(engine: docker.DockerClient, container: str, command: Sequence[str] = ("sh",)) -> Shell:
    """On the node whose container that is. ``command`` is what is a shell there."""
    made = engine.api.exec_create(container, list(command), stdin=True)
    stream: Any = engine.api.exec_start(made["Id"], socket=True)
    return Shell(getattr(stream, "_sock", stream), keep=stream)
