"""The store behind all clusters' registries, read as files: finds images that are missing or damaged.

A registry answers for a layer by its name alone and never looks at its length, and a push sends no layer whose name is
there. So a store that a full disk or a power cut damaged would be served for ever, and refused by every node.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cluster_up import docker, paths
from cluster_up.exec import Log

_ALGORITHM = "sha256:"


def root() -> Path:
    """Folder of the layers and manifests; a registry's storage."""
    return paths.cache_root() / "registry"


def ensure(image: str, registry: str, build: Callable[[], str], log: Log) -> str:
    """The reference of ``image`` (``name:tag``) in the registry on ``registry`` (host:port), pushed now if need be.

    ``build`` gives the engine's name of the image, and is called only when it has to be pushed.
    """
    reference = f"{registry}/{image}"
    lacking = faults(image)
    if lacking:
        for blob in lacking:
            if blob.exists():
                log(f"the cache is damaged: {blob}; made again")
                shutil.rmtree(blob.parent)
        local = build()
        log(f"pushing {reference}")
        docker.push(local, reference)
    return reference


def faults(image: str) -> list[Path]:
    """Files without which ``image`` cannot be served: missing, or of another length than its manifest says."""
    name, _, tag = image.partition(":")
    repository = _v2() / "repositories" / name
    link = repository / "_manifests" / "tags" / tag / "current" / "link"
    if not link.exists():
        return [link]
    found = link.read_text().strip()
    manifest = _blob(found)
    data = manifest.read_bytes() if manifest.exists() else b""
    if _ALGORITHM + hashlib.sha256(data).hexdigest() != found:
        return [manifest]
    return [blob for digest, size in _parts(json.loads(data)) if (blob := _fault(repository, digest, size))]


def _parts(manifest: dict[str, Any]) -> list[tuple[str, int]]:
    """Digest and size of configuration and layers. A list of manifests, which we never push, counts as empty."""
    parts = [manifest["config"], *manifest["layers"]] if "config" in manifest else []
    return [(part["digest"], part["size"]) for part in parts]


def _fault(repository: Path, digest: str, size: int) -> Path | None:
    blob = _blob(digest)
    if not blob.exists() or blob.stat().st_size != size:
        return blob
    link = repository / "_layers" / "sha256" / digest.removeprefix(_ALGORITHM) / "link"
    return None if link.exists() else link


def _blob(digest: str) -> Path:
    number = digest.removeprefix(_ALGORITHM)
    return _v2() / "blobs" / "sha256" / number[:2] / number / "data"


def _v2() -> Path:
    return root() / "docker" / "registry" / "v2"
