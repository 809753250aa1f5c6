"""A served virt-api for tests: real TLS, a fake kube-apiserver, and a fake handler that echoes."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from msgspec.structs import replace

from tests.fakes.authority import Authority
from tests.fakes.kube import FakeKube
from virt.api import codec, core, kinds, names, v1
from virt.api.status import failure
from virt.api.subresources import GuestfsInfo, VersionInfo
from virt.apiserver import server
from virt.apiserver.authorization import Authorizer
from virt.apiserver.identity import FrontProxy
from virt.apiserver.nodes import Handlers
from virt.apiserver.subresources import Subresources
from virt.apiserver.tls import FrontDoor, HandlerDoor
from virt.base.clock import RealClock

ALLOWED_USER = "alice"
NAMESPACE = "kubevirt"


class Kube(FakeKube):
    """Answers access reviews itself: ``alice`` may do everything."""

    async def create(self, kind: Any, obj: Any, namespace: str | None = None, *, dry_run: bool = False) -> Any:
        if kind is kinds.SUBJECT_ACCESS_REVIEW:
            self.reviews.append(obj.spec)
            return replace(obj, status=core.SubjectAccessReviewStatus(allowed=obj.spec.user == ALLOWED_USER))
        return await super().create(kind, obj, namespace, dry_run=dry_run)

    reviews: list[core.SubjectAccessReviewSpec]


@dataclass
class Handler:
    """What was asked: ``calls``. A stream echoes until it gets b"end"; then it says b"bye" and closes with 1000."""

    calls: list[str] = field(default_factory=list)
    is_busy: bool = False

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.answer)
        return app

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(f"{request.method} {request.path_qs}")
        if self.is_busy:
            return web.Response(
                status=503, body=codec.encode(failure(503, "session is busy")), content_type="application/json")
        socket = web.WebSocketResponse(protocols=(names.SUBPROTOCOL,))
        if not socket.can_prepare(request):
            return web.json_response({"asked": request.path.rpartition("/")[2]})
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(b"bye" if message.data == b"end" else message.data)
            if message.data == b"end":
                break
            if message.data == b"crash" and request.transport is not None:
                request.transport.abort()
        await socket.close()
        return socket


@dataclass
class Stand:
    """``get`` and the like go through the front proxy as ``alice`` unless told otherwise."""

    url: str
    kube: Kube
    handler: Handler
    door: FrontDoor
    session: aiohttp.ClientSession
    folder: Path

    def headers(self, user: str = ALLOWED_USER) -> Mapping[str, str]:
        return {"X-Remote-User": user, "X-Remote-Group": "system:authenticated"} if user else {}

    async def send(self, method: str, path: str, *, user: str = ALLOWED_USER, **options: Any) -> tuple[int, Any]:
        headers = {**self.headers(user), **options.pop("headers", {})}
        async with self.session.request(method, self.url + path, headers=headers, **options) as response:
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, (await response.read()).decode()

    def connect(self, path: str, **options: Any) -> Any:
        return self.session.ws_connect(self.url + path, headers=self.headers(), **options)


def client_tls(folder: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if folder:
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


@asynccontextmanager
async def served(app: web.Application, tls: ssl.SSLContext) -> AsyncIterator[int]:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def stand(tmp_path: Path, *objects: tuple[Any, Any], handler_name: str = names.HANDLER_NAME,
                away_s: float = 0.0) -> AsyncIterator[Stand]:
    proxy_ca, our_ca = Authority("front-proxy-ca"), Authority("kubevirt.io")
    (tmp_path / "ca-bundle").write_text(our_ca.pem)
    kube = Kube(*objects)
    kube.reviews = []
    handler = Handler()
    handler_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=our_ca.pem)
    handler_tls.verify_mode = ssl.CERT_REQUIRED
    certificate = our_ca.issue(tmp_path / "handler", handler_name)
    handler_tls.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
    proxy = FrontProxy(
        ca=proxy_ca.pem, allowed_names=frozenset({"front-proxy-client"}),
        # The second lets virtctl talk to the server without a kube-apiserver in between: --as alice.
        username_headers=("X-Remote-User", "Impersonate-User"))
    door = FrontDoor(our_ca.issue(tmp_path / "api", "virt-api"))
    door.trust(proxy)
    dial = HandlerDoor(our_ca.issue(tmp_path / "client", names.HANDLER_CLIENT_NAME), tmp_path / "ca-bundle")
    proxy_ca.issue(tmp_path / "proxy", "front-proxy-client")
    proxy_ca.issue(tmp_path / "other", "somebody")
    Authority("unknown").issue(tmp_path / "stranger", "front-proxy-client")

    async def version() -> str:
        return "v1.34.0"

    async with served(handler.app(), handler_tls) as handler_port:
        backend = server.Backend(
            server.Guard(lambda: proxy, Authorizer(kube, RealClock())),
            Subresources(kube, Handlers(kube, NAMESPACE, dial.context, port=handler_port, away_s=away_s)),
            lambda: VersionInfo(git_version="v1.8.0"), lambda: GuestfsInfo(registry="reg", tag="v1.8.0"),
            server.Health(lambda: True, version, lambda: "17"),
        )
        async with (
            served(server.application(backend), door.context) as port,
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_tls(tmp_path / "proxy"))) as session,
        ):
            yield Stand(f"https://127.0.0.1:{port}", kube, handler, door, session, tmp_path)


def handler_pod(node: str = "node1") -> tuple[Any, core.Pod]:
    return kinds.POD, core.Pod(
        metadata=core.ObjectMeta(
            name=f"virt-handler-{node}", namespace=NAMESPACE, labels={names.APP_LABEL: names.HANDLER}),
        spec=core.PodSpec(node_name=node), status=core.PodStatus(phase="Running", pod_ip="127.0.0.1"),
    )


def running_vmi(name: str = "vm1", **status: Any) -> tuple[Any, v1.VirtualMachineInstance]:
    return kinds.VMI, v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name=name, namespace="ns", uid="u1"),
        status=v1.VirtualMachineInstanceStatus(**{"phase": "Running", "node_name": "node1", **status}),
    )


