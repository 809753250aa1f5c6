"""How Debian's packages are fetched."""

import os

import pytest

from cluster_up.images import debian


@pytest.mark.parametrize(("user", "program"), [(0, "unshare"), (1000, "mmdebstrap")])
def test_what_root_mounts_for_a_root_ends_with_the_program(
    monkeypatch: pytest.MonkeyPatch, user: int, program: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert (debian.mmdebstrap()[0], debian.mmdebstrap()[-1]) == (program, "mmdebstrap")
