"""What a domain is designed from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from virt.api import v1
from virt.launcher.domain import Domain
from virt.rpc.messages import GivenFunction, HostFacts, WiredInterface


@dataclass(frozen=True)
class DiskSource:
    """What the launcher made ready for a volume.

    ``format``: raw or qcow2; ``kind``: block for a device, else file (cdrom is a file too); ``size``: bytes as the
    guest will see them, 0 when unknown; ``direct_io``: whether its file system takes O_DIRECT, None when nobody tried;
    ``preallocated``: a file that has all of its blocks; ``short_of``: bytes that were asked for, where there was less
    room.
    """

    path: str
    format: str
    kind: str = "file"
    read_only: bool = False
    size: int = 0
    direct_io: bool | None = None
    preallocated: bool = False
    short_of: int = 0


@dataclass(frozen=True)
class Prepared:
    """Everything that the launcher has made ready before the domain is designed: disks by volume name, paths, cards.

    ``devices``: environment variables in which device plugins tell what they gave (PCI_RESOURCE_... and the like).
    ``awaited``: virtio disks that are to be hot-plugged, each of which will need a slot.
    """

    disks: Mapping[str, DiskSource] = field(default_factory=dict)
    kernel: str = ""
    initrd: str = ""
    interfaces: tuple[WiredInterface, ...] = ()
    functions: tuple[GivenFunction, ...] = ()
    devices: Mapping[str, str] = field(default_factory=dict)
    awaited: int = 0


@dataclass(frozen=True)
class Request:
    """The input of every design step."""

    vmi: v1.VirtualMachineInstance
    facts: HostFacts
    prepared: Prepared

    @property
    def spec(self) -> v1.VirtualMachineInstanceSpec:
        return self.vmi.spec

    @property
    def asked(self) -> v1.DomainSpec:
        return self.vmi.spec.domain

    @property
    def devices(self) -> v1.Devices:
        return self.vmi.spec.domain.devices

    @property
    def is_efi(self) -> bool:
        firmware = self.asked.firmware
        return bool(firmware and firmware.bootloader and firmware.bootloader.efi)

    @property
    def vcpus(self) -> int:
        cpu = self.asked.cpu or v1.CPU()
        return (cpu.sockets or 1) * (cpu.cores or 1) * (cpu.threads or 1)


Step = Callable[[Request], Domain]     # fills some fields of a domain and leaves the others empty
