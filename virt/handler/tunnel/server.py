"""What virt-api asks of a node: consoles, screens, and actions on guests.

HTTPS on names.HANDLER_PORT. Both sides show certificates of the kubevirt CA. The client's must be virt-api's: other
certificates of the same CA are refused.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from virt.api import codec, duration, names, v1
from virt.api.guestos import (
    VirtualMachineInstanceFileSystemList,
    VirtualMachineInstanceGuestAgentInfo,
    VirtualMachineInstanceGuestOSUserList,
)
from virt.api.status import failure, not_found
from virt.api.subresources import FreezeUnfreezeTimeout
from virt.base import log, silence
from virt.handler.launchers.launcher import Launcher
from virt.handler.launchers.server import Launchers
from virt.handler.tunnel.relay import close, relay
from virt.handler.tunnel.sessions import SessionBusyError, Sessions
from virt.kube import http
from virt.kube.events import EventRecorder
from virt.kube.http import RefusedError
from virt.kube.store import Store
from virt.rpc.errors import CallTimeout, ConnectionLost, RequestFailed
from virt.rpc.messages import (
    Data,
    Freeze,
    GuestInfo,
    OpenSerial,
    OpenVnc,
    Pause,
    Request,
    Reset,
    Screenshot,
    SoftReboot,
    Unfreeze,
    Unpause,
)
from virt.rpc.peer import Reply

DEADLINE_S = 10.0
DIALS_WITHIN_S = 8.0          # a launcher dials a new handler within a second or two; on a busy node it takes longer
LOOK_S = 0.05
ROOT = "/v1/namespaces/{namespace}/virtualmachineinstances/{name}"

_CODES = {
    "NotRunning": 409, "NoAgent": 409, "NoDevice": 400, "InvalidSpec": 422, "Timeout": 504, "AgentError": 500,
    "Internal": 500,
}
_NO_AGENT = "VMI does not have guest agent connected"
_logger = log.get("virt.handler.tunnel")

# What an action asks of the launcher, and the event that it leaves.
ACTIONS: Mapping[str, tuple[Callable[[], Request], str, str]] = {
    "pause": (Pause, "Paused", "VirtualMachineInstance paused."),
    "unpause": (Unpause, "Unpaused", "VirtualMachineInstance unpaused."),
    "reset": (Reset, "Reset", "VirtualMachineInstance reset."),
    "softreboot": (SoftReboot, "SoftRebooted", "VirtualMachineInstance soft rebooted."),
}


class Tunnel:
    """``vmis`` and ``launchers`` are those of this node. ``dials_within_s``: how long a request waits for a launcher
    that is not connected: its guest goes on while the handler is replaced, so people may act at any moment. A VMI that
    is not known is waited for as well: virt-api hears of one that has just moved here before this node's cache does."""

    def __init__(
        self, vmis: Store[v1.VirtualMachineInstance], launchers: Launchers, recorder: EventRecorder, *,
        dials_within_s: float = DIALS_WITHIN_S,
    ) -> None:
        self._vmis = vmis
        self._launchers = launchers
        self._recorder = recorder
        self._dials_within_s = dials_within_s
        self._sessions = Sessions()

    def app(self, *, check_client: bool = True) -> web.Application:
        app = web.Application(middlewares=[*([_only_api] if check_client else []), _refusals])
        router = app.router
        router.add_get(f"{ROOT}/console", self._console)
        router.add_get(f"{ROOT}/vnc", self._vnc)
        router.add_get(f"{ROOT}/vnc/screenshot", self._screenshot)
        router.add_get(f"{ROOT}/guestosinfo", self._guest_os_info)
        router.add_get(f"{ROOT}/userlist", self._users)
        router.add_get(f"{ROOT}/filesystemlist", self._file_systems)
        router.add_put(f"{ROOT}/freeze", self._freeze)
        router.add_put(f"{ROOT}/unfreeze", self._unfreeze)
        router.add_put(f"{ROOT}/{{action:pause|unpause|reset|softreboot}}", self._action)
        return app

    # --- streams ---

    async def _console(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, "console", OpenSerial())

    async def _vnc(self, request: web.Request) -> web.StreamResponse:
        preserve = request.query.get("preserveSession", "").lower() in ("true", "1")
        return await self._stream(request, "vnc", OpenVnc(), preserve=preserve)

    async def _stream(
        self, request: web.Request, kind: str, opening: Request, *, preserve: bool = False
    ) -> web.StreamResponse:
        vmi, launcher = await self._launcher(request)
        logger = _logger.bind(key=launcher.key, kind=kind)
        ws = web.WebSocketResponse(protocols=_protocols(request), compress=False)

        async def session() -> None:
            # The launcher is asked before the upgrade, so that what fails is an ordinary answer.
            with _refused():
                sock = await launcher.open(opening, deadline_s=DEADLINE_S)
            try:
                await ws.prepare(request)
                if request.transport is not None:       # a virt-api that is gone holds no session
                    silence.notice(request.transport.get_extra_info("socket"))
            except BaseException:
                sock.close()
                raise
            logger.info("session begins")
            await relay(ws, sock)

        try:
            is_whole = await self._sessions.run(f"{vmi.metadata.uid} {kind}", session, preserve=preserve)
        except SessionBusyError:
            raise RefusedError(
                failure(503, f"a {kind} session of {launcher.key} is active and asked to be kept")) from None
        if not ws.prepared:
            raise RefusedError(failure(503, f"another {kind} session of {launcher.key} took over"))
        logger.info("session ended", taken_over=not is_whole)
        await close(ws, request.transport)
        return ws

    # --- actions ---

    async def _action(self, request: web.Request) -> web.Response:
        vmi, launcher = await self._launcher(request)
        asking, reason, message = ACTIONS[request.match_info["action"]]
        await _ask(launcher, asking())
        self._recorder.event(vmi, "Normal", reason, message)
        return web.Response()

    async def _freeze(self, request: web.Request) -> web.Response:
        try:
            options = codec.decode(await request.read() or b"{}", FreezeUnfreezeTimeout)
            timeout_s = duration.seconds(options.unfreeze_timeout or "")
        except (msgspec.DecodeError, duration.DurationError) as error:
            raise RefusedError(failure(400, f"freeze needs unfreezeTimeout, a duration: {error}")) from error
        return await self._frozen(request, Freeze(timeout_s=max(1, round(timeout_s))), "Freeze")

    async def _unfreeze(self, request: web.Request) -> web.Response:
        return await self._frozen(request, Unfreeze(), "Unfreeze")

    async def _frozen(self, request: web.Request, asking: Request, command: str) -> web.Response:
        vmi, launcher = await self._launcher(request)
        try:
            await _ask(launcher, asking)
        except RefusedError as refusal:
            message = f"command {command} failed: {refusal.status.message}"
            self._recorder.event(vmi, "Warning", "FreezeError", message)
            raise RefusedError(failure(500, message)) from refusal
        return web.Response()

    # --- questions ---

    async def _screenshot(self, request: web.Request) -> web.Response:
        _, launcher = await self._launcher(request)
        return web.Response(body=_data(await _ask(launcher, Screenshot())), content_type="image/png")

    async def _guest_os_info(self, request: web.Request) -> web.Response:
        return http.json_response(await self._guest_info(request))

    async def _users(self, request: web.Request) -> web.Response:
        info = await self._guest_info(request)
        return http.json_response(VirtualMachineInstanceGuestOSUserList(items=info.user_list))

    async def _file_systems(self, request: web.Request) -> web.Response:
        info = await self._guest_info(request)
        return http.json_response(VirtualMachineInstanceFileSystemList(items=info.fs_info.disks))

    async def _guest_info(self, request: web.Request) -> VirtualMachineInstanceGuestAgentInfo:
        _, launcher = await self._launcher(request)
        if launcher.status is None or not launcher.status.agent_connected:
            raise RefusedError(failure(409, _NO_AGENT))
        return codec.decode(_data(await _ask(launcher, GuestInfo())), VirtualMachineInstanceGuestAgentInfo)

    # --- who is meant ---

    async def _launcher(self, request: web.Request) -> tuple[v1.VirtualMachineInstance, Launcher]:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._dials_within_s
        while True:
            vmi = self._vmis.find(namespace, name)
            launcher = self._launchers.of(vmi) if vmi is not None else None
            if vmi is not None and launcher is not None and launcher.is_connected:
                return vmi, launcher
            if (launcher is not None and launcher.is_dead) or loop.time() >= deadline:
                if vmi is None:
                    raise RefusedError(not_found("virtualmachineinstance.kubevirt.io", name))
                raise RefusedError(failure(503, f"the launcher of {namespace}/{name} is not connected; try again"))
            await asyncio.sleep(LOOK_S)


async def _ask(launcher: Launcher, request: Request) -> Reply:
    with _refused():
        return await launcher.call(request, deadline_s=DEADLINE_S)


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """What the launcher refuses is a Status for the client."""
    try:
        yield
    except RequestFailed as error:
        raise RefusedError(failure(
            _CODES.get(error.code, 500), _NO_AGENT if error.code == "NoAgent" else error.message)) from error
    except CallTimeout as error:
        raise RefusedError(failure(504, str(error))) from error
    except ConnectionLost as error:
        raise RefusedError(failure(503, f"{error}; try again")) from error


def _data(reply: Reply) -> bytes:
    if not isinstance(reply.answer, Data):
        raise RefusedError(failure(500, f"the launcher answered {type(reply.answer).__name__}"))
    return reply.answer.body


def _protocols(request: web.Request) -> tuple[str, ...]:
    """Only what the client offers may be echoed."""
    offered = request.headers.get("Sec-WebSocket-Protocol", "")
    return (names.SUBPROTOCOL,) if names.SUBPROTOCOL in (word.strip() for word in offered.split(",")) else ()


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except RefusedError as refusal:
        return http.status_response(refusal.status)


@web.middleware
async def _only_api(request: web.Request, handler: Handler) -> web.StreamResponse:
    transport = request.transport
    name = http.common_name(transport.get_extra_info("peercert") if transport is not None else None)
    if name != names.HANDLER_CLIENT_NAME:
        _logger.warning("client refused", common_name=name, remote=request.remote)
        if transport is not None:
            transport.abort()
        raise web.HTTPForbidden
    return await handler(request)
