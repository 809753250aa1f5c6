"""Identity, machine, firmware, clock and platform features."""

from collections.abc import Mapping

from virt.api import names, passthrough, v1
from virt.launcher.design import compute
from virt.launcher.design.errors import DesignError
from virt.launcher.design.request import Request
from virt.launcher.domain import Apic, Clock, Domain, Features, Metadata, Os, SmbiosEntry, Sysinfo, Timer

DEFAULT_MACHINE = "q35"
# How much translated code TCG keeps, MiB. QEMU's own default is 1 GiB, more than many guests have. A guest of 128 MiB
# boots as fast with 24 as with 64 (4 flushes in all), a tenth of a second later with 20, half a second later with 16.
TB_CACHE_LEAST, TB_CACHE_MOST = 20, 64
_TB_CACHE_PART = 8                  # of the guest's memory
# A node that has devices for guests and no KVM is emulated itself as a rule, and there nearly all of a guest's time is
# translating. A guest of 128 MiB that unplugs a card translates 2400 blocks; with a cache of 20 MiB, which its boot
# fills, 24000. Its pod has 1 GiB more for the devices (virt.controller.vmi.pod.resources), so there is room.
TB_CACHE_WITH_DEVICES = 256
_BOOT_MENU_MS = 10_000
_ARCHITECTURES = {"": "x86_64", "amd64": "x86_64"}
_OVMF = "/usr/share/OVMF"           # Debian's package ovmf


def identity(request: Request) -> Domain:
    """Name, uuid, our notes and what SMBIOS tells the guest."""
    metadata, facts = request.vmi.metadata, request.facts
    firmware = request.asked.firmware or v1.Firmware()
    entries = {
        "manufacturer": facts.smbios_manufacturer,
        "product": facts.smbios_product,
        "version": facts.smbios_version,
        "serial": firmware.serial,
        "uuid": firmware.uuid.lower(),
        "sku": facts.smbios_sku,
        "family": facts.smbios_family,
    }
    given = request.asked.chassis or v1.Chassis()
    chassis = {
        "manufacturer": given.manufacturer, "version": given.version, "serial": given.serial, "asset": given.asset,
        "sku": given.sku,
    }
    return Domain(
        type="kvm" if facts.kvm else "qemu",
        name=names.domain_name(metadata.namespace, metadata.name),
        uuid=firmware.uuid.lower(),
        metadata=Metadata(
            namespace=metadata.namespace, name=metadata.name, uid=metadata.uid,
            grace_period_s=request.spec.grace_s,
        ),
        sysinfo=Sysinfo(type="smbios", system=_smbios(entries), chassis=_smbios(chassis)),
        os=Os(smbios="sysinfo"),
        on_poweroff="destroy", on_reboot="restart", on_crash="destroy",
    )


def _smbios(values: Mapping[str, str]) -> tuple[SmbiosEntry, ...]:
    return tuple(SmbiosEntry(name=name, value=value) for name, value in values.items() if value)


def machine(request: Request) -> Domain:
    architecture = _ARCHITECTURES.get(request.spec.architecture)
    if architecture is None:
        raise DesignError("spec.architecture", f"{request.spec.architecture!r} cannot run here, only amd64 can")
    asked = request.asked.machine or v1.Machine()
    return Domain(os=Os(architecture=architecture, machine=asked.type or DEFAULT_MACHINE, type="hvm"))


def kernel_boot(request: Request) -> Domain:
    """Boot from the kernel and initrd of a container. KubeVirt: pkg/virt-launcher/virtwrap/converter."""
    firmware = request.asked.firmware
    boot = firmware.kernel_boot if firmware else None
    if boot is None:
        return Domain()
    container = boot.container or v1.KernelBootContainer()
    path = "spec.domain.firmware.kernelBoot"
    for name, wanted, given in (("kernelPath", container.kernel_path, request.prepared.kernel),
                                ("initrdPath", container.initrd_path, request.prepared.initrd)):
        if wanted and not given:
            raise DesignError(f"{path}.container.{name}", f"{wanted} of image {container.image} was not made ready")
    if boot.kernel_args and not request.prepared.kernel:
        raise DesignError(f"{path}.kernelArgs", "there is no kernel to give them to")
    return Domain(os=Os(
        kernel=request.prepared.kernel, initrd=request.prepared.initrd, kernel_args=boot.kernel_args,
    ))


def bootloader(request: Request) -> Domain:
    """BIOS unless EFI is asked for; EFI with a file of variables of its own, next to the guest's sockets."""
    loader = (request.asked.firmware or v1.Firmware()).bootloader or v1.Bootloader()
    menu = Os(boot_menu=True, boot_menu_timeout_ms=_BOOT_MENU_MS) if request.spec.start_strategy == "Paused" else Os()
    if loader.efi is not None:
        if loader.bios is not None:
            raise DesignError("spec.domain.firmware.bootloader", "bios and efi exclude each other")
        return Domain(os=_efi(loader.efi, request, menu))
    if loader.bios is not None and loader.bios.use_serial:
        return Domain(os=Os(
            bios_on_serial=True, boot_menu=menu.boot_menu, boot_menu_timeout_ms=menu.boot_menu_timeout_ms,
        ))
    return Domain(os=menu)


def _efi(efi: v1.EFI, request: Request, menu: Os) -> Os:
    secure = efi.secure_boot is not False
    smm = (request.asked.features or v1.Features()).smm
    if secure and (smm is None or smm.enabled is False):
        raise DesignError("spec.domain.firmware.bootloader.efi.secureBoot", "needs spec.domain.features.smm")
    metadata = request.vmi.metadata
    return Os(
        loader=f"{_OVMF}/OVMF_CODE_4M.secboot.fd" if secure else f"{_OVMF}/OVMF_CODE_4M.fd",
        loader_type="pflash", loader_read_only=True, loader_secure=secure,
        nvram=f"{names.PRIVATE_DIR}/{metadata.uid}/nvram.fd",
        nvram_template=f"{_OVMF}/OVMF_VARS_4M.ms.fd" if secure else f"{_OVMF}/OVMF_VARS_4M.fd",
        boot_menu=menu.boot_menu, boot_menu_timeout_ms=menu.boot_menu_timeout_ms,
    )


def features(request: Request) -> Domain:
    """What KVM alone provides is left out under TCG, where QEMU would only complain about it."""
    asked, kvm = request.asked.features or v1.Features(), request.facts.kvm
    apic = asked.apic if asked.apic is not None and asked.apic.enabled is not False else None
    return Domain(features=Features(
        acpi=_is_on(asked.acpi, unset=True),
        apic=Apic(eoi=True if apic.end_of_interrupt else None) if apic is not None else None,
        kvm_hidden=True if kvm and asked.kvm is not None and asked.kvm.hidden else None,
        pv_spinlock=_is_on(asked.pvspinlock, unset=False) if kvm and asked.pvspinlock is not None else None,
        smm=_is_on(asked.smm, unset=False) if asked.smm is not None else None,
        tb_cache=None if kvm else tb_cache_mib(
            compute.memory(request).memory or 0, has_devices=passthrough.has_any(request.spec)),
        tb_cache_unit="" if kvm else "MiB",
    ))


def tb_cache_mib(guest_bytes: int, *, has_devices: bool = False) -> int:
    """More for larger guests, which run more code. ``has_devices``: of the node.

    >>> [tb_cache_mib(mib << 20) for mib in (128, 256, 4096)]
    [20, 32, 64]
    """
    if has_devices:
        return TB_CACHE_WITH_DEVICES
    return min(max(guest_bytes // _TB_CACHE_PART >> 20, TB_CACHE_LEAST), TB_CACHE_MOST)


def _is_on(state: v1.FeatureState | None, *, unset: bool) -> bool:
    return unset if state is None else state.enabled is not False


def clock(request: Request) -> Domain:
    asked = request.asked.clock or v1.Clock()
    timers = _timers(asked.timer or v1.Timer(), kvm=request.facts.kvm)
    if asked.timezone is not None:
        return Domain(clock=Clock(offset="timezone", timezone=asked.timezone, timers=timers))
    if asked.utc is not None and asked.utc.offset_seconds is not None:
        return Domain(clock=Clock(
            offset="variable", basis="utc", adjustment=str(asked.utc.offset_seconds), timers=timers,
        ))
    return Domain(clock=Clock(offset="utc", adjustment="reset" if asked.utc is not None else "", timers=timers))


def _timers(timer: v1.Timer, *, kvm: bool) -> tuple[Timer, ...]:
    ticking = {"hpet": timer.hpet, "pit": timer.pit, "rtc": timer.rtc}
    # Clocks that the guest reads do not tick: no policy, no track.
    read = {"kvmclock": timer.kvm, "hypervclock": timer.hyperv} if kvm else {}
    return (
        *(Timer(name=name, tick_policy=each.tick_policy, track=each.track, present=each.present is not False)
          for name, each in ticking.items() if each is not None),
        *(Timer(name=name, present=each.present is not False) for name, each in read.items() if each is not None),
    )
