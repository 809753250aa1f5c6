"""Guests of other kinds, and guests that do something of their own while they move."""

import functools
import random
import signal
from collections.abc import Callable

import pytest

from functests.libs import build, moves, patience, records
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path, kubevirt_path
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)]


@pytest.mark.case("MIG-009")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)
def test_a_guest_that_reboots_on_the_way_moves(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a migration that runs slowly.
    Steps: reboot in the guest.
    Expected: it has moved, and was booted once more; VMI and migration are the same.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    boot_id = shell.succeed("cat /proc/sys/kernel/random/boot_id")
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    shell.send("reboot -f\n")
    moves.reach(space, "move", "Succeeded", within_s=patience.boots(4))
    moves.check_moved(space, nodes, "vm", before, "move")
    again = space.shell("vm", boots=2)
    now = again.succeed("cat /proc/sys/kernel/random/boot_id")
    assert now != boot_id
    patience.quiet(
        "it was booted again", lambda: again.succeed("cat /proc/sys/kernel/random/boot_id"),
        lambda seen: seen != now, for_s=5)


@pytest.mark.case("MIG-015")
def test_a_bridge_on_the_pod_network_moves_where_it_is_allowed(
    space: Space, cluster: Cluster, nodes: Nodes
) -> None:
    """
    Preconditions: a guest bridged to the pod network, whose annotation allows it to move.
    Steps: migrate.
    Expected: LiveMigratable; it moved; MAC and address in the guest are those of before.
    """
    manifest = build.merged(build.kernel_boot_vmi(cluster, "vm"), {
        "metadata": {"annotations": {"kubevirt.io/allow-pod-bridge-network-live-migration": ""}},
        **build.devices_patch(interfaces=[{"name": "default", "bridge": {}}])})
    _, shell = space.boot(manifest)
    space.wait_condition("vm", "LiveMigratable", "True")
    witness = Witness(shell)
    look = "ip -4 -o addr show dev eth0 | awk '{print $4}'; cat /sys/class/net/eth0/address"
    known = patience.eventually("it has an address", lambda: shell.succeed(look), lambda text: "/" in text)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    witness.shell = space.shell("vm")
    witness.check(still_s=2)
    assert witness.shell.succeed(look) == known


@pytest.mark.needs("two-nodes", "shared")
@pytest.mark.parametrize("bus", ["sata", "scsi", "usb"])
@pytest.mark.case("MIG-006")
def test_a_disk_on_any_bus_goes_along(space: Space, cluster: Cluster, nodes: Nodes, bus: str) -> None:
    """
    Preconditions: a guest with a shared disk on the bus and a tablet; records are written to it.
    Steps: migrate.
    Expected: it moved; disk and input devices are those of before; every record is there.
    """
    claim = build.pvc("data", storage_class="shared", mode="ReadWriteMany")
    space.rest.post(core_path("persistentvolumeclaims", space.name), claim).ok()
    source = {"persistentVolumeClaim": {"claimName": "data"}}
    manifest = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", source, disk={"bus": bus}, serial="D1")
    manifest = build.merged(
        manifest, build.devices_patch(inputs=[{"name": "tablet", "type": "tablet", "bus": "usb"}]))
    _, shell = space.boot(manifest)
    device = patience.eventually(
        "the disk is there", lambda: shell.run("ls /sys/block | grep -E '^(sd|vd)' | head -n 1").out.strip(), bool)
    look = (f"ls -l /sys/block/{device} | sed 's/.*-> //'; cat /proc/bus/input/devices; "
            f"blockdev --getsize64 /dev/{device}")
    known = patience.eventually(        # the kernel finds devices of a USB bus after its first shell, too
        "the tablet is there", lambda: shell.succeed(look), lambda text: "QEMU USB Tablet" in text)
    records.begin(shell, device)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    shell = space.shell("vm")
    assert shell.succeed(look) == known
    records.check(shell, device)


@pytest.mark.case("MIG-059")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)
def test_a_guest_whose_libvirt_was_killed_moves(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a witness.
    Steps: SIGKILL libvirt's daemon in its pod; migrate when there is another one.
    Expected: the same QEMU; another daemon within 30 s; the guest moved.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    node = nodes[before.node]

    def daemons() -> list[int]:
        return [process.pid for process in node.processes(before.pod_uid)
                if process.argv and process.argv[0].endswith("libvirtd")]

    (old,) = daemons()
    node.run(f"kill -{int(signal.SIGKILL)} {old}")
    patience.eventually("another daemon", daemons, lambda found: bool(found) and old not in found)
    assert node.qemu(before.pod_uid).pid == before.qemu
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    witness.shell = space.shell("vm")
    witness.check(still_s=2)


@pytest.mark.case("MIG-052")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=150)
def test_migrations_are_cancelled_at_any_moment(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a witness.
    Steps: ten times: migrate, and delete the migration after 0 to 4 s.
    Expected: each time it has moved or stayed; it is the same guest, and one QEMU runs in the end.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    here = moves.home(space, nodes, "vm")
    chosen = random.Random(52)
    for number in range(10):
        name = moves.migrate(space, "vm", f"move-{number}")
        patience.quiet("the VMI ended", lambda: space.vmi("vm")["status"]["phase"],
                       lambda phase: phase != "Running", for_s=chosen.uniform(0.1, 4), every_s=0.1)
        space.rest.delete(kubevirt_path(moves.VMIM, space.name, name)).ok()
        patience.eventually(
            "it is gone", functools.partial(moves.get, space, name), lambda found: found is None)
        patience.eventually(
            "one pod is left",
            lambda: [pod["metadata"]["name"] for pod in space.pods(space.vmi("vm"))
                     if pod["status"]["phase"] not in moves.FINAL],
            lambda left: len(left) == 1, within_s=patience.promised(60))
        now = moves.home(space, nodes, "vm")
        assert now.uid == here.uid
        if now.node != here.node:
            moves.check_clean(nodes, here)
        here = now
    witness.shell = space.shell("vm")
    witness.check(still_s=3)
