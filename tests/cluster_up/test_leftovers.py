"""What is swept away, and what is left alone."""

from pathlib import Path

import pytest

from cluster_up import docker, engine, leftovers
from cluster_up.images import node, scratch


def test_only_builders_whose_process_is_gone_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(engine, "fault", lambda: None)
    removed: list[str] = []
    monkeypatch.setattr(docker, "run", lambda *words, **_: removed.append(words[-1]))
    with scratch.folder("node") as mine:
        there = ["dev-control-plane", "dev-worker", node.BUILD_PREFIX + mine.name, node.BUILD_PREFIX + "node-1-1"]
        monkeypatch.setattr(docker, "containers", lambda **_: there)
        leftovers.sweep()
    assert removed == [node.BUILD_PREFIX + "node-1-1"]
