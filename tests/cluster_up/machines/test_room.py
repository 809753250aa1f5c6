"""Memory for machines."""

import pytest

from cluster_up.machines import room
from cluster_up.machines.model import Machine

BOTH = (Machine("dev", 1), Machine("dev", 2))


def test_nothing_is_said_where_they_fit() -> None:
    assert room.lack(BOTH, 2 * room.needed_mib(4096)) == ""
    assert room.lack((), 0) == ""


def test_what_does_not_fit_is_named_with_the_way_out() -> None:
    said = room.lack(BOTH, 2 * room.needed_mib(4096) - 1)
    assert "dev-machine 4096Mi, dev-machine2 4096Mi" in said
    assert all(word in said for word in ("--machines", "VIRT_CLUSTER_MACHINE_MEMORY", "--force"))


def test_this_computers_memory_is_found() -> None:
    assert room.available_mib() > 0
    with pytest.raises(room.MeminfoError):
        room.available_mib("MemTotal: 4 kB\n")
