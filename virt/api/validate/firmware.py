"""Firmware, clock, small devices and I/O threads of a VMI: rules 37 to 42, 51 and 52 of the specification."""

import re

from virt.api import v1
from virt.api.validate.causes import Causes, file_path, invalid, not_supported, one_of, required

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_WATCHDOG_ACTIONS = ("reset", "poweroff", "shutdown")
_PANIC_MODELS = ("isa", "pvpanic", "hyperv")
_TICK_POLICIES = ("delay", "catchup", "merge", "discard")


def causes(path: str, domain: v1.DomainSpec) -> Causes:
    if domain.firmware is not None:
        yield from _firmware(f"{path}.firmware", domain.firmware)
        yield from _bootloader(path, domain)
    if domain.clock is not None:
        yield from _clock(f"{path}.clock", domain.clock)
    for index, entry in enumerate(domain.devices.inputs):
        field = f"{path}.devices.inputs[{index}]"
        if entry.bus not in ("", "usb", "virtio"):
            yield invalid(f"{field}.bus", "Input device can have only virtio or usb bus.")
        if entry.type not in ("", "tablet"):
            yield invalid(f"{field}.type", "Input device can have only tablet type.")
    watchdog = domain.devices.watchdog
    if watchdog is not None and watchdog.i6300esb is not None:
        yield from one_of(f"{path}.devices.watchdog.i6300esb.action", watchdog.i6300esb.action, _WATCHDOG_ACTIONS,
                          "action")
    for index, panic in enumerate(domain.devices.panic_devices):
        yield from one_of(f"{path}.devices.panicDevices[{index}].model", panic.model or "", _PANIC_MODELS, "model")
    if domain.io_threads_policy is not None:
        yield from one_of(f"{path}.ioThreadsPolicy", domain.io_threads_policy or "empty",
                          ("shared", "auto", "supplementalPool"), "policy")


def _firmware(path: str, firmware: v1.Firmware) -> Causes:
    if firmware.uuid and _UUID.fullmatch(firmware.uuid) is None:
        yield invalid(f"{path}.uuid", f"{path}.uuid {firmware.uuid!r} is no UUID")
    if len(firmware.serial) > 256:
        yield invalid(f"{path}.serial", f"{path}.serial must be at most 256 characters")
    boot = firmware.kernel_boot
    if boot is None:
        return
    container = boot.container
    if boot.kernel_args and (container is None or not container.kernel_path):
        yield invalid(f"{path}.kernelBoot.kernelArgs", "kernel arguments cannot be provided without an external kernel")
    if container is None:
        return
    path = f"{path}.kernelBoot.container"
    if not container.image:
        yield required(f"{path}.image", f"{path} must be defined with an image")
    if not container.kernel_path and not container.initrd_path:
        yield required(path, f"{path} must be defined with at least one of the following: kernelPath, initrdPath")
    for name, value in (("kernelPath", container.kernel_path), ("initrdPath", container.initrd_path)):
        if value:
            yield from file_path(f"{path}.{name}", value)
    yield from one_of(f"{path}.imagePullPolicy", container.image_pull_policy, PULL_POLICIES, "policy")


def _bootloader(path: str, domain: v1.DomainSpec) -> Causes:
    bootloader = domain.firmware.bootloader if domain.firmware else None
    efi = bootloader.efi if bootloader else None
    if bootloader is None or efi is None:
        return
    if bootloader.bios is not None:
        field = f"{path}.firmware.bootloader"
        yield invalid(field, f"{field} has both EFI and BIOS configured, but they are mutually exclusive.")
    smm = domain.features.smm if domain.features else None
    if efi.secure_boot is not False and (smm is None or smm.enabled is False):
        yield invalid(path, f"{path} has EFI SecureBoot enabled. SecureBoot requires SMM, which is currently disabled.")


def _clock(path: str, clock: v1.Clock) -> Causes:
    if clock.utc is not None and clock.timezone is not None:
        yield invalid(path, f"{path} has both utc and timezone configured, but they are mutually exclusive.")
    timer = clock.timer or v1.Timer()
    timers = {"hpet": timer.hpet, "pit": timer.pit, "rtc": timer.rtc, "kvm": timer.kvm, "hyperv": timer.hyperv}
    for name, given in timers.items():
        if given is None:
            continue
        yield from one_of(f"{path}.timer.{name}.tickPolicy", given.tick_policy, _TICK_POLICIES, "tick policy")
        if given.track and (name != "rtc" or given.track not in ("guest", "wall")):
            field = f"{path}.timer.{name}.track"
            yield not_supported(field, f"{field} {given.track!r} is not supported")
