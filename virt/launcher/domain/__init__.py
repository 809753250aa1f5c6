"""libvirt's domain document as frozen dataclasses. Mapping only: virt.launcher.design decides."""

from virt.launcher.domain.character import Channel, Serial
from virt.launcher.domain.codec import DomainXmlError, Element
from virt.launcher.domain.disk import Address, Disk
from virt.launcher.domain.domain import Devices, Domain, Metadata, disk_xml, from_xml, host_device_xml, to_xml
from virt.launcher.domain.hostdevice import HostDevice
from virt.launcher.domain.interface import Interface
from virt.launcher.domain.machine import (
    Apic,
    Clock,
    Cpu,
    CpuFeature,
    Features,
    Os,
    SmbiosEntry,
    Sysinfo,
    Timer,
)
from virt.launcher.domain.peripheral import Balloon, Controller, Graphics, Input, Listen, Panic, Rng, Video, Watchdog

__all__ = [
    "Address", "Apic", "Balloon", "Channel", "Clock", "Controller", "Cpu", "CpuFeature", "Devices", "Disk", "Domain",
    "DomainXmlError", "Element", "Features", "Graphics", "HostDevice", "Input", "Interface", "Listen", "Metadata",
    "Os", "Panic", "Rng", "Serial", "SmbiosEntry", "Sysinfo", "Timer", "Video", "Watchdog", "disk_xml",
    "from_xml", "host_device_xml", "to_xml",
]
