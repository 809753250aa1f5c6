"""Container disk images that a test makes itself and pushes to the cluster's registry; no engine takes part.

An image has one layer, and its tag is the hash of it: the same image is pushed once.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import urllib3
from pycdlib import PyCdlib

from functests.libs.cluster import Cluster

USER = 107
_OCI = "application/vnd.oci.image"
_MANIFEST = f"{_OCI}.manifest.v1+json"
_MANIFESTS = f"{_MANIFEST}, application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True)
class Folder:
    """An empty folder."""


@dataclass(frozen=True)
class Pipe:
    """A named pipe."""


Entry = bytes | Link | Folder | Pipe


def push(cluster: Cluster, entries: Mapping[str, Entry], *, tag: str = "") -> str:
    """The reference of an image with these ``entries`` (path without leading "/" -> what is there). ``tag``: moved to
    this image, whatever it was before."""
    layer = _layer(entries)
    digest = hashlib.sha256(layer).hexdigest()
    host = cluster.image("tiny").partition("/")[0]
    is_moved = bool(tag)
    repository, tag = "functest-disk", tag or digest[:16]
    name = f"{repository}:{tag}"
    url = f"http://{host}/v2/{repository}"
    if not is_moved and _exists(f"{url}/manifests/{tag}", {"Accept": _MANIFEST}):
        return f"{host}/{name}"
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }).encode()  # fmt: skip
    manifest = {
        "schemaVersion": 2, "mediaType": _MANIFEST,
        "config": _blob(url, config, f"{_OCI}.config.v1+json"),
        "layers": [_blob(url, layer, f"{_OCI}.layer.v1.tar")],
    }
    put = urllib3.request("PUT", f"{url}/manifests/{tag}", body=json.dumps(manifest).encode(),
                          headers={"Content-Type": _MANIFEST}, timeout=30)  # fmt: skip
    assert put.status == 201, put.data
    return f"{host}/{name}"


def iso(name: str, content: bytes) -> bytes:
    """An ISO 9660 file system with one file."""
    image = PyCdlib()
    image.new(vol_ident="functest", rock_ridge="1.09")
    image.add_fp(io.BytesIO(content), len(content), "/FILE.;1", rr_name=name)
    written = io.BytesIO()
    image.write_fp(written)
    image.close()
    return written.getvalue()


def content(cluster: Cluster, image: str, path: str) -> bytes:
    """The file at ``path`` (without leading "/") of the guest image ``image``."""
    host, _, name = cluster.image(image).partition("/")
    repository, _, tag = name.rpartition(":")
    url = f"http://{host}/v2/{repository}"
    manifest = urllib3.request("GET", f"{url}/manifests/{tag}", headers={"Accept": _MANIFESTS}, timeout=10)
    assert manifest.status == 200, manifest.data
    for layer in manifest.json()["layers"]:
        data = urllib3.request("GET", f"{url}/blobs/{layer['digest']}", timeout=60).data
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            if path in archive.getnames() and (file := archive.extractfile(path)) is not None:
                return file.read()
    raise AssertionError(f"{cluster.image(image)} has no {path}")


def _layer(entries: Mapping[str, Entry]) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in sorted(entries.items()):
            head = tarfile.TarInfo(path)
            head.uid = head.gid = USER
            data = b""
            match entry:
                case Link(target=target):
                    head.type, head.linkname, head.mode = tarfile.SYMTYPE, target, 0o777
                case Folder():
                    head.type, head.mode = tarfile.DIRTYPE, 0o755
                case Pipe():
                    head.type, head.mode = tarfile.FIFOTYPE, 0o644
                case _:
                    data, head.mode = entry, 0o440
                    head.size = len(data)
            archive.addfile(head, io.BytesIO(data))
    return written.getvalue()


def _exists(url: str, headers: Mapping[str, str] | None = None) -> bool:
    return urllib3.request("HEAD", url, headers=headers, timeout=10).status == 200


def _blob(url: str, data: bytes, media_type: str) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if not _exists(f"{url}/blobs/{digest}"):
        begun = urllib3.request("POST", f"{url}/blobs/uploads/", timeout=10)
        assert begun.status == 202, begun.data
        place = urljoin(f"{url}/", begun.headers["Location"])
        place += ("&" if "?" in place else "?") + f"digest={digest}"
        put = urllib3.request("PUT", place, body=data, headers={"Content-Type": "application/octet-stream"}, timeout=60)
        assert put.status == 201, put.data
    return {"mediaType": media_type, "digest": digest, "size": len(data)}
