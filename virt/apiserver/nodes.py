"""The way to a VMI's node: find the handler's pod, ask it over mutual TLS, or open a stream through it.

Refusals of the handler come through with their code and text, since they are Status objects there too.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import aiohttp
import msgspec
from yarl import URL

from virt.api import codec, conditions, kinds, names, v1
from virt.api.status import Status, failure
from virt.apiserver.preconditions import NOT_RUNNING
from virt.apiserver.refusal import bad_request, internal, unavailable
from virt.base import silence
from virt.kube import upgrades
from virt.kube.client import Client, Selector
from virt.kube.http import RefusedError

DIAL_S: Final = 3.0           # to a port of the cluster's own network; an address that is gone does not answer at all
ANSWER_S: Final = 30.0
OPEN_S: Final = 20.0          # until a stream is open; the handler may wait for its launcher
AWAY_S: Final = 15.0          # a handler that was killed or is being replaced is back within it
RETRY_S: Final = 0.5
_PHASES: Final = ("Running", "Scheduled")

T = TypeVar("T")


class AwayError(RefusedError):
    """Nobody listens on the node: nothing was asked, so asking again is safe."""

    def __init__(self, message: str) -> None:
        super().__init__(failure(503, message))


@dataclass(frozen=True)
class Answer:
    body: bytes
    content_type: str


class Nodes(Protocol):
    """``path`` is what follows the VMI's name: ``pause``, ``vnc/screenshot``. All raise RefusedError."""

    async def ask(self, vmi: v1.VirtualMachineInstance, method: str, path: str, *, body: bytes = b"",
                  query: Mapping[str, str] | None = None) -> Answer: ...

    async def open(self, vmi: v1.VirtualMachineInstance, path: str, *, query: Mapping[str, str] | None = None
                   ) -> "Stream": ...


@dataclass(frozen=True)
class Stream:
    """A WebSocket to the handler. :meth:`close` is to be called in any case."""

    socket: aiohttp.ClientWebSocketResponse
    session: aiohttp.ClientSession

    async def close(self, code: int = 1000) -> None:
        try:
            await self.socket.close(code=code)
        finally:
            await self.session.close()


class Handlers:
    """The real :class:`Nodes`. ``tls`` gives the context of the moment: ``virt.apiserver.tls.HandlerDoor``.

    A handler that is away is retried for ``away_s``: guests outlive it, and what people ask of them should too.
    """

    def __init__(
        self, client: Client, namespace: str, tls: Callable[[], ssl.SSLContext], *, port: int = names.HANDLER_PORT,
        away_s: float = AWAY_S,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._tls = tls
        self._port = port
        self._away_s = away_s

    async def ask(self, vmi: v1.VirtualMachineInstance, method: str, path: str, *, body: bytes = b"",
                  query: Mapping[str, str] | None = None) -> Answer:
        return await self._patiently(lambda: self._ask(vmi, method, path, body=body, query=query))

    async def open(self, vmi: v1.VirtualMachineInstance, path: str, *, query: Mapping[str, str] | None = None
                   ) -> Stream:
        return await self._patiently(lambda: self._open(vmi, path, query=query))

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._away_s
        while True:
            try:
                return await attempt()
            except AwayError:
                if loop.time() + RETRY_S > deadline:
                    raise
            await asyncio.sleep(RETRY_S)

    async def _ask(self, vmi: v1.VirtualMachineInstance, method: str, path: str, *, body: bytes,
                   query: Mapping[str, str] | None) -> Answer:
        url = await self._url(vmi, path, query or {})
        timeout = aiohttp.ClientTimeout(total=ANSWER_S, sock_connect=DIAL_S)
        headers = {"Content-Type": "application/json"} if body else {}
        async with (
            self._reached(vmi),
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            session.request(method, url, data=body or None, headers=headers, ssl=self._tls()) as response,
        ):
            content = await response.read()
            if response.status >= 400:
                raise RefusedError(refusal(response.status, content))
            return Answer(content, response.content_type)

    async def _open(self, vmi: v1.VirtualMachineInstance, path: str, *, query: Mapping[str, str] | None) -> Stream:
        url = await self._url(vmi, path, query or {})
        refused: list[Status] = []
        trace = upgrades.refusals(lambda code, body: refused.append(refusal(code, body)))
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=DIAL_S)
        session = aiohttp.ClientSession(trace_configs=[trace], trust_env=False, timeout=timeout)
        try:
            async with self._reached(vmi), asyncio.timeout(OPEN_S):
                try:
                    socket = await session.ws_connect(
                        url, protocols=(names.SUBPROTOCOL,), ssl=self._tls(), max_msg_size=0)
                    silence.notice(socket.get_extra_info("socket"))
                except aiohttp.WSServerHandshakeError as error:
                    raise RefusedError(refused[0] if refused else failure(500, error.message)) from error
        except BaseException:
            await session.close()
            raise
        return Stream(socket, session)

    @asynccontextmanager
    async def _reached(self, vmi: v1.VirtualMachineInstance) -> AsyncIterator[None]:
        try:
            yield
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            text = f"the handler on node {vmi.status.node_name!r} cannot be reached: {error}"
            raise (unavailable(text) if isinstance(error, aiohttp.ClientSSLError) else AwayError(text)) from error
        except TimeoutError as error:
            raise unavailable(f"the handler on node {vmi.status.node_name!r} does not answer") from error
        except (aiohttp.ClientError, OSError) as error:
            raise unavailable(f"the handler on node {vmi.status.node_name!r} cannot be reached: {error}") from error

    async def _url(self, vmi: v1.VirtualMachineInstance, path: str, query: Mapping[str, str]) -> URL:
        host = await self._address(vmi)
        where = f"/v1/namespaces/{vmi.metadata.namespace}/virtualmachineinstances/{vmi.metadata.name}/{path}"
        return URL.build(scheme="https", host=host, port=self._port, path=where, query=query)

    async def _address(self, vmi: v1.VirtualMachineInstance) -> str:
        if vmi.status.phase not in _PHASES or not vmi.status.node_name:
            raise bad_request(NOT_RUNNING)
        selector = Selector(
            labels=f"{names.APP_LABEL}={names.HANDLER}", fields=f"spec.nodeName={vmi.status.node_name}")
        pods = (await self._client.list(kinds.POD, self._namespace, selector)).items
        # During a roll-out the old pod may still be there: a ready one first.
        found = sorted((pod for pod in pods if pod.status.pod_ip and pod.metadata.deletion_timestamp is None),
                       key=lambda pod: not conditions.is_true(pod.status.conditions, "Ready"))
        if not found:
            raise AwayError(f"there is no handler on node {vmi.status.node_name!r}")
        return found[0].status.pod_ip


def refusal(code: int, body: bytes) -> Status:
    """The handler's Status, or its text in one."""
    try:
        answer = codec.decode(body, Status)
    except msgspec.DecodeError:
        return failure(code, body[:500].decode(errors="replace").strip() or f"the handler answered {code}")
    return answer if answer.code else internal(f"the handler answered {code}").status
