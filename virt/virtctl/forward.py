"""virtctl port-forward: ports of a guest on this machine, or one of them on standard input and output.

The latter is for ``ssh -o ProxyCommand='virtctl port-forward --stdio vm/NAME 22'``: nothing else may be printed there.
"""

import asyncio
import contextlib
import functools
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from virt.virtctl import terminal
from virt.virtctl.errors import CommandError, ServerError
from virt.virtctl.lifecycle import VM, VMI
from virt.virtctl.server import Server
from virt.virtctl.streams import carried, ended_badly, joined, stream

_KINDS: Final = {
    **dict.fromkeys(("vm", "vms", "virtualmachine", "virtualmachines"), VM),
    **dict.fromkeys(("vmi", "vmis", "virtualmachineinstance", "virtualmachineinstances"), VMI),
}


@dataclass(frozen=True)
class Port:
    """``local`` 0 is any that is free."""

    local: int
    remote: int


def forward(server: Server, given: Namespace) -> int:
    plural, name, namespace = target(given.target)
    ports = [port(text) for text in given.ports]
    server.namespace = namespace or server.namespace
    action = server.subresource(plural, name, "portforward")
    if not given.stdio:
        return asyncio.run(listening(server, action, ports, given.address))
    if len(ports) != 1:
        raise CommandError("only one port supported when forwarding to stdout")
    return asyncio.run(piped(server, f"{action}/{ports[0].remote}/tcp", sys.stdin.fileno(), sys.stdout.fileno()))


def target(text: str) -> tuple[str, str, str]:
    """Plural of the kind, name, and namespace ("" for the command's)."""
    kind, slash, rest = text.partition("/")
    if not slash:
        raise CommandError("target must contain type and name separated by '/'")
    if kind.lower() not in _KINDS:
        raise CommandError(f"unsupported resource type {kind!r}: forward ports of a vm or a vmi")
    name, slash, namespace = rest.partition("/")
    if not name or "/" in namespace or (slash and not namespace):
        raise CommandError(f"target {text!r} is not KIND/NAME or KIND/NAME/NAMESPACE")
    return _KINDS[kind.lower()], name, namespace


def port(text: str) -> Port:
    """``[tcp/]LOCAL[:REMOTE]``."""
    protocol, slash, numbers = text.rpartition("/")
    if slash and protocol.lower() != "tcp":
        raise CommandError(f"port {text!r}: only tcp can be forwarded, not {protocol!r}")
    local, colon, remote = numbers.partition(":")
    found = Port(_number(local), _number(remote if colon else local))
    if not 0 <= found.local < 65536 or not 0 < found.remote < 65536:
        raise CommandError(f"port {text!r} is not LOCAL or LOCAL:REMOTE with numbers up to 65535")
    return found


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else -1


async def listening(server: Server, action: str, ports: Sequence[Port], address: str) -> int:
    """Until Ctrl-C. A connection that the guest or the server refuses is told of, and the ports stay open."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with contextlib.ExitStack() as listeners:
        for wanted in ports:
            serve = functools.partial(_served, server, f"{action}/{wanted.remote}/tcp")
            try:
                listener = await asyncio.start_server(serve, address, wanted.local)
            except OSError as error:
                raise CommandError(f"cannot listen on {address}:{wanted.local}: {error.strerror}") from error
            listeners.callback(listener.close)
            print(f"Forwarding {address}:{listener.sockets[0].getsockname()[1]} to {wanted.remote}", flush=True)
        await stop.wait()
    return 0


async def _served(
    server: Server, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        async with stream(server.access, path) as socket:
            await carried(socket, reader, writer)
    except ServerError as error:
        print(error, file=sys.stderr, flush=True)
    finally:
        writer.close()


async def piped(server: Server, path: str, source: int, sink: int) -> int:
    """``source`` and ``sink`` are descriptors. The exit status is 1 when the other side just vanished."""
    async def write(data: bytes) -> None:
        terminal.write(sink, data)

    async with stream(server.access, path) as socket:
        await joined(socket, terminal.Keys(source).next, write)
        has_left = not socket.closed
    return 1 if not has_left and ended_badly(socket) else 0
