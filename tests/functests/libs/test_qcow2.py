"""Files that name other files are what the launcher refuses, and compressed ones are what QEMU reads."""

from pathlib import Path

import pytest

from functests.libs import qcow2
from virt.launcher.disks.image import Image, UnusableImage, inspect


def seen(path: Path, content: bytes) -> Image:
    path.write_bytes(content)
    with path.open("rb") as file:
        return inspect(file.fileno())


def test_heads_name_other_files(tmp_path: Path) -> None:
    with pytest.raises(UnusableImage, match="backing file"):
        seen(tmp_path / "a", qcow2.head(backing="/etc/passwd"))
    with pytest.raises(UnusableImage, match="data file"):
        seen(tmp_path / "a", qcow2.head(data_file=True))
    assert seen(tmp_path / "a", qcow2.head()) == Image("qcow2", 1 << 20)


@pytest.mark.runs_processes
def test_compressed_files_have_the_size_of_their_source(tmp_path: Path) -> None:
    assert seen(tmp_path / "a", qcow2.compressed(bytes(1 << 20))) == Image("qcow2", 1 << 20)
