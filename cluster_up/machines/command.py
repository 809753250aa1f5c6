"""The command that is a machine. Pure.

What is not obvious was found by trying: q35 with a split irqchip and interrupt remapping, or VFIO refuses in the guest;
``caching-mode=on`` makes assignment possible at all; a root port for each card; no iommu_platform on the root disk.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

from cluster_up.machines import stick
from cluster_up.machines.model import MOST_MACHINES, Machine

# TCG has all of it, and an old model hides what the emulation would do slowly.
_EMULATED_CPU = "Nehalem"
_ARGUMENTS = "root=/dev/vda rw console=ttyS0 intel_iommu=on iommu=pt quiet"
# Nothing to be mitigated on an emulated processor; its clock is the host's.
_EMULATED_ARGUMENTS = "mitigations=off nokaslr tsc=reliable no_timer_check"


@dataclass(frozen=True)
class Files:
    """``folder`` has vmlinux, initrd and the machine's own disk.img and stick.img; sockets are made in it. ``wire``:
    folder of the sockets by which the machines of a cluster reach each other."""

    folder: Path
    wire: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinux"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    @property
    def stick(self) -> Path:
        return self.folder / "stick.img"

    @property
    def monitor(self) -> Path:
        return self.folder / "qmp.sock"


# The engine gives the container another address at another start; recipes/machine/start.sh puts it in.
ADDRESS, GATEWAY = "@ADDRESS@", "@GATEWAY@"
TAP = "machine0"
# Link-local: it collides with no range of pods, services or the engine.
_CONTROL, _CONTROL_ADDRESS = "169.254.2.0/24", "169.254.2.15"
# Harmless PCI functions that no driver wants, to be given to guests: 1b36:0005 and 1234:11e8.
_SPARE = ("pci-testdev", "edu")


def argv(machine: Machine, files: Files, *, kvm: bool) -> list[str]:
    """The PFs of all machines of the cluster see each other, and nobody else."""
    words = [
        "qemu-system-x86_64", "-name", machine.name,
        "-machine", "q35,kernel-irqchip=split",
        *(["-accel", "kvm", "-cpu", "host"] if kvm else ["-accel", "tcg,thread=multi", "-cpu", _EMULATED_CPU]),
        "-smp", str(machine.cpus), "-m", str(machine.memory_mib),
        "-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio",
        "-qmp", f"unix:{files.monitor},server=on,wait=off",
        "-device", "intel-iommu,intremap=on,caching-mode=on",
        "-kernel", str(files.kernel), "-initrd", str(files.initrd), "-append", _append(machine, kvm=kvm),
        # A lost machine is made again, so nothing waits for the disk.
        "-drive", f"file={files.disk},format=raw,if=none,id=root,cache=unsafe,discard=unmap",
        "-device", "virtio-blk-pci,drive=root",
        "-netdev", f"tap,id=cluster,ifname={TAP},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=cluster,mac={machine.mac}",
        # Shells, from the container only.
        "-netdev", f"user,id=control,net={_CONTROL},ipv6=off,restrict=on,{_forwarded(1022)},{_forwarded(1023)}",
        "-device", f"virtio-net-pci,netdev=control,mac={machine.control_mac}",
        "-device", "virtio-rng-pci",
    ]
    for card in range(1, machine.cards + 1):
        words += [
            "-device", f"pcie-root-port,id=port{card},chassis={card}",
            # A hub: a VF of one card reaches the other cards of its machine, and nothing is lost on the way.
            "-netdev", f"hubport,id=card{card},hubid=1",
            "-device", f"igb,bus=port{card},netdev=card{card},mac={machine.card_mac(card)}",
        ]
    words += _wires(machine, files.wire)
    for number, device in enumerate(_SPARE, machine.cards + 1):
        port = f"port{number}"
        words += ["-device", f"pcie-root-port,id={port},chassis={number}", "-device", f"{device},bus={port}"]
    return [*words, *_usb(machine, files, number=machine.cards + len(_SPARE) + 1)]


def _usb(machine: Machine, files: Files, *, number: int) -> list[str]:
    """A controller, and a stick that is to be given to a guest."""
    port, serial = f"port{number}", stick.serial(machine.name)
    return [
        "-device", f"pcie-root-port,id={port},chassis={number}", "-device", f"qemu-xhci,id=usb,bus={port}",
        "-drive", f"file={files.stick},format=raw,if=none,id=stick,readonly=on",
        "-device", f"usb-storage,bus=usb.0,drive=stick,serial={serial}",
    ]


def _wires(machine: Machine, folder: Path) -> list[str]:
    """The hub of the first machine is everybody's: it listens for all others that there may be, each of which keeps
    trying to reach it. A machine that is not there is a cable that is not plugged in."""
    is_first = machine.number == 1
    words = []
    for number in range(2, MOST_MACHINES + 1) if is_first else (machine.number,):
        side = "server=on" if is_first else "server=off,reconnect-ms=1000"
        words += [
            "-netdev", f"stream,id=wire{number},addr.type=unix,addr.path={folder / str(number)}.sock,{side}",
            "-netdev", f"hubport,id=plug{number},hubid=1,netdev=wire{number}",
        ]
    return words


def _forwarded(port: int) -> str:
    return f"hostfwd=tcp:127.0.0.1:{port}-{_CONTROL_ADDRESS}:{port}"


def _append(machine: Machine, *, kvm: bool) -> str:
    """The kernel's command line. The machine's own words are read by recipes/machine/files/usr/local/sbin."""
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, machine.name).hex
    own = (
        f"machine.name={machine.name} systemd.machine_id={identity} "
        f"machine.address={ADDRESS} machine.gateway={GATEWAY} "
        f"machine.mac={machine.mac} machine.cards={machine.cards_prefix} "
        f"machine.control={machine.control_mac} machine.shell={_CONTROL_ADDRESS}/24"
    )
    return " ".join([_ARGUMENTS, *([] if kvm else [_EMULATED_ARGUMENTS]), own])
