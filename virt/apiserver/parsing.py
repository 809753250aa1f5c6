"""What a request for a subresource says: which object, what options, whether it asks for a WebSocket."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
import yaml
from aiohttp import web

from virt.api import codec, names
from virt.api.subresources import DryRun
from virt.apiserver import relay
from virt.apiserver.refusal import bad_request
from virt.kube.http import RefusedError

Options = TypeVar("Options", bound=DryRun)

MAX_OPTIONS: Final = 1 << 20


def place(request: web.Request) -> tuple[str, str]:
    """(namespace, name) of the object."""
    return request.match_info["namespace"], request.match_info["name"]


def last_part(request: web.Request) -> str:
    """Last part of the path, for functions that serve several subresources."""
    return request.path.rpartition("/")[2]


def query(request: web.Request) -> Mapping[str, str]:
    return dict(request.query)


async def body(request: web.Request) -> bytes:
    """Raises HTTPRequestEntityTooLarge."""
    data = await request.read()
    if len(data) > MAX_OPTIONS:
        raise web.HTTPRequestEntityTooLarge(MAX_OPTIONS, len(data))
    return data


async def document(request: web.Request) -> Any:
    """The body as JSON or YAML, whatever its Content-Type says; None without one. Raises RefusedError."""
    data = await body(request)
    if not data.strip():
        return None
    try:
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError:
            return yaml.safe_load(data)
    except (msgspec.MsgspecError, yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise _broken(error) from error


async def options(request: web.Request, type_: type[Options]) -> Options:
    """The body; none means no options. Raises RefusedError."""
    found = await document(request)
    try:
        return codec.from_json({} if found is None else found, type_)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _broken(error) from error


def _broken(error: Exception) -> RefusedError:
    return bad_request(f"Can not unmarshal Request body to struct, error: {error}")


def port(request: web.Request) -> tuple[int, str]:
    """(number, "tcp" or "udp") of a port-forward. Raises RefusedError."""
    number, protocol = request.match_info["port"], request.match_info.get("protocol", "tcp")
    if not (number.isascii() and number.isdecimal() and 0 < int(number) < 65536):
        raise bad_request(f"invalid port: {number!r}")
    if protocol not in ("tcp", "udp"):
        raise bad_request(f"invalid protocol: {protocol!r}")
    return int(number), protocol


def upgrade(request: web.Request, *, autoping: bool = True) -> web.WebSocketResponse:
    """Not yet upgraded, so that errors of what follows are still plain HTTP. Raises RefusedError when no upgrade is
    asked for."""
    socket = web.WebSocketResponse(
        protocols=(names.SUBPROTOCOL,), compress=False, timeout=relay.CLOSE_S, autoping=autoping)
    if not socket.can_prepare(request):
        raise bad_request("a WebSocket upgrade is needed here")
    return socket
