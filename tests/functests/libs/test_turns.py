"""Ordinary tests share the cluster, serial ones have it alone."""

import threading
from pathlib import Path

import pytest

from functests.libs import turns


@pytest.fixture(autouse=True)
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_two_share_and_one_alone_waits_for_both() -> None:
    alone = threading.Event()

    def serial() -> None:
        with turns.turn(alone=True):
            alone.set()

    with turns.turn(alone=False), turns.turn(alone=False):
        thread = threading.Thread(target=serial)
        thread.start()
        assert not alone.wait(0.1)
    assert alone.wait(5)
    thread.join(5)
