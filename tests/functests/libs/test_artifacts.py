"""Collecting evidence where nothing answers."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from functests.libs import artifacts
from functests.libs.cluster import Cluster
from functests.libs.kube import Space

CLUSTER = Cluster("c", Path("/nowhere"), ("n",), (), {}, {}, {})


class Deaf:
    """A REST client whose server is gone."""

    def get(self, path: str) -> Any:
        raise ConnectionError(path)


class Here:
    """Nodes without any node."""

    def __init__(self, cluster: Cluster) -> None:
        pass

    def __iter__(self) -> Any:
        return iter(())


def test_what_cannot_be_had_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "ROOT", tmp_path)
    monkeypatch.setattr(artifacts, "Nodes", Here)
    rest: Any = Deaf()
    started = datetime.now(UTC)
    space = Space(rest, "ns")
    folder = artifacts.collect("a/b.py::test_c[x]", "boom", started, cluster=CLUSTER, rest=rest, space=space)
    assert (folder / "failure.txt").read_text() == "boom"
    assert "a/b.py::test_c[x]" in (folder / "rerun.txt").read_text()
    missing = (folder / "not-collected.txt").read_text()
    assert {"events.txt", "pods.json", "stack-pods.json", "stack-events.json", "component logs", "launcher pods"} <= {
        line.split(":")[0] for line in missing.splitlines()
    }


def test_without_an_engine_it_still_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(cluster: Cluster) -> None:
        raise OSError("no engine")

    monkeypatch.setattr(artifacts, "ROOT", tmp_path)
    monkeypatch.setattr(artifacts, "Nodes", broken)
    rest: Any = Deaf()
    folder = artifacts.collect("t", "boom", datetime.now(UTC), cluster=CLUSTER, rest=rest)
    assert "nodes: OSError: no engine" in (folder / "not-collected.txt").read_text()
    assert "component logs: " in (folder / "not-collected.txt").read_text(), "the API was not asked"
