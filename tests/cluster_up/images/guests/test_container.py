"""A guest's container image: what it says of its files, and that time, machine and engine have no part in it."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from cluster_up import docker
from cluster_up.images.guests import container
from cluster_up.images.recipe import EPOCH

TARGETS = {"/boot/initrd": b"initrd" * 1000, "/boot/vmlinux": b"kernel"}


def sources(folder: Path, *, age_s: int, mode: int) -> dict[str, Path]:
    """The files of ``TARGETS``, made so long ago and with that mode."""
    folder.mkdir()
    made: dict[str, Path] = {}
    for number, (target, data) in enumerate(TARGETS.items()):
        path = folder / f"{number}-{age_s}"
        path.write_bytes(data)
        path.chmod(mode)
        os.utime(path, (EPOCH - age_s, EPOCH - age_s))
        made[target] = path
    return made


def image(archive: Path) -> tuple[dict[str, object], list[bytes]]:
    """Configuration and layers, by way of the manifest as an engine reads it."""
    with tarfile.open(archive) as parts:
        def read(name: str) -> bytes:
            part = parts.extractfile(name)
            assert part is not None
            return part.read()

        manifest = json.loads(read("manifest.json"))
        assert len(manifest) == 1
        return json.loads(read(manifest[0]["Config"])), [read(layer) for layer in manifest[0]["Layers"]]


def test_files_belong_to_the_user_that_qemu_runs_as_and_say_a_fixed_time(tmp_path: Path) -> None:
    container.write(tmp_path / "image.tar", "thing:1", sources(tmp_path / "a", age_s=5, mode=0o600))
    _, layers = image(tmp_path / "image.tar")
    found = []
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as members:
            for each in members:
                found.append((each.name, each.isdir(), each.mode, each.uid, each.gid, each.mtime, each.uname))
                if each.isfile():
                    data = members.extractfile(each)
                    assert data is not None
                    assert data.read() == TARGETS[f"/{each.name}"]
    folder = ("boot", True, 0o755, 107, 107, EPOCH, "")
    assert found == [
        folder, ("boot/initrd", False, 0o644, 107, 107, EPOCH, ""),
        folder, ("boot/vmlinux", False, 0o644, 107, 107, EPOCH, ""),
    ]  # fmt: skip


def test_the_configuration_names_the_layers_by_hash_and_the_id_is_its_own_hash(tmp_path: Path) -> None:
    identity = container.write(tmp_path / "image.tar", "thing:1", sources(tmp_path / "a", age_s=5, mode=0o644))
    about, layers = image(tmp_path / "image.tar")
    hashes = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    assert about["rootfs"] == {"type": "layers", "diff_ids": hashes}
    assert about["created"] == "2026-01-01T00:00:00Z"
    with tarfile.open(tmp_path / "image.tar") as parts:
        assert f"{identity.removeprefix('sha256:')}.json" in parts.getnames()
    assert identity == "sha256:" + hashlib.sha256(
        container.configuration([each.removeprefix("sha256:") for each in hashes])
    ).hexdigest()  # fmt: skip


def test_age_mode_and_place_of_the_files_do_not_change_the_image_but_a_byte_does(tmp_path: Path) -> None:
    first = container.write(tmp_path / "1.tar", "a:1", sources(tmp_path / "a", age_s=5, mode=0o600))
    files = sources(tmp_path / "b", age_s=5000, mode=0o755)
    assert container.write(tmp_path / "2.tar", "b:1", files) == first
    files["/boot/vmlinux"].write_bytes(b"Kernel")
    assert container.write(tmp_path / "3.tar", "b:1", files) != first


def test_the_engine_gets_the_archive_and_no_part_of_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    loaded: list[tuple[str, list[str]]] = []

    def load(archive: Path) -> None:
        with tarfile.open(archive) as parts:
            tags = json.loads((parts.extractfile("manifest.json") or io.BytesIO()).read())[0]["RepoTags"]
        loaded.append((archive.name, tags))

    monkeypatch.setattr(docker, "has_image", lambda tag: False)
    monkeypatch.setattr(docker, "load", load)
    container.build("thing:1", sources(tmp_path / "a", age_s=5, mode=0o644))
    assert loaded == [("image.tar", ["thing:1"])]
    assert [path for path in (tmp_path / "virt-harness").rglob("*") if path.is_file()] == []
