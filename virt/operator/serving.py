"""The operator's own HTTPS certificate, which it issues itself: straight from the secret, without waiting for a mount.

Until the secret is there it shows one that nobody trusts; probes do not ask for more.
"""

import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from virt.api.kinds import Kind
from virt.base import log
from virt.kube.client import Client, Selector
from virt.kube.informer import Informer
from virt.operator.certificates import issue, plan
from virt.operator.resources import SECRET, Json
from virt.operator.strategy.certificates import KeyPair

_logger = log.get("virt.operator.serving")


class ServingCertificate:
    """``context`` always has a certificate. Run :attr:`informer` as a task."""

    def __init__(self, client: Client, namespace: str) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        kind: Kind[Json] = SECRET
        self.informer = Informer(
            client, kind, namespace=namespace, selector=Selector(fields=f"metadata.name={plan.OPERATOR_CERTS}")
        )
        self.informer.on_change(self._changed)
        self._load(_provisional(namespace))

    def _changed(self, _: Json | None, secret: Json | None) -> None:
        pair = issue.pair_in(secret)
        if pair is not None:
            self._load(pair)
            _logger.info("certificate loaded")

    def _load(self, pair: KeyPair) -> None:
        # ssl reads files only. The folder is private and lives for this call.
        with tempfile.TemporaryDirectory() as folder:
            certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
            certificate.write_text(pair.certificate)
            key.write_text(pair.key)
            self.context.load_cert_chain(certificate, key)


def _provisional(namespace: str) -> KeyPair:
    now, day = datetime.now(UTC), timedelta(days=1)
    ca = issue.new_ca("24h", day, now)
    return issue.new_leaf(ca, issue.subject(plan.OPERATOR_CERTS, namespace), "24h", day, now)
