"""The small devices and the controllers that all others hang on."""

from virt.api import v1
from virt.launcher.alias import alias
from virt.launcher.design import hostdevices
from virt.launcher.design.disks import bus
from virt.launcher.design.errors import DesignError
from virt.launcher.design.models import VIRTIO_MODEL
from virt.launcher.design.request import Request
from virt.launcher.domain import Balloon, Controller, Devices, Domain, Input, Panic, Rng, Watchdog

_RANDOM = "/dev/urandom"


def storage_controller(request: Request) -> Domain:
    """A virtio SCSI controller, in every guest: disks are hot-plugged on it."""
    return Domain(devices=Devices(controllers=(Controller(type="scsi", index=0, model=VIRTIO_MODEL),)))


def usb(request: Request) -> Domain:
    """A USB controller only where something needs one; without "none" libvirt adds one by itself."""
    wanted = any(each.bus in ("", "usb") for each in inputs_of(request.devices)) or any(
        bus(disk) == "usb" for disk in request.devices.disks) or hostdevices.has_usb(request)
    return Domain(devices=Devices(controllers=(
        Controller(type="usb", index=0, model="qemu-xhci" if wanted else "none"),)))


def balloon(request: Request) -> Domain:
    if request.devices.autoattach_mem_balloon is False:
        return Domain(devices=Devices(balloon=Balloon(model="none")))
    return Domain(devices=Devices(balloon=Balloon(
        model=VIRTIO_MODEL, free_page_reporting=request.facts.free_page_reporting,
        stats_period_s=request.facts.balloon_stats_period_s or None,
    )))


def rng(request: Request) -> Domain:
    if request.devices.rng is None:
        return Domain()
    return Domain(devices=Devices(rngs=(Rng(model=VIRTIO_MODEL, backend="random", source=_RANDOM),)))


def watchdog(request: Request) -> Domain:
    asked = request.devices.watchdog
    if asked is None:
        return Domain()
    if asked.diag288 is not None:
        raise DesignError("spec.domain.devices.watchdog.diag288", "only i6300esb exists on amd64")
    action = asked.i6300esb.action if asked.i6300esb is not None else ""
    return Domain(devices=Devices(watchdogs=(Watchdog(
        model="i6300esb", action=action or "reset", alias=alias(asked.name) if asked.name else "",
    ),)))


def panic(request: Request) -> Domain:
    """How a guest tells that its kernel died; isa unless another model is asked for, as libvirt would choose."""
    panics = tuple(Panic(model=each.model or "isa") for each in request.devices.panic_devices)
    return Domain(devices=Devices(panics=panics))


def inputs(request: Request) -> Domain:
    return Domain(devices=Devices(inputs=tuple(
        Input(
            type=each.type or "tablet", bus=each.bus or "usb", model="virtio" if each.bus == "virtio" else "",
            alias=alias(each.name) if each.name else "",
        )
        for each in inputs_of(request.devices)
    )))


def inputs_of(devices: v1.Devices) -> tuple[v1.Input, ...]:
    if devices.autoattach_input_device and not devices.inputs:
        return (v1.Input(name="default-0", type="tablet", bus="usb"),)
    return devices.inputs
