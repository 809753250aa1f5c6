"""A disk that cannot grow: the guest is stopped or told, by its error policy, and nobody else notices."""

import time

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition
from functests.libs.volumes import NodeVolumes

# 64 MiB of disk on 24 MiB of room, 8 of which are taken until the test frees them.
_PREPARE = "truncate -s 64M disk.img; chown 107:107 disk.img; head -c 8M /dev/urandom > ballast"


@pytest.mark.demand(vcpus=2, memory_mib=900, boots=2, pinned=2, seconds=60)
@pytest.mark.case("STO-039")
@pytest.mark.case("STO-040")
@pytest.mark.case("SEC-032")
def test_a_full_disk_stops_its_guest_or_tells_it(node_volumes: NodeVolumes, space: Space, cluster: Cluster) -> None:
    """
    Preconditions: two VMIs on one node, each with a disk of 64 MiB on a file system with room for 16; the second one's
        has errorPolicy report, and the second has another disk with room.
    Steps: write 20 MiB to the full disk in both; write on the second one's other disk; free 8 MiB for the first.
    Expected: the first is paused (PausedIOError, event IOerror) and its uptime stands still; the second gets an I/O
        error, is never paused and writes on; with room the first goes on by itself, its write ends, the data are right
        and its file system is whole.
    """
    here = cluster.workers[-1]
    full, told = (node_volumes.make(space, here, name, room="24m") for name in ("full", "told"))
    node_volumes.make(space, here, "roomy")
    for volume in (full, told):
        volume.run(_PREPARE)
    source = {name: {"persistentVolumeClaim": {"claimName": name}} for name in ("full", "told", "roomy")}
    second = build.with_disk(
        build.on_node(build.kernel_boot_vmi(cluster, "second"), here), "told", source["told"], errorPolicy="report")
    space.create(build.with_disk(second, "roomy", source["roomy"]))
    _, first = space.boot(build.with_disk(
        build.on_node(build.kernel_boot_vmi(cluster, "first", memory="192Mi"), here), "full", source["full"]))
    space.wait_running("second")
    other = space.shell("second")

    first.succeed("mke2fs -q -t ext4 -O ^has_journal -N 64 /dev/vda && mount /dev/vda /mnt")
    first.succeed("dd if=/dev/urandom of=/tmp/data bs=1M count=18 2>/dev/null")
    wanted = first.succeed("sha256sum < /tmp/data")
    began, uptime = time.monotonic(), float(first.succeed("cut -d' ' -f1 /proc/uptime"))
    first.send("cp /tmp/data /mnt/data && sync && echo wri''tten\n")
    stopped = space.wait_condition("first", "Paused", "True", within_s=patience.promised(60))
    paused = time.monotonic()
    assert condition(stopped, "Paused")["reason"] == "PausedIOError", stopped["status"]["conditions"]
    patience.eventually(
        "the event", lambda: [(event["type"], event["reason"]) for event in space.events("first")],
        lambda events: ("Warning", "IOerror") in events,
    )  # fmt: skip

    failed = other.run("dd if=/dev/urandom of=/dev/vda bs=1M count=20 conv=fsync 2>&1")
    assert failed.code != 0, failed
    assert "error" in failed.out.lower(), failed
    other.succeed("dd if=/dev/urandom of=/dev/vdb bs=1M count=4 conv=fsync 2>/dev/null")
    assert not condition(space.vmi("second"), "Paused")
    assert "IOerror" not in space.reasons("second")
    assert b"written" not in first.transcript.encode().split(b"echo wri''tten")[-1]

    stood_s = time.monotonic() - paused
    full.run("rm ballast")
    # Its handler tries again within three minutes.
    space.wait_condition("first", "Paused", "", within_s=patience.promised(200))
    first.wait_for(r"\nwritten", within_s=patience.promised(60))
    first.login(within_s=patience.boots(1))
    went = float(first.succeed("cut -d' ' -f1 /proc/uptime")) - uptime
    assert went < time.monotonic() - began - stood_s + 1, f"{went} s went by in the guest, which stood for {stood_s} s"
    assert first.succeed("umount /mnt; e2fsck -fn /dev/vda > /dev/null 2>&1; echo $?") == "0"
    first.succeed("echo 3 > /proc/sys/vm/drop_caches; mount -o ro /dev/vda /mnt")
    assert first.succeed("sha256sum < /mnt/data") == wanted
