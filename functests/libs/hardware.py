"""What a guest says of its own machine: read from /proc and /sys on its console, taken apart here."""

import re
from dataclasses import dataclass

from functests.libs.console import Console
from functests.libs.nodes import Node

_MIB = 2**20


@dataclass(frozen=True)
class PciDevice:
    """``address`` as 0000:00:1f.2; ``id`` is vendor:device, ``kind`` the class code, all lower-case hexadecimal."""

    address: str
    id: str
    kind: str


def system_ram_mib(shell: Console) -> float:
    """Sum of what the firmware gave to the system, in MiB."""
    ranges = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM", shell.succeed("cat /proc/iomem"), re.MULTILINE)
    return sum(int(end, 16) - int(start, 16) + 1 for start, end in ranges) / _MIB


def cpu_field(shell: Console, name: str) -> str:
    """A field of the first processor in /proc/cpuinfo, as "model name" or "flags"."""
    text = shell.succeed(f"grep -m1 '^{name}' /proc/cpuinfo")
    return text.partition(":")[2].strip()


def cpu_flags(shell: Console) -> frozenset[str]:
    return frozenset(cpu_field(shell, "flags").split())


def pci_devices(shell: Console) -> list[PciDevice]:
    said = shell.succeed(
        "cd /sys/bus/pci/devices; for d in *; do echo $d $(cat $d/vendor $d/device $d/class); done; cd"
    )
    found = []
    for line in said.splitlines():
        address, vendor, device, kind = line.split()
        found.append(PciDevice(address, f"{vendor[2:]}:{device[2:]}", kind[2:]))
    return found


def virtio_devices(shell: Console) -> list[str]:
    """Kinds of virtio devices as "0x0005", one for each device (virtio 1.2, chapter 5)."""
    return shell.succeed("cat /sys/bus/virtio/devices/*/device").split()


def dmi(shell: Console, name: str) -> str:
    return shell.succeed(f"cat /sys/class/dmi/id/{name}")


def inputs(shell: Console) -> list[str]:
    """Names of the input devices."""
    return shell.succeed("cat /sys/class/input/input*/name").splitlines()


def boot_id(shell: Console) -> str:
    """Changes with each boot of the kernel."""
    return shell.succeed("cat /proc/sys/kernel/random/boot_id")


def seconds_ahead(shell: Console, node: Node) -> tuple[float, float]:
    """By how many seconds the guest's hardware clock is ahead of the node's: at least, at most.

    That clock has whole seconds, and the question takes its time on a loaded machine.
    """
    before = float(node.run("date +%s.%N"))
    told = int(shell.succeed("cat /sys/class/rtc/rtc0/since_epoch"))
    after = float(node.run("date +%s.%N"))
    return told - after, told + 1 - before
