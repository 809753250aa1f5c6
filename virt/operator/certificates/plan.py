"""Which certificates are due, which CAs are trusted, and when to look again. Pure; times are aware datetimes.

A new CA is published first and signs afterwards: pods see a changed bundle only after a minute or so, and a certificate
that a peer cannot check yet would break their connection.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from virt.api import duration, v1
from virt.api.names import API_CERTS, HANDLER_CERTS, HANDLER_CLIENT_CERTS, MIGRATION_CERTS

CA = "kubevirt-ca"
OPERATOR_CERTS = "kubevirt-operator-certs"
CONTROLLER_CERTS = "kubevirt-controller-certs"
LEAVES = (
    OPERATOR_CERTS, API_CERTS, CONTROLLER_CERTS, HANDLER_CERTS, HANDLER_CLIENT_CERTS, MIGRATION_CERTS,
)

BACKDATE = timedelta(minutes=1)         # clocks of nodes differ a little
PROPAGATION = timedelta(minutes=2)      # until every pod has seen a new bundle in its mounted ConfigMap
MOST_CAS = 50

_CA_DURATION, _SERVER_DURATION = "168h", "24h"
_RENEW_SHARE = 0.2


@dataclass(frozen=True)
class Span:
    """``text``: the duration as configured, which is written beside what was issued for it."""

    text: str
    renew_before: timedelta

    @property
    def whole(self) -> timedelta:
        return timedelta(seconds=duration.seconds(self.text))


@dataclass(frozen=True)
class Settings:
    ca: Span
    server: Span

    @property
    def overlap(self) -> timedelta:
        """How long a replaced CA stays trusted."""
        return self.ca.renew_before

    @property
    def propagation(self) -> timedelta:
        """How long a new CA is only published."""
        return min(PROPAGATION, self.overlap / 2)


@dataclass(frozen=True)
class Held:
    """A certificate that exists and can be read. ``signer``: key id of the trusted CA that signed it, "" for none."""

    key_id: str
    not_before: datetime
    not_after: datetime
    duration: str = ""
    signer: str = ""

    @property
    def issued_at(self) -> datetime:
        return self.not_before + BACKDATE


def settings(strategy: v1.KubeVirtCertificateRotateStrategy) -> Settings:
    """Raises DurationError; the webhook refuses such an object."""
    own = strategy.self_signed or v1.KubeVirtSelfSignConfiguration()
    ca = own.ca or v1.CertConfig(duration=own.ca_rotate_interval, renew_before=own.ca_overlap_interval)
    server = own.server or v1.CertConfig(duration=own.cert_rotate_interval)
    return Settings(_span(ca, _CA_DURATION), _span(server, _SERVER_DURATION))


def _span(config: v1.CertConfig, default: str) -> Span:
    text = config.duration or default
    whole = duration.seconds(text)
    before = duration.seconds(config.renew_before) if config.renew_before else whole * _RENEW_SHARE
    return Span(text, timedelta(seconds=before))


def ca_is_due(ca: Held | None, settings: Settings, now: datetime) -> bool:
    return ca is None or ca.duration != settings.ca.text or now >= ca.not_after - settings.ca.renew_before


def due_leaves(
    ca: Held, leaves: Mapping[str, Held | None], settings: Settings, now: datetime
) -> tuple[str, ...]:
    """Names of the certificates to issue now; ``ca`` is the current one."""
    return tuple(
        name for name, leaf in leaves.items()
        if leaf is None or not leaf.signer or leaf.duration != settings.server.text
        or now >= leaf_deadline(ca, leaf, settings)
    )


def leaf_deadline(ca: Held, leaf: Held, settings: Settings) -> datetime:
    """When a certificate has to be issued again."""
    deadline = leaf.not_after - settings.server.renew_before
    if ca.not_after < leaf.not_after:
        deadline = min(deadline, ca.not_after - settings.overlap / 2)
    if leaf.signer != ca.key_id:
        deadline = min(deadline, ca.issued_at + settings.propagation)
    return deadline


def bundle(current: Held, older: Iterable[Held], settings: Settings, now: datetime) -> tuple[Held, ...]:
    """The CAs that peers trust: the current one first, then those it replaced a short while ago, newest first."""
    recent = now < current.issued_at + settings.overlap
    others = {ca.key_id: ca for ca in older if ca.key_id != current.key_id and ca.not_after > now and recent}
    newest_first = sorted(others.values(), key=lambda ca: ca.not_before, reverse=True)
    return (current, *newest_first)[:MOST_CAS]


def wake_at(bundled: Sequence[Held], leaves: Iterable[Held], settings: Settings) -> datetime:
    """When something is due next. ``bundled``: the current CA first."""
    ca, *older = bundled
    moments = [ca.not_after - settings.ca.renew_before]
    moments += (leaf_deadline(ca, leaf, settings) for leaf in leaves)
    if older:
        moments.append(ca.issued_at + settings.overlap)
        moments += (old.not_after for old in older)
    return min(moments)
