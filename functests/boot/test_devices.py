"""Small devices, clock and machine type, proved from inside the guest."""

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from functests.libs import build, claims, hardware, launcher, patience
from functests.libs.build import Manifest
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Object, Space, phases
from functests.libs.nodes import Nodes
from virt.api import quantity

MACHINE_LABEL = "machine-type.node.kubevirt.io/"
FULL_NAME = re.compile(r"pc-q35-[0-9]+\.[0-9]+")
BALLOON, RNG = "0x0005", "0x0004"           # virtio 1.2, chapter 5
USB_CONTROLLER = "0c03"
TABLET = "QEMU Virtio Tablet"
PLACE = "0000:00:10.0"
TOLERANCE_S = 3
HOUR_S = 3600


def _domain(vmi: Manifest, **fields: object) -> Manifest:
    return build.merged(vmi, {"spec": {"domain": fields}})


def _older_machine(cluster: Cluster) -> str:
    """The newest but one of the machine types that nodes are labelled with."""
    labels = {label for node in cluster.core.list_node().items for label in node.metadata.labels}
    versions = sorted(
        [int(part) for part in label.removeprefix(f"{MACHINE_LABEL}pc-q35-").split(".")]
        for label in labels
        if FULL_NAME.fullmatch(label.removeprefix(MACHINE_LABEL))
    )
    assert len(versions) > 1, f"the nodes name machine types {versions}"
    return "pc-q35-" + ".".join(str(part) for part in versions[-2])


def _new_york_s() -> float:
    """How far New York's clocks are ahead of UTC now, in seconds."""
    offset = datetime.now(ZoneInfo("America/New_York")).utcoffset()
    assert offset is not None
    return offset.total_seconds()


def _random_bytes(shell: Console) -> int:
    """How many different bytes 1 KiB of the hardware's random numbers has."""
    return int(shell.succeed("head -c 1024 /dev/hwrng | od -An -v -tu1 -w1 | sort -u | wc -l"))


def _is_near(span: tuple[float, float], wanted_s: float) -> bool:
    least, most = span
    return least - TOLERANCE_S <= wanted_s <= most + TOLERANCE_S


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2)
@pytest.mark.case("BOOT-012")
@pytest.mark.case("BOOT-030")
@pytest.mark.case("BOOT-035")
@pytest.mark.case("BOOT-036")
@pytest.mark.case("BOOT-039")
@pytest.mark.case("BOOT-041")
@pytest.mark.case("BOOT-042")
def test_a_guest_has_the_devices_and_the_clock_it_asks_for(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: nodes that are labelled with machine types.
    Steps: boot two guests. One asks for an older machine type, a random number device, a tablet on virtio, a disk at a
        PCI address, a clock two hours ahead and HPET; the other for New York's time, no HPET and no balloon.
    Expected: each has just what it asked for; the random numbers differ; the types are full names in the status, the
        asked one in QEMU's command line and the pod's selector.
    """
    machine = _older_machine(cluster)
    placed = build.with_disk(
        build.kernel_boot_vmi(cluster, "asks"), "placed", {"emptyDisk": {"capacity": "16Mi"}},
        disk={"bus": "virtio", "pciAddress": PLACE},
    )  # fmt: skip
    asks = _domain(
        placed,
        machine={"type": machine},
        clock={"utc": {"offsetSeconds": 2 * HOUR_S}, "timer": {"hpet": {"present": True}}},
        devices={"rng": {}, "inputs": [{"name": "pen", "type": "tablet", "bus": "virtio"}]},
    )
    plain = _domain(
        build.kernel_boot_vmi(cluster, "plain"),
        clock={"timezone": "America/New_York", "timer": {"hpet": {"present": False}}},
        devices={"autoattachMemBalloon": False},
    )
    for manifest in (asks, plain):
        space.create(manifest)
    seen: dict[str, tuple[Object, Console]] = {}
    for name in ("asks", "plain"):
        space.wait_running(name, within_s=patience.boots(2))
        seen[name] = (space.vmi(name), space.shell(name, boots=2))
    (first, asking), (second, other) = seen["asks"], seen["plain"]
    qemu = launcher.of(space, first, nodes).qemu
    selector = space.pod(first)["spec"]["nodeSelector"]
    node = nodes[first["status"]["nodeName"]]
    new_york_s = _new_york_s()
    ahead = hardware.seconds_ahead(asking, node)
    behind = hardware.seconds_ahead(other, nodes[second["status"]["nodeName"]])
    clocks = "cat /sys/devices/system/clocksource/clocksource0/available_clocksource"
    different = _random_bytes(asking)
    found: list[Claim] = [
        ("machine type of the one", first["status"]["machine"]["type"], machine),
        ("and in QEMU's command line", machine in {word.partition(",")[0] for word in qemu.argv}, True),
        ("and in the pod's selector", selector.get(MACHINE_LABEL + machine), "true"),
        ("full name of the other's", bool(FULL_NAME.fullmatch(second["status"]["machine"]["type"])), True),
        ("random numbers of the one", asking.succeed("cat /sys/class/misc/hw_random/rng_current"), "virtio_rng.0"),
        (f"of 1024 of its random bytes {different} differ", different > 100, True),
        ("random number device of the other", RNG in hardware.virtio_devices(other), False),
        (f"disk at {PLACE}", asking.succeed(f"ls /sys/bus/pci/devices/{PLACE}/virtio*/block"), "vda"),
        ("tablet of the one", TABLET in hardware.inputs(asking), True),
        ("tablet of the other", TABLET in hardware.inputs(other), False),
        ("USB controllers", [pci for shell in (asking, other) for pci in hardware.pci_devices(shell)
                             if pci.kind.startswith(USB_CONTROLLER)], []),
        (f"clock of the one is two hours ahead, {ahead}", _is_near(ahead, 2 * HOUR_S), True),
        (f"clock of the other is New York's ({new_york_s} s), {behind}", _is_near(behind, new_york_s), True),
        ("HPET of the one", "hpet" in asking.succeed(clocks).split(), True),
        ("HPET of the other", "hpet" in other.succeed(clocks).split(), False),
        ("balloon of the one", BALLOON in hardware.virtio_devices(asking), True),
        ("balloon of the other", BALLOON in hardware.virtio_devices(other), False),
    ]  # fmt: skip
    assert claims.wrong(found) == ""


FRESH_S = 15


@pytest.mark.demand(seconds=40)
@pytest.mark.case("BOOT-027")
@pytest.mark.case("BOOT-030")
@pytest.mark.case("BOOT-041")
def test_a_default_guest_costs_what_was_asked_for_it(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest without a wish about clock or devices, all of whose memory was written.
    Steps: add up the memory of all processes of its pod; read its clock; look at its memory statistics for 20 s.
    Expected: beyond the guest's own memory the pod takes less than the overhead that was requested; the clock is UTC;
        the statistics are never older than 15 s.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    free_mib = int(shell.succeed("grep MemAvailable /proc/meminfo").split()[1]) // 1024
    shell.succeed("mount -t tmpfs -o size=100% none /mnt")
    shell.succeed(f"dd if=/dev/zero of=/mnt/filled bs=1M count={free_mib - 14} 2>/dev/null")
    pod = launcher.of(space, vmi, nodes)
    parts = pod.proportional_kib()
    of_guest = pod.guest_ram_kib(128 * 1024)
    assert of_guest > 90 * 1024, f"the guest has touched {of_guest} KiB only"
    requested = quantity.integer(space.vmi("vm")["status"]["memory"]["memoryOverhead"]) / 2**20
    taken = (sum(parts.values()) - of_guest) / 1024
    told = "\n".join(f"{kib} KiB {name}" for name, kib in sorted(parts.items(), key=lambda part: -part[1]))
    assert taken < requested, f"{taken:.0f} MiB beyond the guest's {of_guest} KiB, not {requested:.0f} MiB:\n{told}"

    ahead = hardware.seconds_ahead(shell, pod.node)
    assert _is_near(ahead, 0), f"the clock is {ahead} s ahead of UTC"

    def age_s() -> float:
        return float(pod.node.run("date +%s")) - pod.memory_statistics().get("last_update", 0)

    patience.eventually("the balloon tells its statistics", age_s, lambda age: age < FRESH_S)
    patience.quiet("the statistics are old (s)", age_s, lambda age: age > FRESH_S, for_s=20, every_s=2)


# Fed for longer than it waits, then no more: killed, since a feeder that ends by itself would tell it to stop.
STARVE = "watchdog -T 5 -t 2 -F /dev/watchdog & sleep 7.5; kill -9 $!"


def _rebooted(space: Space, shell: Console, before: str) -> None:
    """The same VMI, another boot of its kernel."""
    shell.wait_for("tiny: ready", within_s=patience.boots(2), since=shell.position)
    shell.login(within_s=patience.boots(1))
    assert hardware.boot_id(shell) != before
    assert phases(space.vmi("vm"))[-1] == "Running"


@pytest.mark.demand(boots=2)
@pytest.mark.case("BOOT-037")
@pytest.mark.parametrize("action", ["reset", "poweroff", "shutdown"])
def test_a_watchdog_that_is_not_fed_acts(space: Space, cluster: Cluster, action: str) -> None:
    """
    Preconditions: a guest with an i6300esb watchdog of that action.
    Steps: feed it for longer than it waits; stop.
    Expected: nothing happens while it is fed; then reset: the same VMI boots again; poweroff: the VMI is Failed;
        shutdown: the guest powers itself off and the VMI is Succeeded.
    """
    dog = {"name": "dog", "i6300esb": {"action": action}}
    manifest = _domain(build.kernel_boot_vmi(cluster, "vm"), devices={"watchdog": dog})
    vmi, shell = space.boot(build.with_grace(manifest, 30))
    before = hardware.boot_id(shell)
    since = shell.position
    shell.succeed(STARVE)
    shell.send("\n")
    if action == "reset":
        _rebooted(space, shell, before)
        assert space.vmi("vm")["metadata"]["uid"] == vmi["metadata"]["uid"]
        return
    wanted = {"poweroff": "Failed", "shutdown": "Succeeded"}[action]
    ended = space.wait_vmi(
        "vm", lambda seen: seen["status"]["phase"] in ("Failed", "Succeeded"), wanted, may_end=True,
        within_s=patience.boots(1) + 20,
    )  # fmt: skip
    assert ended["status"]["phase"] == wanted, ended["status"]
    said = "power button, shutting down" in shell.transcript[since:]
    assert said == (action == "shutdown"), shell.transcript[-500:]
