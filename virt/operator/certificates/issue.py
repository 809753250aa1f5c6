"""Certificates made and read: ECDSA P-256, PEM."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from virt.api import names
from virt.operator.certificates import plan
from virt.operator.certificates.plan import BACKDATE, Held
from virt.operator.strategy.certificates import DURATION, KeyPair

CA_NAME = "kubevirt.io"


@dataclass(frozen=True)
class Authority:
    """A CA's certificate, and its key for the current one."""

    certificate: x509.Certificate
    held: Held

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()


@dataclass(frozen=True)
class Subject:
    common_name: str
    dns_names: tuple[str, ...]


def subject(secret: str, namespace: str) -> Subject:
    """Who the certificate in ``secret`` is for."""
    clients = {
        names.HANDLER_CERTS: names.HANDLER_NAME,
        names.HANDLER_CLIENT_CERTS: names.HANDLER_CLIENT_NAME,
        names.MIGRATION_CERTS: names.MIGRATION_CLIENT_NAME,
    }
    services = {
        plan.OPERATOR_CERTS: names.OPERATOR_SERVICE, names.API_CERTS: names.API_SERVICE,
        plan.CONTROLLER_CERTS: "virt-controller",
    }
    service = services.get(secret, names.HANDLER)
    full = f"{service}.{namespace}.pod.cluster.local"
    whole = (full, service, *(f"{service}.{namespace}{end}" for end in ("", ".svc", ".svc.cluster.local")))
    return Subject(clients.get(secret, full), whole)


def new_ca(duration: str, whole: Any, now: datetime) -> KeyPair:
    """``whole``: the duration as a timedelta."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(CA_NAME)
    usage = _usage(signs_certificates=True)
    certificate = (
        _builder(name, name, key.public_key(), now, whole)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key, duration)


def new_leaf(ca: KeyPair, of: Subject, duration: str, whole: Any, now: datetime) -> KeyPair:
    """A certificate for servers and clients, signed by ``ca``."""
    signer = x509.load_pem_x509_certificate(ca.certificate.encode())
    signing_key = serialization.load_pem_private_key(ca.key.encode(), None)
    assert isinstance(signing_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    certificate = (
        _builder(_name(of.common_name), signer.subject, key.public_key(), now, whole)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(both, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in of.dns_names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_authority_key_id(signer), critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    return _pair(certificate, key, duration)


def pair_in(secret: Mapping[str, Any] | None) -> KeyPair | None:
    """The key pair of a Secret (plain JSON); None when it is missing, empty or does not fit together."""
    if secret is None:
        return None
    data = secret.get("data") or {}
    try:
        certificate, key = (base64.b64decode(data.get(name, "")).decode() for name in ("tls.crt", "tls.key"))
        loaded = serialization.load_pem_private_key(key.encode(), None)
        fits = x509.load_pem_x509_certificate(certificate.encode()).public_key() == loaded.public_key()
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        return None
    duration = (secret["metadata"].get("annotations") or {}).get(DURATION, "")
    return KeyPair(certificate, key, duration) if fits else None


def authorities(bundle: str) -> tuple[Authority, ...]:
    """The CAs in a PEM text, in order; none when it cannot be read."""
    try:
        found = x509.load_pem_x509_certificates(bundle.encode())
    except ValueError:
        return ()
    return tuple(Authority(certificate, _held(certificate, "", "")) for certificate in found)


def authority(pair: KeyPair) -> Authority:
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    return Authority(certificate, _held(certificate, pair.duration, ""))


def held(pair: KeyPair, trusted: Sequence[Authority]) -> Held:
    """What the plan needs to know of a certificate that may be signed by one of ``trusted``."""
    certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
    signer = next((ca.held.key_id for ca in trusted if _is_signed(certificate, ca.certificate)), "")
    return _held(certificate, pair.duration, signer)


def _is_signed(certificate: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _held(certificate: x509.Certificate, duration: str, signer: str) -> Held:
    key = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return Held(
        key.digest.hex(), certificate.not_valid_before_utc, certificate.not_valid_after_utc, duration, signer
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, whole: Any
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(issuer).public_key(key).serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE).not_valid_after(now + whole)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )


def _authority_key_id(signer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey, duration: str) -> KeyPair:
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
        duration,
    )
