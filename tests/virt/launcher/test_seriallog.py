"""The serial log gives its beginning back, and readers find their place."""

import os
import shutil
from pathlib import Path

import pytest

from virt.launcher import seriallog

pytestmark = [
    pytest.mark.runs_processes,
    pytest.mark.skipif(shutil.which("fallocate") is None, reason="no fallocate (util-linux)"),
]


async def test_a_log_that_is_too_long_keeps_its_end_and_its_offsets(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(os.urandom(seriallog.MOST_BYTES + (1 << 20)))
    with path.open("ab") as guest:
        await seriallog.shorten(path)
        guest.write(b"the last line")
    status = path.stat()
    assert status.st_size == seriallog.MOST_BYTES + (1 << 20) + 13
    assert status.st_blocks * 512 <= seriallog.KEPT_BYTES + (64 << 10)
    assert path.read_bytes().endswith(b"the last line")


async def test_a_short_log_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 4096)
    await seriallog.shorten(path)
    assert path.read_bytes() == b"x" * 4096
