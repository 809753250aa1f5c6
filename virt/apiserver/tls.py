"""TLS of virt-api: anybody may connect, and a client that shows a certificate must be the front proxy.

The CA of the front proxy can change, and one that was taken out must not be believed any longer. A context never
forgets a CA, so each change makes a new one, which takes over every handshake that begins after it. There is no session
resumption (TLS 1.3 without tickets): a resumed session would keep the trust of an old one.
"""

import asyncio
import ssl
from pathlib import Path

from virt.api import names
from virt.apiserver.identity import FrontProxy
from virt.base import log
from virt.kube import http

_logger = log.get("virt.apiserver.tls")


class _PeerChecks(ssl.SSLObject):
    """Ends the handshake of a peer whose certificate has a common name outside the context's ``allowed_names``."""

    def do_handshake(self) -> None:
        super().do_handshake()
        allowed: frozenset[str] = getattr(self.context, "allowed_names", frozenset())
        if not allowed or not (certificate := self.getpeercert()):
            return
        name = http.common_name(certificate)
        if name not in allowed:
            raise ssl.SSLCertVerificationError(f"peer's common name {name!r} is none of {sorted(allowed)}")


class NamedPeerContext(ssl.SSLContext):
    """A context that looks at the peer's common name. ``allowed_names`` empty means any; no certificate passes.

    For asyncio only: plain sockets are not looked at.
    """

    sslobject_class = _PeerChecks
    allowed_names: frozenset[str] = frozenset()


class FrontDoor:
    """``context`` is what to serve with. Raises OSError or ssl.SSLError when the certificate is missing or broken."""

    def __init__(self, folder: str | Path) -> None:
        self._certificate = http.key_pair(folder)
        self._proxy = FrontProxy()
        self._seen = http.stamp(self._certificate)
        self.context = self._current = self._made()
        self.context.sni_callback = self._choose

    def trust(self, proxy: FrontProxy) -> None:
        """Believe this front proxy from now on, and no other. One whose CA is unreadable is nobody."""
        self._proxy = proxy
        try:
            self._current = self._made()
        except ssl.SSLError as error:
            _logger.error("front proxy's CA not loaded", error=str(error))
            self._proxy = FrontProxy()
            self._current = self._made()
        _logger.info("front proxy known", names=sorted(self._proxy.allowed_names), has_ca=bool(self._proxy.ca))

    async def follow(self) -> None:
        """Load our own certificate again whenever its files change. Runs until cancelled."""
        while True:
            await asyncio.sleep(http.LOOK_S)
            try:
                if (stamp := http.stamp(self._certificate)) != self._seen:
                    self._current = self._made()
                    self._seen = stamp
            except (OSError, ssl.SSLError) as error:
                _logger.error("certificate not loaded, the old one stays", error=str(error))

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _outer: ssl.SSLContext) -> None:
        connection.context = self._current

    def _made(self) -> NamedPeerContext:
        context = NamedPeerContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
        context.load_cert_chain(*self._certificate)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.allowed_names = self._proxy.allowed_names
        if self._proxy.ca:
            context.load_verify_locations(cadata=self._proxy.ca)
        return context


class HandlerDoor:
    """How handlers are dialled: :meth:`context` shows virt-api's client certificate and accepts handlers only.

    They are dialled by pod IP, so it is the common name and the CA that count. Each change of the files makes a new
    context: what was taken out of the bundle is not trusted any longer.
    """

    def __init__(self, folder: str | Path, ca: str | Path) -> None:
        self._certificate, self._ca = http.key_pair(folder), Path(ca)
        self._seen: tuple[int, ...] = ()
        self._current: NamedPeerContext | None = None

    def context(self) -> ssl.SSLContext:
        """The one for now. Raises OSError or ssl.SSLError when the files are missing or broken."""
        files = (*self._certificate, self._ca)
        stamp = http.stamp(files)
        if self._current is None or stamp != self._seen:
            context = NamedPeerContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.allowed_names = frozenset({names.HANDLER_NAME})
            context.load_cert_chain(*self._certificate)
            context.load_verify_locations(self._ca)
            self._current, self._seen = context, stamp
        return self._current
