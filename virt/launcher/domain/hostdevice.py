"""Devices of the node that the guest has for itself."""

from dataclasses import dataclass

from virt.launcher.domain.codec import Element, at
from virt.launcher.domain.disk import Address


@dataclass(frozen=True, kw_only=True)
class HostDevice(Element):
    """``type``: pci, usb or mdev, which has a ``model``. ``source``: where it is on the node; ``address``: where the
    guest shall see it. ``managed`` False: somebody else binds its driver."""

    mode: str = at("@mode", "")
    type: str = at("@type", "")
    managed: bool | None = at("@managed", None)
    model: str = at("@model", "")
    source: Address | None = at("source/address", None)
    boot_order: int | None = at("boot/@order", None)
    alias: str = at("alias/@name", "")
    address: Address | None = at("address", None)
