"""Answers of the QEMU guest agent as types (qemu/qga/qapi-schema.json).

The guest is not trusted: what does not fit is left out, texts and lists are cut, so that nothing it says grows the
status of a VMI without end.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from virt.api import guestos
from virt.api.guestos import VirtualMachineInstanceGuestOSInfo
from virt.rpc.messages import GuestInterface

MOST_ITEMS = 64
LONGEST_TEXT = 256
T = TypeVar("T")


class _Command(msgspec.Struct, rename="kebab", frozen=True):
    name: str = ""
    enabled: bool = False


class _Info(msgspec.Struct, rename="kebab", frozen=True):
    version: str = ""
    supported_commands: tuple[Any, ...] = msgspec.field(default=(), name="supported_commands")   # the one that is not


# The agent says what the API says, in other letters: "pretty-name" for prettyName.
_OsInfo = msgspec.defstruct(
    "_OsInfo", [(name, str, "") for name in VirtualMachineInstanceGuestOSInfo.__struct_fields__], rename="kebab",
    frozen=True,
)


class _Address(msgspec.Struct, rename="kebab", frozen=True):
    ip_address: str = ""


class _Interface(msgspec.Struct, rename="kebab", frozen=True):
    name: str = ""
    hardware_address: str = ""
    ip_addresses: tuple[Any, ...] = ()


class _User(msgspec.Struct, rename="kebab", frozen=True):
    user: str = ""
    domain: str = ""
    login_time: float = 0.0


class _Disk(msgspec.Struct, rename="kebab", frozen=True):
    serial: str = ""
    bus_type: str = ""


class _FileSystem(msgspec.Struct, rename="kebab", frozen=True):
    name: str = ""
    mountpoint: str = ""
    type: str = ""
    used_bytes: int = 0
    total_bytes: int = 0
    disk: tuple[Any, ...] = ()


@dataclass(frozen=True)
class GuestFacts:
    """What goes into the status of the domain."""

    version: str = ""
    commands: tuple[str, ...] = ()
    os: Mapping[str, str] = field(default_factory=dict)
    interfaces: tuple[GuestInterface, ...] = ()


def _text(value: str) -> str:
    return "".join(letter for letter in value[:LONGEST_TEXT] if letter.isprintable())


def _read(value: object, type_: type[T]) -> T | None:
    try:
        return msgspec.convert(value, type_, strict=True)
    except msgspec.ValidationError:
        return None


def _items(value: object, type_: type[T]) -> list[T]:
    found = (_read(item, type_) for item in value[:MOST_ITEMS]) if isinstance(value, list | tuple) else ()
    return [item for item in found if item is not None]


def version_and_commands(answer: object) -> tuple[str, tuple[guestos.GuestAgentCommandInfo, ...]]:
    """guest-info."""
    info = _read(answer, _Info) or _Info()
    found = (_read(item, _Command) for item in info.supported_commands[: 4 * MOST_ITEMS])
    commands = tuple(
        guestos.GuestAgentCommandInfo(name=_text(command.name), enabled=command.enabled)
        for command in found if command is not None
    )  # fmt: skip
    return _text(info.version), commands


def os_info(answer: object) -> VirtualMachineInstanceGuestOSInfo:
    """guest-get-osinfo."""
    info = _read(answer, _OsInfo) or _OsInfo()
    return VirtualMachineInstanceGuestOSInfo(**{name: _text(getattr(info, name)) for name in _OsInfo.__struct_fields__})


def interfaces(answer: object) -> tuple[GuestInterface, ...]:
    """guest-network-get-interfaces, without the loopback; addresses that are none are left out."""
    found = []
    for interface in _items(answer, _Interface):
        if interface.name == "lo":
            continue
        addresses = (_address(each.ip_address) for each in _items(interface.ip_addresses, _Address))
        name, mac = _text(interface.name), _text(interface.hardware_address)
        found.append(GuestInterface(name=name, mac=mac, ips=tuple(filter(None, addresses))))
    return tuple(found)


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.split("%", 1)[0]))
    except ValueError:
        return ""


def host_name(answer: object) -> str:
    """guest-get-host-name."""
    return _text(str(answer.get("host-name", ""))) if isinstance(answer, dict) else ""


def time_zone(answer: object) -> str:
    """guest-get-timezone: "UTC, 0", the name and seconds east of Greenwich."""
    if not isinstance(answer, dict) or not isinstance(answer.get("offset"), int):
        return ""
    return _text(f"{_text(str(answer.get('zone', '')))}, {answer['offset']}")


def users(answer: object) -> tuple[guestos.VirtualMachineInstanceGuestOSUser, ...]:
    """guest-get-users."""
    return tuple(
        guestos.VirtualMachineInstanceGuestOSUser(
            user_name=_text(user.user), domain=_text(user.domain), login_time=user.login_time
        )
        for user in _items(answer, _User)
    )


def file_systems(answer: object) -> tuple[guestos.VirtualMachineInstanceFileSystem, ...]:
    """guest-get-fsinfo."""
    return tuple(
        guestos.VirtualMachineInstanceFileSystem(
            disk_name=_text(each.name), mount_point=_text(each.mountpoint), file_system_type=_text(each.type),
            used_bytes=each.used_bytes, total_bytes=each.total_bytes,
            disk=tuple(_disk(disk) for disk in _items(each.disk, _Disk)),
        )
        for each in _items(answer, _FileSystem)
    )


def _disk(disk: _Disk) -> guestos.VirtualMachineInstanceFileSystemDisk:
    return guestos.VirtualMachineInstanceFileSystemDisk(serial=_text(disk.serial), bus_type=_text(disk.bus_type))
