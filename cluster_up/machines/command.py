"""The command that is a machine. Pure.

What is not obvious was found by trying: q35 with a split irqchip and interrupt remapping, or VFIO refuses in the guest;
``caching-mode=on`` makes assignment possible at all; a root port for each card; no iommu_platform on the root disk.
"""

from dataclasses import dataclass
from pathlib import Path

from cluster_up.machines.model import Machine

# TCG has all of it, and an old model hides what the emulation would do slowly.
_EMULATED_CPU = "Nehalem"
_ARGUMENTS = "root=/dev/vda rw console=ttyS0 intel_iommu=on iommu=pt quiet"
# Nothing to be mitigated on an emulated processor; its clock is the host's.
_EMULATED_ARGUMENTS = "mitigations=off nokaslr tsc=reliable no_timer_check"


@dataclass(frozen=True)
class Files:
    """``folder`` has vmlinuz, initrd and the machine's own disk.img; sockets are made in it."""

    folder: Path

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd"

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    @property
    def monitor(self) -> Path:
        return self.folder / "qmp.sock"


@dataclass(frozen=True)
class Address:
    """Of the machine on the cluster's network: what the engine gave its container."""

    address: str
    prefix: int
    gateway: str


def argv(machine: Machine, files: Files, address: Address, *, kvm: bool, tap: str, cards_group: str) -> list[str]:
    """``tap``: joined to the cluster's network. ``cards_group``: address and port of the multicast group over which the
    cards of all machines see each other; the PFs of one machine do too."""
    words = [
        "qemu-system-x86_64", "-name", machine.name,
        "-machine", "q35,kernel-irqchip=split",
        *(["-accel", "kvm", "-cpu", "host"] if kvm else ["-accel", "tcg,thread=multi", "-cpu", _EMULATED_CPU]),
        "-smp", str(machine.cpus), "-m", str(machine.memory_mib),
        "-display", "none", "-nodefaults", "-no-reboot", "-serial", "stdio",
        "-qmp", f"unix:{files.monitor},server=on,wait=off",
        "-device", "intel-iommu,intremap=on,caching-mode=on",
        "-kernel", str(files.kernel), "-initrd", str(files.initrd), "-append", _append(machine, address, kvm=kvm),
        # A machine that is lost is made anew: nothing waits for the disk.
        "-drive", f"file={files.disk},format=raw,if=none,id=root,cache=unsafe,discard=unmap",
        "-device", "virtio-blk-pci,drive=root",
        "-netdev", f"tap,id=cluster,ifname={tap},script=no,downscript=no",
        "-device", f"virtio-net-pci,netdev=cluster,mac={machine.mac}",
        "-device", "virtio-rng-pci",
    ]
    if machine.cards:
        # A hub has no loss of its own, and a VF of one card reaches the other cards of its machine through it.
        words += ["-netdev", f"socket,id=cards,mcast={cards_group}"]
        words += ["-netdev", "hubport,id=uplink,hubid=1,netdev=cards"]
    for card in range(1, machine.cards + 1):
        words += [
            "-device", f"pcie-root-port,id=port{card},chassis={card}",
            "-netdev", f"hubport,id=card{card},hubid=1",
            "-device", f"igb,bus=port{card},netdev=card{card},mac={machine.card_mac(card)}",
        ]
    return words


def _append(machine: Machine, address: Address, *, kvm: bool) -> str:
    """The kernel's command line; the node sets up its network from ``machine.address`` and its like."""
    own = (
        f"machine.name={machine.name} machine.address={address.address}/{address.prefix} "
        f"machine.gateway={address.gateway} machine.mac={machine.mac}"
    )
    return " ".join([_ARGUMENTS, *([] if kvm else [_EMULATED_ARGUMENTS]), own])
