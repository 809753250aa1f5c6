"""The domain document as a whole."""

from dataclasses import dataclass

from virt.launcher.domain import codec
from virt.launcher.domain.character import Channel, Serial
from virt.launcher.domain.codec import Element, at
from virt.launcher.domain.disk import Disk
from virt.launcher.domain.hostdevice import HostDevice
from virt.launcher.domain.interface import Interface
from virt.launcher.domain.machine import Clock, Cpu, Features, Os, Sysinfo
from virt.launcher.domain.peripheral import Balloon, Controller, Graphics, Input, Panic, Rng, Video, Watchdog


@dataclass(frozen=True, kw_only=True)
class Metadata(Element):
    """Our own notes on the domain; libvirt keeps them and hands them back."""

    namespace: str = at("namespace", "")
    name: str = at("name", "")
    uid: str = at("uid", "")
    grace_period_s: int | None = at("graceperiod/deletionGracePeriodSeconds", None)


@dataclass(frozen=True, kw_only=True)
class Devices(Element):
    controllers: tuple[Controller, ...] = at("controller", ())
    disks: tuple[Disk, ...] = at("disk", ())
    interfaces: tuple[Interface, ...] = at("interface", ())
    serials: tuple[Serial, ...] = at("serial", ())
    channels: tuple[Channel, ...] = at("channel", ())
    inputs: tuple[Input, ...] = at("input", ())
    graphics: tuple[Graphics, ...] = at("graphics", ())
    videos: tuple[Video, ...] = at("video", ())
    watchdogs: tuple[Watchdog, ...] = at("watchdog", ())
    balloon: Balloon | None = at("memballoon", None)
    rngs: tuple[Rng, ...] = at("rng", ())
    panics: tuple[Panic, ...] = at("panic", ())
    host_devices: tuple[HostDevice, ...] = at("hostdev", ())


@dataclass(frozen=True, kw_only=True)
class Domain(Element):
    """``type``: kvm or qemu (TCG). ``memory`` counts in ``memory_unit`` ("b": bytes).
    ``vcpus``: at most; ``vcpus_now``: with how many it starts, where it may be given more."""

    type: str = at("@type", "")
    name: str = at("name", "")
    uuid: str = at("uuid", "")
    metadata: Metadata | None = at("metadata/kubevirt:kubevirt", None)
    memory_unit: str = at("memory/@unit", "")
    memory: int | None = at("memory", None)
    vcpu_placement: str = at("vcpu/@placement", "")
    vcpus_now: int | None = at("vcpu/@current", None)
    vcpus: int | None = at("vcpu", None)
    sysinfo: Sysinfo | None = at("sysinfo", None)
    os: Os | None = at("os", None)
    features: Features | None = at("features", None)
    cpu: Cpu | None = at("cpu", None)
    clock: Clock | None = at("clock", None)
    on_poweroff: str = at("on_poweroff", "")
    on_reboot: str = at("on_reboot", "")
    on_crash: str = at("on_crash", "")
    devices: Devices | None = at("devices", None)


def to_xml(domain: Domain) -> str:
    """The document that libvirt defines. Raises DomainXmlError for characters that XML cannot hold."""
    return codec.dump(domain, "domain")


def host_device_xml(device: HostDevice) -> str:
    """The document of one device, to be put into a domain that runs. Raises DomainXmlError."""
    return codec.dump(device, "hostdev")


def disk_xml(disk: Disk) -> str:
    """The same of a disk. Raises DomainXmlError."""
    return codec.dump(disk, "disk")


def from_xml(text: str) -> Domain:
    """Read a document, ours or libvirt's. Raises DomainXmlError."""
    return codec.load(Domain, text, "domain")
