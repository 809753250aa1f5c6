"""Which domain a VMI gets. Pure: VMI, facts of the host and what the launcher made ready -> Domain.

Each step of the list below fills its own fields of the domain and no others; two steps that set one field are an error
(merging). The values are KubeVirt's (pkg/virt-launcher/virtwrap/converter) where guests or clients can see them.
"""

from virt.api import v1
from virt.launcher.design import compute, console, disks, hostdevices, interfaces, peripherals, platform, topology
from virt.launcher.design.disks import disk_targets, plugged, virtio_disks
from virt.launcher.design.errors import DesignConflict, DesignError
from virt.launcher.design.hostdevices import by_interface
from virt.launcher.design.merging import merged
from virt.launcher.design.request import DiskSource, Prepared, Request, Step
from virt.launcher.design.tags import TaggedDevice
from virt.launcher.domain import Disk, Domain
from virt.rpc.messages import HostFacts

__all__ = [
    "STEPS",
    "DesignConflict",
    "DesignError",
    "DiskSource",
    "Prepared",
    "Request",
    "TaggedDevice",
    "by_interface",
    "disk_targets",
    "domain_for",
    "merged",
    "plugged_disk",
    "virtio_disks",
]

STEPS: tuple[Step, ...] = (
    platform.identity,
    platform.machine,
    platform.bootloader,
    platform.kernel_boot,
    platform.features,
    platform.clock,
    compute.memory,
    compute.processors,
    peripherals.usb,
    peripherals.storage_controller,
    disks.disks,
    interfaces.interfaces,
    hostdevices.functions,
    hostdevices.devices,
    console.serial,
    console.guest_agent,
    console.graphics,
    peripherals.inputs,
    peripherals.watchdog,
    peripherals.panic,
    peripherals.balloon,
    peripherals.rng,
)


def domain_for(vmi: v1.VirtualMachineInstance, facts: HostFacts, prepared: Prepared) -> Domain:
    """The domain of a VMI. Raises DesignError, naming the field that cannot be met."""
    request = Request(vmi, facts, prepared)
    domain = merged([step(request) for step in STEPS])
    return merged([domain, topology.root_ports(domain, prepared.awaited)])


def plugged_disk(
    vmi: v1.VirtualMachineInstance, facts: HostFacts, prepared: Prepared, name: str, taken: tuple[str, ...]
) -> Disk:
    """The disk of this name, for a guest that runs. ``taken``: device names that it has. Raises DesignError."""
    return plugged(Request(vmi, facts, prepared), name, taken)
