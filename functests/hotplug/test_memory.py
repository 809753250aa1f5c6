"""A running guest gets more memory, and what is refused."""

import pytest

from functests.libs import build, growth, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.guest import boot_id
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.witness import Witness
from virt.api import quantity
from virt.api.quantity import MIB


def _guest(memory: str) -> dict[str, object]:
    return {"memory": {"guest": memory}}


def _has(shell: Console, mib: float) -> float:
    """Until the guest has taken at least ``mib``; how much it has."""
    return patience.eventually(
        f"the guest has {mib:.0f} MiB", lambda: growth.memory_mib(shell), lambda seen: seen >= mib)


@pytest.mark.needs("two-nodes")
@pytest.mark.demand(memory_mib=1800, nodes=2, seconds=100)
@pytest.mark.timeout(600)
@pytest.mark.case("BOOT-046")
def test_a_guest_gets_memory_twice(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VM with 1 GiB.
    Steps: raise its memory by 128 MiB, and once more.
    Expected: each time HotMemoryChange, then one migration of its own accord; the guest goes on, its kernel has at
        least 120 MiB more, guestCurrent and guestRequested say so, the pod asks for as much more.
    """
    vmi, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm", memory="1Gi")))
    assert vmi["spec"]["domain"]["memory"]["maxGuest"] == "4Gi"
    witness = Witness(shell)
    home = moves.home(space, nodes, "vm")
    for size in ("1152Mi", "1280Mi"):
        had, asked = growth.memory_mib(shell), growth.requests(space, home.pod)["memory"]
        home = growth.grow(space, nodes, home, _guest(size), growth.MEMORY, within_s=patience.boots(6))
        witness.shell = shell = space.shell("vm")
        _has(shell, had + 120)
        memory = space.wait_vmi(
            "vm", lambda vmi, size=size: vmi["status"]["memory"]["guestCurrent"] == size, f"has {size}",
        )["status"]["memory"]
        assert (memory["guestAtBoot"], memory["guestRequested"]) == ("1Gi", size), memory
        more = growth.requests(space, home.pod)["memory"] - asked
        assert 128 * MIB <= more <= 130 * MIB, f"the pod asks for {more} bytes more"
        witness.check(still_s=3)


@pytest.mark.demand(vcpus=2, memory_mib=2300, boots=2, seconds=60)
@pytest.mark.case("BOOT-047")
def test_memory_beyond_what_can_be_plugged(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM with 1 GiB, one with 512 MiB.
    Steps: ask the first for less than it was started with, for an odd number of MiB, for more than four times as much;
        the second for a little more.
    Expected: RestartRequired with four different messages, none once taken back; no migration, and the memory of the
        guests is what it was.
    """
    shells = {name: space.boot(build.vm_of(build.kernel_boot_vmi(cluster, name, memory=memory)))[1]
              for name, memory in (("vm", "1Gi"), ("small", "512Mi"))}
    before = {name: (boot_id(shell), growth.memory_mib(shell)) for name, shell in shells.items()}
    told = []
    for size in ("1022Mi", "1025Mi", "4098Mi"):
        told.append(growth.refused(space, _guest(size)))
        growth.taken_back(space, _guest("1Gi"))
    told.append(growth.refused(space, _guest("640Mi"), "small"))
    assert told == [
        "memory updated in template spec to a value lower than what the VM started with",
        "memory hotplug not supported, Guest memory must be 2Mi aligned",
        "memory updated in template spec to a value higher than what's available",
        "memory hotplug not supported, Max guest memory must be configured when memory hotplug is enabled",
    ]
    patience.quiet("a migration for what cannot be", lambda: growth.migrations(space), bool, for_s=5)
    assert {name: (boot_id(shell), growth.memory_mib(shell)) for name, shell in shells.items()} == before
    assert quantity.integer(space.vmi("vm")["status"]["memory"]["guestCurrent"]) == 1024 * MIB
