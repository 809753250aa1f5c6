"""Fixtures of the harness's unit tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from functests.libs import runs
from functests.libs.runs import Runs


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    """The runs of a cluster whose folder is ``tmp_path``; this process is of none, until a test begins one."""
    monkeypatch.setattr(runs, "_held", [])
    monkeypatch.setenv(runs.VARIABLE, "")           # set first, so that what a test sets is taken away again
    monkeypatch.delenv(runs.VARIABLE)
    yield Runs(tmp_path)
    for handle in runs._held:
        handle.close()
