"""Network cards."""

from dataclasses import dataclass

from virt.launcher.domain.codec import Element, at
from virt.launcher.domain.disk import Address


@dataclass(frozen=True, kw_only=True)
class Interface(Element):
    """``managed`` False: the tap exists already and libvirt only opens it."""

    type: str = at("@type", "")
    mac: str = at("mac/@address", "")
    tap: str = at("target/@dev", "")
    managed: bool | None = at("target/@managed", None)
    model: str = at("model/@type", "")
    driver: str = at("driver/@name", "")
    queues: int | None = at("driver/@queues", None)
    mtu: int | None = at("mtu/@size", None)
    link: str = at("link/@state", "")
    rom_enabled: bool | None = at("rom/@enabled", None)
    boot_order: int | None = at("boot/@order", None)
    alias: str = at("alias/@name", "")
    address: Address | None = at("address", None)
