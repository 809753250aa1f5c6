"""What counts as a whole image in the registries' store, and that a damaged one is pushed again."""

import hashlib
import json
from pathlib import Path

import pytest

from cluster_up import docker
from cluster_up.images import store

IMAGE = "thing:1"


def blob(data: bytes) -> Path:
    number = hashlib.sha256(data).hexdigest()
    file = store.root() / "docker/registry/v2/blobs/sha256" / number[:2] / number / "data"
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    return file


@pytest.fixture(autouse=True)
def layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with one image; its layer's file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    repository = store.root() / "docker/registry/v2/repositories/thing"
    parts = []
    for data in (b"{}", b"layer"):
        number = hashlib.sha256(data).hexdigest()
        link = repository / "_layers/sha256" / number / "link"
        link.parent.mkdir(parents=True)
        link.write_text(f"sha256:{number}")
        blob(data)
        parts.append({"digest": f"sha256:{number}", "size": len(data)})
    manifest = json.dumps({"config": parts[0], "layers": parts[1:]}).encode()
    blob(manifest)
    tag = repository / "_manifests/tags/1/current/link"
    tag.parent.mkdir(parents=True)
    tag.write_text(f"sha256:{hashlib.sha256(manifest).hexdigest()}")
    return next(file for file in store.root().rglob("data") if file.read_bytes() == b"layer")


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    calls: list[tuple[str, str]] = []
    monkeypatch.setattr(docker, "push", lambda image, reference: calls.append((image, reference)))
    return calls


def ensure() -> tuple[str, list[str]]:
    said: list[str] = []
    return store.ensure(IMAGE, "localhost:5000", lambda: "local:1", said.append), said


def test_what_is_there_is_neither_built_nor_pushed(pushed: list[tuple[str, str]]) -> None:
    assert store.faults(IMAGE) == []
    assert ensure() == ("localhost:5000/thing:1", [])
    assert pushed == []


def test_what_is_missing_is_pushed(pushed: list[tuple[str, str]]) -> None:
    assert store.faults("thing:2") != []
    store.ensure("thing:2", "localhost:5000", lambda: "local:2", lambda line: None)
    assert pushed == [("local:2", "localhost:5000/thing:2")]


def test_a_layer_of_another_length_is_removed_said_and_pushed_again(layer: Path, pushed: list[tuple[str, str]]) -> None:
    layer.write_bytes(b"lay")
    assert store.faults(IMAGE) == [layer]
    _, said = ensure()
    assert str(layer) in said[0]
    assert not layer.exists()
    assert len(pushed) == 1


def test_a_manifest_that_is_not_what_its_name_says_is_damaged() -> None:
    manifest = next(file for file in store.root().rglob("data") if b"config" in file.read_bytes())
    manifest.write_bytes(b"")
    assert store.faults(IMAGE) == [manifest]
