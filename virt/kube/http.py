"""What every daemon serves over HTTPS: /healthz and /metrics, with certificates that change while it runs.

    app = http.health_app(lambda: informer.synced.is_set())
    certs = http.Certificates("/etc/virt/certs/kubevirt-controller-certs")
    tasks = {"http": lambda: http.serve(app, port=8443, certs=certs)}
"""

import asyncio
import ssl
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from virt.api import codec
from virt.api.status import Status
from virt.base import log
from virt.base.errors import VirtError

DRAIN_S = 5.0                 # requests still come until kube-proxy on every node knows that the pod is leaving
LOOK_S = 5.0                  # how often the mounted files are looked at; the kubelet itself needs up to a minute

_logger = log.get("virt.kube.http")


class Certificates:
    """``tls.crt`` and ``tls.key`` in a folder, as a mounted secret has them, and optionally the CA bundle of clients.

    ``server`` is a server's context; with ``client_ca`` given, clients must show a certificate signed by it.
    ``client`` is a client's context that trusts the bundle and shows the certificate; host names are not checked, since
    peers are dialled by pod IP: the caller checks the peer's :func:`common_name`. Raises OSError or ssl.SSLError when
    the files are missing or broken.
    """

    def __init__(self, folder: str | Path, *, client_ca: str | Path | None = None) -> None:
        self._pair = key_pair(folder)
        self._ca = Path(client_ca) if client_ca else None
        self._seen = self._stamp()
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.client.check_hostname = False
        for context in (self.server, self.client):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._ca:
            self.server.verify_mode = ssl.CERT_REQUIRED
        self._load()

    async def follow(self) -> None:
        """Load the files again whenever they change; existing connections keep what they have. Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.refresh()
            except (OSError, ssl.SSLError) as error:
                _logger.error("certificates not loaded, the old ones stay", file=str(self._pair[0]), error=str(error))

    def refresh(self) -> bool:
        """One look; True when the files had changed and were loaded."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._load()
        self._seen = stamp
        _logger.info("certificates loaded", file=str(self._pair[0]))
        return True

    def _load(self) -> None:
        for context in (self.server, self.client):
            context.load_cert_chain(*self._pair)
            if self._ca:
                # Only ever adds. A CA that was taken out of the bundle stays trusted until it expires by itself.
                context.load_verify_locations(self._ca)

    def _stamp(self) -> tuple[int, ...]:
        return stamp((*self._pair, *([self._ca] if self._ca else [])))


def key_pair(folder: str | Path) -> tuple[Path, Path]:
    """Certificate and key in a folder, as a mounted secret has them."""
    return Path(folder, "tls.crt"), Path(folder, "tls.key")


def stamp(files: Iterable[Path]) -> tuple[int, ...]:
    """A value that changes when one of the files does. Raises OSError."""
    return tuple(file.stat().st_mtime_ns for file in files)


class RefusedError(VirtError):
    """A request that is answered with ``status``."""

    reference = "request-refused"

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


def json_response(obj: object, status: int = 200) -> web.Response:
    """``obj``: a type of the API, or plain JSON."""
    return web.Response(status=status, body=codec.encode(obj), content_type="application/json")


def status_response(status: Status) -> web.Response:
    return json_response(status, status.code)


def common_name(certificate: Mapping[str, Any] | None) -> str:
    """The common name of a certificate as ssl's getpeercert() tells it; "" without one."""
    for rdn in (certificate or {}).get("subject", ()):
        for key, value in rdn:
            if key == "commonName":
                return str(value)
    return ""


def health_app(
    is_healthy: Callable[[], bool] = lambda: True, app: web.Application | None = None
) -> web.Application:
    """``app`` or a new application, with /healthz (200 "ok", 503 "not ready") and /metrics, ready for more routes."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok") if is_healthy() else web.Response(status=503, text="not ready")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = app or web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", metrics)
    return app


async def serve(
    app: web.Application, *, port: int, certs: Certificates | None = None, context: ssl.SSLContext | None = None,
    host: str | None = None, drain_s: float = 0.0,
) -> None:
    """Serve until cancelled, and new requests for ``drain_s`` more; then open ones have three seconds to end.

    ``certs`` are followed while it runs. Give ``context`` instead for one that somebody else keeps up to date. ``host``
    None: all addresses. What stands behind a Service gives ``DRAIN_S``.
    """
    is_leaving = False

    async def part(_: web.Request, response: web.StreamResponse) -> None:
        # The client sends its next request elsewhere, so none is lost when the connection is closed at the end.
        if is_leaving:
            response.force_close()
            response.headers.setdefault("Connection", "close")      # that of an upgrade stays

    app.on_response_prepare.append(part)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=3.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=certs.server if certs else context).start()
        try:
            await (certs.follow() if certs else asyncio.Event().wait())
        except asyncio.CancelledError:
            is_leaving = True
            await asyncio.sleep(drain_s)
            raise
    finally:
        await runner.cleanup()
