"""The machine that a VMI is: CPU, memory, firmware, clock, features."""

from collections.abc import Mapping

from virt.api.v1.devices import Devices, FeatureState
from virt.api.wire import JsonObject, Quantity, Wire


class ResourceRequirements(Wire):
    """What the guest asks of the node: cpu, memory, hugepages-*, ephemeral-storage."""

    requests: Mapping[str, Quantity] = {}
    limits: Mapping[str, Quantity] = {}
    overcommit_guest_overhead: bool = False


class CPUFeature(Wire):
    """``policy``: force, require (also when empty), optional, disable, forbid."""

    name: str = ""
    policy: str = ""


class NUMA(Wire):
    guest_mapping_passthrough: JsonObject | None = None


class Realtime(Wire):
    mask: str = ""


class CPU(Wire):
    """Zero counts mean unset. ``model``: host-model, host-passthrough or a name libvirt knows."""

    cores: int = 0
    sockets: int = 0
    threads: int = 0
    max_sockets: int = 0
    model: str = ""
    features: tuple[CPUFeature, ...] = ()
    dedicated_cpu_placement: bool = False
    isolate_emulator_thread: bool = False
    numa: NUMA | None = None
    realtime: Realtime | None = None


class Hugepages(Wire):
    """``page_size``: a quantity, 2Mi or 1Gi."""

    page_size: str = ""


class Memory(Wire):
    """``guest``: what the guest sees; ``max_guest``: up to where memory may be added while it runs."""

    guest: Quantity | None = None
    max_guest: Quantity | None = None
    hugepages: Hugepages | None = None
    reserved_overhead: JsonObject | None = None


class Machine(Wire):
    type: str = ""


class BIOS(Wire):
    use_serial: bool | None = None


class EFI(Wire):
    """``secure_boot`` None means true; ``persistent`` None means false."""

    secure_boot: bool | None = None
    persistent: bool | None = None


class Bootloader(Wire):
    """At most one of them; none means BIOS."""

    bios: BIOS | None = None
    efi: EFI | None = None


class KernelBootContainer(Wire):
    image: str = ""
    image_pull_secret: str = ""
    image_pull_policy: str = ""
    kernel_path: str = ""
    initrd_path: str = ""


class KernelBoot(Wire):
    kernel_args: str = ""
    container: KernelBootContainer | None = None


class ACPI(Wire):
    """Names of secret volumes that hold ACPI tables."""

    slic_name_ref: str = ""
    msdm_name_ref: str = ""


class Firmware(Wire):
    uuid: str = ""
    serial: str = ""
    bootloader: Bootloader | None = None
    kernel_boot: KernelBoot | None = None
    acpi: ACPI | None = None


class Chassis(Wire):
    manufacturer: str = ""
    version: str = ""
    serial: str = ""
    asset: str = ""
    sku: str = ""


class ClockOffsetUTC(Wire):
    offset_seconds: int | None = None


class ClockTimer(Wire):
    """``present`` None means true. ``track`` is known to rtc only."""

    tick_policy: str = ""
    present: bool | None = None
    track: str = ""


class Timer(Wire):
    hpet: ClockTimer | None = None
    pit: ClockTimer | None = None
    rtc: ClockTimer | None = None
    kvm: ClockTimer | None = None
    hyperv: ClockTimer | None = None


class Clock(Wire):
    """``utc`` or ``timezone``; none means UTC."""

    utc: ClockOffsetUTC | None = None
    timezone: str | None = None
    timer: Timer | None = None


class FeatureAPIC(Wire):
    enabled: bool | None = None
    end_of_interrupt: bool = False


class FeatureKVM(Wire):
    hidden: bool = False


class Features(Wire):
    acpi: FeatureState | None = None
    apic: FeatureAPIC | None = None
    smm: FeatureState | None = None
    kvm: FeatureKVM | None = None
    pvspinlock: FeatureState | None = None
    hyperv: JsonObject | None = None
    hyperv_passthrough: JsonObject | None = None


class IOThreads(Wire):
    supplemental_pool_thread_count: int | None = None


class DomainSpec(Wire):
    resources: ResourceRequirements = ResourceRequirements()
    cpu: CPU | None = None
    memory: Memory | None = None
    machine: Machine | None = None
    firmware: Firmware | None = None
    chassis: Chassis | None = None
    clock: Clock | None = None
    features: Features | None = None
    devices: Devices = Devices()
    io_threads_policy: str | None = None
    io_threads: IOThreads | None = None
    launch_security: JsonObject | None = None
    reboot_policy: str | None = None

    @property
    def has_acpi(self) -> bool:
        """On unless the features say otherwise."""
        return self.features is None or self.features.acpi is None or self.features.acpi.enabled is not False
