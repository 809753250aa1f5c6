"""Secrets with certificates, and ConfigMaps with the bundles that peers trust."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from virt.api import names
from virt.operator.resources import Json

EXTERNAL_CA_CONFIG_MAP = "kubevirt-external-ca"
DURATION = "kubevirt.io/duration"


@dataclass(frozen=True)
class KeyPair:
    """PEM texts. ``duration``: how long it was issued for, as in the configuration ("24h")."""

    certificate: str
    key: str
    duration: str


@dataclass(frozen=True)
class Material:
    """``pairs`` by the name of their secret, the CA's among them; ``bundle``: PEM of all trusted CAs, newest first."""

    pairs: Mapping[str, KeyPair]
    bundle: str


def documents(namespace: str, material: Material) -> tuple[Json, ...]:
    return (
        *(_secret(namespace, name, pair) for name, pair in material.pairs.items()),
        _config_map(namespace, names.CA_CONFIG_MAP, {names.CA_KEY: material.bundle}),
        # Administrators put CAs of other clusters there, so its content is theirs.
        _config_map(namespace, EXTERNAL_CA_CONFIG_MAP, {}),
    )


def _secret(namespace: str, name: str, pair: KeyPair) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "annotations": {DURATION: pair.duration}},
        "type": "kubernetes.io/tls",
        "data": {
            "tls.crt": base64.b64encode(pair.certificate.encode()).decode(),
            "tls.key": base64.b64encode(pair.key.encode()).decode(),
        },
    }


def _config_map(namespace: str, name: str, data: dict[str, str]) -> Json:
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
    } | ({"data": data} if data else {})
