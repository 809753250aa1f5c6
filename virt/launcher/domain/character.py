"""Character devices: serial ports, consoles and channels between host and guest."""

from dataclasses import dataclass

from virt.launcher.domain.codec import ON_OFF, Element, at


@dataclass(frozen=True, kw_only=True)
class Serial(Element):
    """``mode`` bind: QEMU listens on the socket ``path``. ``log``: a file that gets all that the guest writes."""

    type: str = at("@type", "")
    mode: str = at("source/@mode", "")
    path: str = at("source/@path", "")
    log: str = at("log/@file", "")
    log_append: bool | None = at("log/@append", None, words=ON_OFF)
    port: int | None = at("target/@port", None)
    alias: str = at("alias/@name", "")


@dataclass(frozen=True, kw_only=True)
class Channel(Element):
    """A virtio-serial port. Without ``path`` libvirt chooses one. ``state``: of a live domain, "connected" or not."""

    type: str = at("@type", "")
    mode: str = at("source/@mode", "")
    path: str = at("source/@path", "")
    target: str = at("target/@type", "")
    name: str = at("target/@name", "")
    state: str = at("target/@state", "")
