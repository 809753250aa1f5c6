"""Images that hold a guest's files and nothing else, readable by the user that QEMU runs as.

They are written here and loaded into the engine. An engine that builds puts the time of the build into each layer and
into the configuration; so the same files give the same image, whoever loads it.
"""

import hashlib
import json
import tarfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from cluster_up import docker
from cluster_up.images import scratch
from cluster_up.images.recipe import EPOCH

USER = 107                # QEMU's, in the launcher and in every disk container


def build(tag: str, files: Mapping[str, Path]) -> None:
    """The image ``tag`` on the engine, made now unless it is there.

    ``files`` maps a path in the image to the file that is put there.
    """
    if docker.has_image(tag):
        return
    with scratch.folder("guest-image") as place:
        write(place / "image.tar", tag, files)
        docker.load(place / "image.tar")


def write(archive: Path, tag: str, files: Mapping[str, Path]) -> str:
    """Write the image for `docker load`, one layer per file; returns its id, in which every byte of it counts.

    Layers lie beside ``archive`` meanwhile.
    """
    layers: list[Path] = []
    for number, (target, source) in enumerate(sorted(files.items())):
        layers.append(archive.with_name(f"layer-{number}.tar"))
        _write_layer(layers[-1], target, source)
    about = configuration([_sha256(layer) for layer in layers])
    identity = hashlib.sha256(about).hexdigest()
    manifest = [{"Config": f"{identity}.json", "RepoTags": [tag], "Layers": [layer.name for layer in layers]}]
    for name, data in ((f"{identity}.json", about), ("manifest.json", json.dumps(manifest).encode())):
        layers.append(archive.with_name(name))
        layers[-1].write_bytes(data)
    with tarfile.open(archive, "w") as out:
        for part in layers:
            out.add(part, part.name)
            part.unlink()
    return f"sha256:{identity}"


def configuration(layers: Sequence[str]) -> bytes:
    """The image's configuration: its layers by hash, a fixed time, and nothing of the engine or of the machine."""
    created = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about: dict[str, Any] = {
        "architecture": "amd64",
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "created": created,
        "history": [{"created": created} for _ in layers],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}" for layer in layers]},
    }
    return json.dumps(about, sort_keys=True).encode()


def _write_layer(layer: Path, target: str, source: Path) -> None:
    """A tar with the file and the folders above it; owner, mode and time are ours, not those of ``source``."""
    name = PurePosixPath(target.removeprefix("/"))
    with tarfile.open(layer, "w", format=tarfile.USTAR_FORMAT) as out:
        for above in list(name.parents)[-2::-1]:
            folder = _member(above, 0o755)
            folder.type = tarfile.DIRTYPE
            out.addfile(folder)
        file = _member(name, 0o644)
        file.size = source.stat().st_size
        with source.open("rb") as data:
            out.addfile(file, data)


def _member(name: PurePosixPath, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(str(name))
    member.mode, member.uid, member.gid, member.mtime = mode, USER, USER, EPOCH
    return member


def _sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
