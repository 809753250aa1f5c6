"""Devices of a domain."""

from virt.api.v1.network import Interface
from virt.api.wire import JsonObject, Wire


class DiskTarget(Wire):
    """``bus``: virtio, sata, scsi, usb."""

    bus: str = ""
    readonly: bool = False
    pci_address: str = ""


class LunTarget(Wire):
    bus: str = ""
    readonly: bool = False
    reservation: bool = False


class CDRomTarget(Wire):
    """``readonly`` None means true; ``tray``: closed (also when empty) or open."""

    bus: str = ""
    readonly: bool | None = None
    tray: str = ""


class CustomBlockSize(Wire):
    logical: int = 0
    physical: int = 0
    discard_granularity: int | None = None


class FeatureState(Wire):
    """``enabled`` None means true: naming the feature switches it on."""

    enabled: bool | None = None


class BlockSize(Wire):
    custom: CustomBlockSize | None = None
    match_volume: FeatureState | None = None


class Disk(Wire):
    """One target at most; none means ``disk``. ``io``: native, threads. ``cache``: none, writethrough, writeback."""

    name: str = ""
    disk: DiskTarget | None = None
    lun: LunTarget | None = None
    cdrom: CDRomTarget | None = None
    boot_order: int | None = None
    serial: str = ""
    dedicated_io_thread: bool | None = None
    cache: str = ""
    io: str = ""
    tag: str = ""
    block_size: BlockSize | None = None
    shareable: bool | None = None
    error_policy: str | None = None


class Rng(Wire):
    """A virtio random number generator fed from /dev/urandom."""


class I6300ESBWatchdog(Wire):
    """``action``: reset (also when empty), poweroff, shutdown."""

    action: str = ""


class Diag288Watchdog(I6300ESBWatchdog):
    """The watchdog of s390x."""


class Watchdog(Wire):
    name: str = ""
    i6300esb: I6300ESBWatchdog | None = None
    diag288: Diag288Watchdog | None = None


class Input(Wire):
    """``type``: tablet; ``bus``: usb (also when empty) or virtio."""

    name: str = ""
    type: str = ""
    bus: str = ""


class TPMDevice(Wire):
    """``enabled`` None means true."""

    enabled: bool | None = None
    persistent: bool | None = None


class HostDevice(Wire):
    name: str = ""
    device_name: str = ""
    tag: str = ""


class GPU(Wire):
    name: str = ""
    device_name: str = ""
    tag: str = ""
    virtual_gpu_options: JsonObject | None = None


class Filesystem(Wire):
    name: str = ""
    virtiofs: JsonObject | None = None


class ClientPassthroughDevices(Wire):
    """USB redirection slots."""


class DownwardMetrics(Wire):
    """The virtio-serial form of downward metrics."""


class SoundDevice(Wire):
    name: str = ""
    model: str = ""


class VideoDevice(Wire):
    type: str = ""


class PanicDevice(Wire):
    model: str | None = None


class Devices(Wire):
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    inputs: tuple[Input, ...] = ()
    rng: Rng | None = None
    watchdog: Watchdog | None = None
    tpm: TPMDevice | None = None
    autoattach_pod_interface: bool | None = None
    autoattach_graphics_device: bool | None = None
    autoattach_serial_console: bool | None = None
    autoattach_mem_balloon: bool | None = None
    autoattach_input_device: bool | None = None
    autoattach_vsock: bool | None = None
    log_serial_console: bool | None = None
    network_interface_multiqueue: bool | None = None
    block_multi_queue: bool | None = None
    use_virtio_transitional: bool | None = None
    disable_hotplug: bool = False
    host_devices: tuple[HostDevice, ...] = ()
    gpus: tuple[GPU, ...] = ()
    filesystems: tuple[Filesystem, ...] = ()
    client_passthrough: ClientPassthroughDevices | None = None
    downward_metrics: DownwardMetrics | None = None
    sound: SoundDevice | None = None
    video: VideoDevice | None = None
    panic_devices: tuple[PanicDevice, ...] = ()
