"""Disks and CD-ROMs."""

from dataclasses import dataclass

from virt.launcher.domain.codec import ON_OFF, Element, at


@dataclass(frozen=True, kw_only=True)
class Address(Element):
    """Where a device is on its bus. ``type`` pci: the parts in hexadecimal, as libvirt writes them ("0x10"); drive:
    ``controller``, ``bus``, ``target`` and ``unit``; usb: ``bus`` and ``port``, or ``device`` where it is on the node;
    ``uuid``: of a mediated device."""

    type: str = at("@type", "")
    domain: str = at("@domain", "")
    controller: str = at("@controller", "")
    bus: str = at("@bus", "")
    slot: str = at("@slot", "")
    function: str = at("@function", "")
    target: str = at("@target", "")
    unit: str = at("@unit", "")
    port: str = at("@port", "")
    device: str = at("@device", "")
    uuid: str = at("@uuid", "")


@dataclass(frozen=True, kw_only=True)
class Disk(Element):
    """``type``: file (``file``) or block (``device_path``); ``device``: disk or cdrom."""

    type: str = at("@type", "")
    device: str = at("@device", "")
    model: str = at("@model", "")
    driver: str = at("driver/@name", "")
    format: str = at("driver/@type", "")
    cache: str = at("driver/@cache", "")
    io: str = at("driver/@io", "")
    error_policy: str = at("driver/@error_policy", "")
    discard: str = at("driver/@discard", "")
    queues: int | None = at("driver/@queues", None)
    event_idx: bool | None = at("driver/@event_idx", None, words=ON_OFF)
    file: str = at("source/@file", "")
    device_path: str = at("source/@dev", "")
    target: str = at("target/@dev", "")
    bus: str = at("target/@bus", "")
    tray: str = at("target/@tray", "")
    serial: str = at("serial", "")
    read_only: bool = at("readonly", False)
    shareable: bool = at("shareable", False)
    boot_order: int | None = at("boot/@order", None)
    alias: str = at("alias/@name", "")
    address: Address | None = at("address", None)
