"""The registry takes no port and no name that is somebody else's."""

import socket
from typing import Any

import pytest

from cluster_up import docker
from cluster_up.errors import ForeignCluster, StepFailed
from cluster_up.images import registry
from cluster_up.providers.kind import registry_host


class Engine:
    """Answers for containers and networks by name, and notes what is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.there: dict[str, dict[str, Any]] = {}
        self.ran: list[str] = []
        monkeypatch.setattr(docker, "inspect", lambda kind, name: self.there.get(name))
        monkeypatch.setattr(docker, "run", lambda *words, **_: self.ran.append(str(words[0])))
        monkeypatch.setattr(registry, "image", lambda log: "virt-registry:1")

    def start(self, port: int) -> None:
        registry.start("t", "virt-t", port, lambda line: None)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(monkeypatch)


def ours(kind: str) -> dict[str, Any]:
    labels = {docker.LABEL: "t"}
    return {"Labels": labels} if kind == "network" else {"Config": {"Labels": labels}}


def test_a_port_that_is_taken_is_named_and_nothing_is_started(engine: Engine) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert not registry.is_free(port)
        with pytest.raises(StepFailed, match=f"port {port} of 127.0.0.1"):
            engine.start(port)
    assert engine.ran == ["network"]


def test_what_is_ours_is_made_anew(engine: Engine) -> None:
    engine.there = {"virt-t": ours("network"), registry_host("t"): ours("container")}
    engine.start(registry.free_port())
    assert engine.ran == ["rm", "run"]


@pytest.mark.parametrize("name", ["virt-t", registry_host("t")])
def test_what_somebody_else_made_is_neither_used_nor_removed(engine: Engine, name: str) -> None:
    engine.there = {"virt-t": ours("network"), registry_host("t"): ours("container")} | {name: {"Labels": {}}}
    with pytest.raises(ForeignCluster, match=name):
        engine.start(registry.free_port())
    registry.remove("t", "virt-t")
    assert len(engine.ran) == 1, "the other one, which is ours, is removed"
