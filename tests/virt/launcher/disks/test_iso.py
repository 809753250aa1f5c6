"""Images of the launcher's own making."""

import time

import pytest

from virt.launcher.disks import iso

CONTENTS = {"meta-data": b"x", "openstack/latest/user_data": b"y" * 5000}


def test_the_same_contents_make_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever they are made: a guest that moves goes on reading."""
    first = iso.image(CONTENTS, "cidata")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 86_400)
    assert iso.image(CONTENTS, "cidata") == first
    assert iso.image(CONTENTS, "config-2") != first
