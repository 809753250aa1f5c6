"""Files of a disk container, from a server in place of its helper."""

import contextlib
import json
import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from virt.api import names
from virt.launcher.disks.container import ContainerFiles
from virt.launcher.disks.errors import DiskError

TRIES = 3


class Helper:
    """Offers ``files`` by role to each of :data:`TRIES` who dial, and then waits until they hang up."""

    def __init__(self, path: Path, files: Mapping[str, Path]) -> None:
        self._files = files
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        with self._listener:
            for _ in range(TRIES):
                client, _ = self._listener.accept()
                with client:
                    fds = [os.open(file, os.O_RDONLY) for file in self._files.values()]
                    lines = [json.dumps({"role": role, "path": str(file)}) for role, file in self._files.items()]
                    socket.send_fds(client, ["\n".join(lines).encode()], fds)
                    client.shutdown(socket.SHUT_WR)
                    for fd in fds:
                        os.close(fd)
                    client.recv(1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(names, "container_disk_socket", lambda _: str(tmp_path / "disk.sock"))
    return tmp_path


def kept(folder: Path) -> list[str]:
    """Files of the folder that this process has open; the rest of it opens and closes others meanwhile."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))  # noqa: PTH115
    return [path for path in found if path.startswith(f"{folder}/")]


async def test_a_file_that_cannot_be_used_costs_no_descriptors_however_often_it_is_tried(folder: Path) -> None:
    (folder / "kernel").write_bytes(bytes(512))
    (folder / "initrd").write_bytes(b"LUKS\xba\xbe" + bytes(512))
    helper = Helper(folder / "disk.sock", {role: folder / role for role in ("kernel", "initrd")})
    files = ContainerFiles(folder / "links")
    for _ in range(TRIES):
        with pytest.raises(DiskError, match=r"volume boot: .*/initrd: unsupported image format: luks"):
            await files.files("boot")
    helper.thread.join()
    assert kept(folder) == []
