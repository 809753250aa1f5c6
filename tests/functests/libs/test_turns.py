"""Ordinary tests share the cluster, serial ones have it alone."""

import fcntl
import threading
from pathlib import Path

import pytest

from cluster_up.config.types import Config
from functests.libs import turns
from tests.waits import HANG_S


@pytest.fixture(autouse=True)
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def test_runs_that_name_the_cluster_and_runs_that_do_not_take_turns_at_the_same(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIRT_CLUSTER_NAME", raising=False)
    plain = turns._file("lock")
    monkeypatch.setenv("VIRT_CLUSTER_NAME", Config().name)
    assert turns._file("lock") == plain
    monkeypatch.setenv("VIRT_CLUSTER_NAME", "other")
    assert turns._file("lock") != plain


def test_two_share_and_one_alone_waits_for_both() -> None:
    alone = threading.Event()

    def serial() -> None:
        with turns.turn(alone=True):
            alone.set()

    with turns.turn(alone=False), turns.turn(alone=False):
        thread = threading.Thread(target=serial)
        thread.start()
        assert not alone.wait(0.1)
    assert alone.wait(HANG_S)
    thread.join(HANG_S)


def test_who_comes_after_the_one_alone_waits_behind_it() -> None:
    order: list[str] = []
    held, waits = threading.Event(), threading.Event()

    def turn(name: str, *, alone: bool) -> None:
        waits.set()
        with turns.turn(alone=alone):
            order.append(name)

    def first() -> None:
        with turns.turn(alone=False):
            held.set()
            release.wait(HANG_S)

    release = threading.Event()
    threads = [threading.Thread(target=first)]
    threads[0].start()
    assert held.wait(HANG_S)
    for name, alone in (("serial", True), ("late", False)):
        waits.clear()
        threads.append(threading.Thread(target=turn, args=(name,), kwargs={"alone": alone}))
        threads[-1].start()
        assert waits.wait(HANG_S)
        while not _is_shut("gate"):     # who comes first has reached it; the other stands behind, or comes later still
            threads[-1].join(0.01)
    assert order == []
    release.set()
    for thread in threads:
        thread.join(HANG_S)
    assert order == ["serial", "late"]


def _is_shut(what: str) -> bool:
    with turns._file(what).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
