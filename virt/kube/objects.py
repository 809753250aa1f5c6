"""What every object has, whether it is a typed struct or plain JSON: its metadata and its key."""

from typing import Any

import msgspec

from virt.api.core.meta import ObjectMeta


def meta_of(obj: Any) -> ObjectMeta:
    """Metadata of a struct or of a dict. A dict without metadata has an empty one."""
    if isinstance(obj, dict):
        return msgspec.convert(obj.get("metadata", {}), ObjectMeta)
    meta: ObjectMeta = obj.metadata
    return meta


def key_for(namespace: str, name: str) -> str:
    """``namespace/name``, or the name alone for what is cluster-scoped."""
    return f"{namespace}/{name}" if namespace else name


def key_of(obj: Any) -> str:
    meta = meta_of(obj)
    return key_for(meta.namespace, meta.name)


def version_of(obj: Any) -> int:
    """The resource version as a number (0: none). Kubernetes promises that versions of one kind compare as numbers
    (KEP-5504); etcd has always made them so."""
    return version_number(meta_of(obj).resource_version)


def version_number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
