"""The small part of a VMI that the launcher's long-lived process needs, read without the weight of the whole type.

The types of the whole API take megabytes once they are used to decode. Only the process that drafts the domain uses
them (virt.launcher.drafting), and it ends before the guest starts.
"""

from typing import Any

import msgspec

from virt.api import names


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class _Metadata(_Part, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""


class _Disk(_Part, frozen=True):
    name: str = ""


class _Devices(_Part, frozen=True):
    disks: tuple[_Disk, ...] = ()


class _KernelBoot(_Part, frozen=True):
    container: dict[str, Any] | None = None


class _Firmware(_Part, frozen=True):
    kernel_boot: _KernelBoot | None = None


class _Acpi(_Part, frozen=True):
    enabled: bool | None = None


class _Features(_Part, frozen=True):
    acpi: _Acpi | None = None


class _Domain(_Part, frozen=True):
    devices: _Devices = _Devices()
    firmware: _Firmware | None = None
    features: _Features | None = None


class _Volume(_Part, frozen=True):
    name: str = ""
    container_disk: dict[str, Any] | None = None


class _Spec(_Part, frozen=True):
    domain: _Domain = _Domain()
    volumes: tuple[_Volume, ...] = ()
    start_strategy: str | None = None
    termination_grace_period_seconds: int | None = None


class Outline(_Part, frozen=True):
    """A VMI, as far as :func:`virt.api.codec.decode` reads it into this."""

    metadata: _Metadata = _Metadata()
    spec: _Spec = _Spec()

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def has_power_button(self) -> bool:
        """Without ACPI there is none, though firmware may bring tables of its own that a guest finds one in."""
        features = self.spec.domain.features
        return features is None or features.acpi is None or features.acpi.enabled is not False

    @property
    def container_volumes(self) -> tuple[str, ...]:
        """Volumes whose files come from containers, that of kernelBoot among them."""
        used = {disk.name for disk in self.spec.domain.devices.disks}
        firmware = self.spec.domain.firmware
        kernel_boot = firmware.kernel_boot if firmware else None
        boots = kernel_boot is not None and kernel_boot.container is not None
        return (
            *(each.name for each in self.spec.volumes if each.container_disk is not None and each.name in used),
            *((names.KERNEL_BOOT_VOLUME,) if boots else ()),
        )
