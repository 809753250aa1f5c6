"""Folders of runs."""

import os
from pathlib import Path

import pytest

from functests.scheduling import folders


def test_folders_of_killed_runs_go_with_the_next_one_and_those_of_living_ones_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (alive, held), (killed, dying) = folders.new(), folders.new()
    (killed / "gw0.plan").write_text("[]")
    os.close(dying)
    mine, own = folders.new()
    assert sorted(folder for folder in mine.parent.iterdir() if folder.is_dir()) == sorted([alive, mine])
    os.close(held)
    os.close(own)
