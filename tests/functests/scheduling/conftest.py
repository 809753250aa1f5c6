"""Runs of pytest inside of a test (their workers are processes of their own), with the scheduling plugin and nothing else of the functional tests."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
CONFTEST = """
import contextlib, os, time
from pathlib import Path
import pytest
pytest_plugins = ["functests.scheduling.plugin"]
STORY = Path(__file__).parent / "story"

@pytest.fixture
def told(request):
    with STORY.open("a") as story:
        story.write(f"begin {request.node.name} {time.time()}\\n")
    yield
    with STORY.open("a") as story:
        story.write(f"end {request.node.name} {time.time()}\\n")
"""
INI = """
[pytest]
asyncio_default_fixture_loop_scope = function
markers =
  case(id): x
  demand(): x
  needs(): x
  serial: x
  disruptive: x
"""


@dataclass
class Inner:
    """A small project with tests of its own under functests/."""

    pytester: pytest.Pytester

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.pytester.path / "functests" / f"test_{name}.py").write_text(text)

    def run(self, *arguments: str) -> pytest.RunResult:
        return self.pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)

    def account(self) -> dict[str, Any]:
        return dict(json.loads((self.pytester.path / "artifacts" / "schedule.json").read_text()))

    def spans(self) -> dict[str, tuple[float, float]]:
        """Begin and end of each test that uses ``told``."""
        seen: dict[str, dict[str, float]] = {}
        for line in (self.pytester.path / "story").read_text().splitlines():
            kind, name, at = line.rsplit(" ", 2)
            assert kind not in seen.setdefault(name, {}), f"{line}: twice"
            seen[name][kind] = float(at)
        return {name: (span["begin"], span["end"]) for name, span in seen.items()}


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Inner:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_TESTRUNUID", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    (pytester.path / "functests").mkdir()
    (pytester.path / "conftest.py").write_text(CONFTEST)
    (pytester.path / "pytest.ini").write_text(INI)
    return Inner(pytester)
