import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from tests.waits import until
from virt.launcher import daemon
from virt.launcher.daemon import Daemon, Paths, files
from virt.launcher.libvirt_conn import HypervisorLost
from virt.launcher.libvirt_conn.real import Libvirt


def test_claims_count_as_shared_whatever_their_file_system_is() -> None:
    paths = Paths(run=Path("/r"), config=Path("/c"), cache=Path("/c"), claims=Path("/claims"))
    found = files(paths, "pod-uid")
    assert 'shared_filesystems = ["/claims"]\n' in found[Path("/c/libvirt/qemu.conf")]
    assert 'host_uuid = "pod-uid"\n' in found[Path("/c/libvirt/libvirtd.conf")]


class Connection:
    """In place of Libvirt: has lost its daemon (``pid`` tells which one runs), and cannot connect to that one again."""

    def __init__(self, pid: Callable[[], int], *, ends: bool) -> None:
        self._pid = pid
        self._first = pid()
        self._ends = ends
        self.lost = asyncio.Event()
        self.lost.set()

    async def connect(self) -> None:
        if self._pid() == self._first:
            if not self._ends:
                await asyncio.Event().wait()
            os.kill(self._first, signal.SIGKILL)
            raise HypervisorLost("nobody serves there")
        self.lost.clear()


@pytest.mark.parametrize("ends", [False, True], ids=["hangs", "ends"])
async def test_a_guest_outlives_a_daemon_that_cannot_be_connected_to_again(
    ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "libvirtd"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if not ends:
        monkeypatch.setattr(daemon, "_START_S", 0.5)
    of_guest = Daemon(Paths(run=tmp_path / "run" / "libvirt", config=tmp_path, cache=tmp_path))
    await of_guest._start()

    def pid() -> int:
        assert of_guest._running is not None
        return of_guest._running.process.pid

    connection = Connection(pid, ends=ends)
    supervising = asyncio.create_task(of_guest.supervise(cast("Libvirt", connection)))
    try:
        await until(lambda: supervising.done() or not connection.lost.is_set())
        assert not supervising.done(), supervising.exception()
    finally:
        supervising.cancel()
        await of_guest.stop()
