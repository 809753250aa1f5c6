"""Who asks: kube-apiserver's aggregation layer has authenticated the caller and says who it is in headers.

The headers are believed only on connections that showed the front proxy's certificate (``virt.apiserver.tls``).
https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import msgspec
from multidict import CIMultiDict, CIMultiDictProxy

from virt.api import core

NAMESPACE: Final = "kube-system"
CONFIG_MAP: Final = "extension-apiserver-authentication"

Headers = CIMultiDict[str] | CIMultiDictProxy[str]


@dataclass(frozen=True)
class FrontProxy:
    """How the front proxy shows itself. Without ``ca`` nobody is believed; no ``allowed_names`` means any name."""

    ca: str = ""
    allowed_names: frozenset[str] = frozenset()
    username_headers: tuple[str, ...] = ("X-Remote-User",)
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefixes: tuple[str, ...] = ("X-Remote-Extra-",)


@dataclass(frozen=True)
class Identity:
    user: str
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def front_proxy(config: core.ConfigMap | None) -> FrontProxy:
    """The settings in kube-system's ConfigMap, which kube-apiserver keeps up to date."""
    if config is None:
        return FrontProxy()
    data, normal = config.data, FrontProxy()
    return FrontProxy(
        ca=data.get("requestheader-client-ca-file", ""),
        allowed_names=frozenset(_names(data, "requestheader-allowed-names")),
        username_headers=_names(data, "requestheader-username-headers") or normal.username_headers,
        group_headers=_names(data, "requestheader-group-headers") or normal.group_headers,
        extra_prefixes=_names(data, "requestheader-extra-headers-prefix") or normal.extra_prefixes,
    )


def identity(headers: Headers, proxy: FrontProxy) -> Identity | None:
    """The caller named by the headers; None when they name none."""
    user = next((value for name in proxy.username_headers for value in headers.getall(name, []) if value), "")
    if not user:
        return None
    groups = tuple(value for name in proxy.group_headers for value in headers.getall(name, []))
    extra: dict[str, tuple[str, ...]] = {}
    for name, value in headers.items():
        for prefix in proxy.extra_prefixes:
            if name.lower().startswith(prefix.lower()):
                key = unquote(name[len(prefix):].lower())
                extra[key] = (*extra.get(key, ()), value)
    return Identity(user, groups, extra)


def _names(data: Mapping[str, str], key: str) -> tuple[str, ...]:
    """A JSON list of texts; what is none counts as empty."""
    try:
        return msgspec.json.decode(data.get(key, "[]"), type=tuple[str, ...])
    except msgspec.DecodeError:
        return ()
