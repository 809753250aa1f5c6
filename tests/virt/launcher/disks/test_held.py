"""Folders of hot-plugged claims that a launcher was given."""

import os
from pathlib import Path

import pytest

from virt.launcher.disks.errors import DiskError
from virt.launcher.disks.held import HeldClaims


def folder(path: Path, content: str = "") -> int:
    path.mkdir()
    (path / "disk.img").write_text(content)
    return os.open(path, os.O_PATH | os.O_DIRECTORY)


def test_a_folder_is_reached_through_its_link_until_it_is_released(tmp_path: Path) -> None:
    held = HeldClaims(tmp_path / "links")
    fd = folder(tmp_path / "claim", "theirs")
    held.take(("data",), (fd,))
    os.close(fd)
    assert list(held.names) == ["data"]
    assert (tmp_path / "links" / "data" / "disk.img").read_text() == "theirs"
    (tmp_path / "claim").rename(tmp_path / "elsewhere")                     # no path is remembered
    assert (tmp_path / "links" / "data" / "disk.img").read_text() == "theirs"
    kept = (tmp_path / "links" / "data").readlink()
    held.release("data")
    assert list(held.names) == []
    assert not (tmp_path / "links" / "data").is_symlink()
    assert not kept.exists()
    held.release("data")


def test_what_is_held_stays_when_it_comes_again(tmp_path: Path) -> None:
    held = HeldClaims(tmp_path / "links")
    first, second = folder(tmp_path / "first", "1"), folder(tmp_path / "second", "2")
    for fd in (first, second):
        held.take(("data",), (fd,))
        os.close(fd)
    assert (tmp_path / "links" / "data" / "disk.img").read_text() == "1"
    held.release("data")


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    held = HeldClaims(tmp_path / "links")
    with pytest.raises(DiskError, match=r"data: .*no folder"):
        held.take(("data",), (0,))
    with pytest.raises(DiskError, match="0 folders came for 1 volumes: data"):
        held.take(("data",), ())
    assert held.names == ()
