"""The serial console: a byte pipe to the guest that belongs to one client at a time."""

import secrets

import pytest

from functests.libs import build
from functests.libs.cluster import Cluster
from functests.libs.kube import Space


@pytest.mark.case("CON-001")
def test_console_carries_commands_and_their_results(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running guest.
    Steps: compute something, fail a command, send a long command.
    Expected: the guest's own answers and exit statuses; the long command arrives whole.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    nonce = secrets.token_hex(8)

    assert shell.succeed(f"echo $((6*7))-{nonce}") == f"42-{nonce}"
    assert shell.run("false").code == 1
    long = "x" * 200
    assert shell.succeed(f"echo {long} | wc -c") == "201"


@pytest.mark.case("CON-003")
def test_a_second_console_takes_over_from_the_first(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running guest with an open console.
    Steps: open a second console, then a third.
    Expected: each new one ends the one before cleanly within 5 s, and has the shell.
    """
    _, first = space.boot(build.kernel_boot_vmi(cluster, "vm"))

    second = space.shell("vm")
    first.wait_closed(within_s=5)
    assert first.close_code == 1000, f"the first console ended with {first.close_code}"
    assert second.succeed("echo $((1+1))") == "2"

    third = space.shell("vm")
    second.wait_closed(within_s=5)
    assert third.succeed("echo $((2+2))") == "4"
