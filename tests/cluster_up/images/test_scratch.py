"""Folders of killed commands go, those of living ones stay."""

from pathlib import Path

import pytest

from cluster_up.images import scratch


def test_only_what_a_dead_process_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scratch.sweep()
    with scratch.folder("mine") as mine:
        dead = "4194305"                                  # above the kernel's highest process id
        left = [scratch.root() / f"{dead}-theirs-x", tmp_path / f"virt-harness-{dead}-theirs-x"]
        for folder in left:
            (folder / "deep").mkdir(parents=True)
        with scratch.public_folder("mine") as public:
            scratch.sweep()
            assert mine.is_dir()
            assert public.is_dir()
        assert not any(folder.exists() for folder in left)
