"""TLS of virt-api: anybody may connect, and a client that shows a certificate must be the front proxy.

The CA of the front proxy can change, and one that was taken out must not be believed any longer. A context never forgets
a CA, so each change makes a new one, which takes over every handshake that begins after it. There is no session
resumption (TLS 1.3 without tickets): a resumed session would keep the trust of an old one.
"""

import ssl
from pathlib import Path
from typing import Any

from virt.apiserver.identity import FrontProxy
from virt.base import log

_logger = log.get("virt.apiserver.tls")


class _PeerChecks(ssl.SSLObject):
    """Ends the handshake of a peer whose certificate has a common name outside the context's ``allowed_names``."""

    def do_handshake(self) -> None:
        super().do_handshake()
        allowed: frozenset[str] = getattr(self.context, "allowed_names", frozenset())
        if not allowed or not (certificate := self.getpeercert()):
            return
        name = common_name(certificate)
        if name not in allowed:
            raise ssl.SSLCertVerificationError(f"peer's common name {name!r} is none of {sorted(allowed)}")


class NamedPeerContext(ssl.SSLContext):
    """A context that looks at the peer's common name; ``allowed_names`` empty means any. Peers without a certificate pass.

    For asyncio only: plain sockets are not looked at.
    """

    sslobject_class = _PeerChecks
    allowed_names: frozenset[str] = frozenset()


class FrontDoor:
    """``context`` is what to serve with. Raises OSError or ssl.SSLError when the certificate is missing or broken."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._proxy = FrontProxy()
        self.context = self._current = self._made()
        self.context.sni_callback = self._choose

    def trust(self, proxy: FrontProxy) -> None:
        """Believe this front proxy from now on, and no other."""
        self._proxy = proxy
        self.renew()
        _logger.info("front proxy known", names=sorted(proxy.allowed_names), ca=bool(proxy.ca))

    def renew(self) -> None:
        """Read the own certificate again."""
        self._current = self._made()

    def _choose(self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _outer: ssl.SSLContext) -> None:
        connection.context = self._current

    def _made(self) -> NamedPeerContext:
        context = NamedPeerContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
        context.load_cert_chain(self._folder / "tls.crt", self._folder / "tls.key")
        context.verify_mode = ssl.CERT_OPTIONAL
        context.allowed_names = self._proxy.allowed_names
        if self._proxy.ca:
            context.load_verify_locations(cadata=self._proxy.ca)
        return context


def common_name(certificate: Any) -> str:
    """Of a certificate as ``getpeercert`` gives it; "" when the subject has none."""
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    return ""
