"""Controllers, display, input and the small devices."""

from dataclasses import dataclass

from virt.launcher.domain.codec import ON_OFF, Element, at
from virt.launcher.domain.disk import Address


@dataclass(frozen=True, kw_only=True)
class Controller(Element):
    """``ports``: of a virtio-serial controller."""

    type: str = at("@type", "")
    index: int | None = at("@index", None)
    model: str = at("@model", "")
    ports: int | None = at("@ports", None)
    address: Address | None = at("address", None)


@dataclass(frozen=True, kw_only=True)
class Listen(Element):
    type: str = at("@type", "")
    socket: str = at("@socket", "")


@dataclass(frozen=True, kw_only=True)
class Graphics(Element):
    type: str = at("@type", "")
    listen: Listen | None = at("listen", None)


@dataclass(frozen=True, kw_only=True)
class Video(Element):
    """``memory_kib``: video memory."""

    model: str = at("model/@type", "")
    heads: int | None = at("model/@heads", None)
    memory_kib: int | None = at("model/@vram", None)


@dataclass(frozen=True, kw_only=True)
class Input(Element):
    type: str = at("@type", "")
    bus: str = at("@bus", "")
    model: str = at("@model", "")
    alias: str = at("alias/@name", "")


@dataclass(frozen=True, kw_only=True)
class Rng(Element):
    """``backend`` random: bytes come from the file ``source``."""

    model: str = at("@model", "")
    backend: str = at("backend/@model", "")
    source: str = at("backend", "")


@dataclass(frozen=True, kw_only=True)
class Watchdog(Element):
    model: str = at("@model", "")
    action: str = at("@action", "")
    alias: str = at("alias/@name", "")


@dataclass(frozen=True, kw_only=True)
class Panic(Element):
    model: str = at("@model", "")


@dataclass(frozen=True, kw_only=True)
class Balloon(Element):
    model: str = at("@model", "")
    free_page_reporting: bool | None = at("@freePageReporting", None, words=ON_OFF)
    stats_period_s: int | None = at("stats/@period", None)
