"""VNC: pixels of the guest's own screen."""

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.vnc import VERSION, Vnc


@pytest.mark.case("VNC-001")
def test_the_screen_shows_what_the_guest_draws(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running guest in text mode, booted from its disk: a kernel that QEMU starts directly (PVH) is told
        of no screen, and the firmware's last picture stays.
    Steps: connect, take a picture, fill the guest's tty1 with full cells, take another.
    Expected: RFB 3.8, security None, the VMI's name, 720x400; more than 30 % of the pixels differ then.
    """
    _, shell = space.boot(build.disk_boot_vmi(cluster, "vm"))
    shell.succeed("printf '\\033[2J\\033[H' > /dev/tty1")
    with Vnc(space.rest, space.name, "vm") as vnc:
        assert vnc.server_version == VERSION
        assert 1 in vnc.security_types, vnc.security_types
        assert "vm" in vnc.name, vnc.name
        before = vnc.screen()
        assert (before.width, before.height) == (720, 400)

        # Reversed blanks fill a cell in every font and character set.
        shell.succeed("printf '\\033[7m%1920s\\033[0m' ' ' > /dev/tty1")
        after = patience.eventually(
            "the picture changes by more than 30 %", vnc.screen, lambda seen: seen.difference(before) > 0.3
        )
        assert after.lit > 0.3, f"{after.lit:.0%} of the picture is lit"
        assert after.difference(before) > 0.3
