"""Which namespace a pod is wired in; the wiring itself is in test_network."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from virt.handler.net import network
from virt.handler.net.network import PodNetworks


async def test_a_number_that_is_given_out_anew_leads_into_no_other_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps: the launcher ends while its pod is wired, and the descriptor's number becomes another pod's namespace."""
    mine, other = (os.open(tmp_path / name, os.O_CREAT | os.O_RDONLY) for name in ("mine", "other"))
    wanted, entered = os.fstat(mine).st_ino, []

    async def inside(fd: int, _: Callable[[], Any]) -> tuple[()]:
        entered.append(os.fstat(fd).st_ino)
        os.dup2(other, mine)
        return ()

    monkeypatch.setattr(network, "inside", inside)
    try:
        await PodNetworks(tmp_path / "memory").wire("uid", mine, (), "vm")
        assert entered == [wanted, wanted]
    finally:
        os.close(mine)
        os.close(other)
