"""A cluster whose state file was lost: what `up` finds out again, and what it leaves as it is."""

import io
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from cluster_up import state as states
from cluster_up.actions import cluster, registry
from cluster_up.actions.step import Run
from cluster_up.config.types import Config
from cluster_up.images import registry as images
from cluster_up.progress import Reporter
from cluster_up.providers.api import Existence, Provider


class Nodes:
    """A provider whose cluster is there."""

    network = "virt-a"

    def existence(self) -> Existence:
        return Existence.OURS


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    report = Reporter(Console(file=io.StringIO()))
    return Run(Config(name="a"), states.State(name="a"), cast("Provider", Nodes()), report)


def test_nodes_that_the_state_does_not_know_are_looked_at_again(run: Run) -> None:
    assert not cluster.STEP.is_done(run)


def test_a_registry_keeps_the_port_that_it_has(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr(images, "port_of", lambda name: 41234)
    monkeypatch.setattr(images, "start", lambda *words: started.append(words))
    monkeypatch.setattr(images, "is_ready", lambda port: True)
    registry.STEP.perform(run)
    assert run.state.registry_port == 41234
    assert started[0][2] == 41234
    written = states.read("a")
    assert written is not None
    assert written.registry_port == 41234
