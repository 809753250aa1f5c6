"""The certificates with which handlers are dialled."""

import os
import ssl
from pathlib import Path

import pytest

from tests.fakes.authority import Authority
from virt.api import names
from virt.apiserver.tls import HandlerDoor


def test_files_that_cannot_be_read_are_an_error_until_they_can(tmp_path: Path) -> None:
    """Steps: load; break the key; ask twice; mend the key within the same tick of the file system's clock."""
    authority, bundle = Authority("ca"), tmp_path / "ca-bundle"
    bundle.write_text(authority.pem)
    folder = authority.issue(tmp_path / "client", names.HANDLER_CLIENT_NAME)
    door = HandlerDoor(folder, bundle)
    first = door.context()
    assert door.context() is first
    key = folder / "tls.key"
    good = key.read_text()
    key.write_text("no key")
    changed = key.stat().st_mtime_ns
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            door.context()
    key.write_text(good)
    os.utime(key, ns=(changed, changed))
    assert door.context() is not first
