"""What the guest runs on: boot, firmware, processors, clock, platform features, SMBIOS."""

from dataclasses import dataclass

from virt.launcher.domain.codec import ON_OFF, Element, at


@dataclass(frozen=True, kw_only=True)
class Os(Element):
    """``loader``: read-only firmware image; ``nvram``: its variables, copied from ``nvram_template`` at the start."""

    architecture: str = at("type/@arch", "")
    machine: str = at("type/@machine", "")
    type: str = at("type", "")
    loader_read_only: bool | None = at("loader/@readonly", None)
    loader_secure: bool | None = at("loader/@secure", None)
    loader_type: str = at("loader/@type", "")
    loader: str = at("loader", "")
    nvram_template: str = at("nvram/@template", "")
    nvram: str = at("nvram", "")
    kernel: str = at("kernel", "")
    initrd: str = at("initrd", "")
    kernel_args: str = at("cmdline", "")
    bios_on_serial: bool | None = at("bios/@useserial", None)
    boot_menu: bool | None = at("bootmenu/@enable", None)
    boot_menu_timeout_ms: int | None = at("bootmenu/@timeout", None)
    smbios: str = at("smbios/@mode", "")


@dataclass(frozen=True, kw_only=True)
class CpuFeature(Element):
    policy: str = at("@policy", "")
    name: str = at("@name", "")


@dataclass(frozen=True, kw_only=True)
class Cpu(Element):
    mode: str = at("@mode", "")
    match: str = at("@match", "")
    check: str = at("@check", "")
    model: str = at("model", "")
    fallback: str = at("model/@fallback", "")
    sockets: int | None = at("topology/@sockets", None)
    cores: int | None = at("topology/@cores", None)
    threads: int | None = at("topology/@threads", None)
    features: tuple[CpuFeature, ...] = at("feature", ())


@dataclass(frozen=True, kw_only=True)
class Apic(Element):
    """``eoi``: paravirtual end of interrupt."""

    eoi: bool | None = at("@eoi", None, words=ON_OFF)


@dataclass(frozen=True, kw_only=True)
class Features(Element):
    """``tb_cache``: how much translated code TCG keeps."""

    acpi: bool = at("acpi", False)
    apic: Apic | None = at("apic", None)
    kvm_hidden: bool | None = at("kvm/hidden/@state", None, words=ON_OFF)
    pv_spinlock: bool | None = at("pvspinlock/@state", None, words=ON_OFF)
    smm: bool | None = at("smm/@state", None, words=ON_OFF)
    tb_cache_unit: str = at("tcg/tb-cache/@unit", "")
    tb_cache: int | None = at("tcg/tb-cache", None)


@dataclass(frozen=True, kw_only=True)
class Timer(Element):
    name: str = at("@name", "")
    tick_policy: str = at("@tickpolicy", "")
    track: str = at("@track", "")
    present: bool | None = at("@present", None)


@dataclass(frozen=True, kw_only=True)
class Clock(Element):
    """``adjustment``: seconds with ``offset`` variable, else "reset"."""

    offset: str = at("@offset", "")
    timezone: str = at("@timezone", "")
    basis: str = at("@basis", "")
    adjustment: str = at("@adjustment", "")
    timers: tuple[Timer, ...] = at("timer", ())


@dataclass(frozen=True, kw_only=True)
class SmbiosEntry(Element):
    name: str = at("@name", "")
    value: str = at(".", "")


@dataclass(frozen=True, kw_only=True)
class Sysinfo(Element):
    type: str = at("@type", "")
    system: tuple[SmbiosEntry, ...] = at("system/entry", ())
    chassis: tuple[SmbiosEntry, ...] = at("chassis/entry", ())
