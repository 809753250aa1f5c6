"""What may stand in a setting, and which settings go together. Pure; every fault is found in one go."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from typing import Any

from cluster_up.config.types import Config
from cluster_up.images.programs import KUBERNETES_VERSIONS
from cluster_up.machines.model import LEAST_MEMORY_MIB as LEAST_MACHINE_MIB
from cluster_up.machines.model import MOST_CARDS, MOST_MACHINES

_MEMORY = re.compile(r"(\d+)(Mi|Gi)")
_CARDS = re.compile(r"([^\s/,]{1,15}(,[^\s/,]{1,15})*)?")      # the kernel's rule for names of links
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,28}[a-z0-9])?")
LEAST_MEMORY_MIB = 4096


@dataclass(frozen=True)
class Value:
    """A raw setting and where it stands: ``source`` is a file or variable, ``path`` the key in it."""

    raw: Any
    source: str
    path: str


@dataclass(frozen=True)
class _Setting:
    allowed: str
    read: Callable[[Any], Any]         # raises ValueError for what is not allowed


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(raw: Any) -> int:
        # A variable of the environment is text; bool is an int to Python but not to people.
        number = int(raw) if isinstance(raw, str) and raw.isascii() and raw.isdigit() else raw
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            raise ValueError
        return number

    return read


def _matching(pattern: re.Pattern[str]) -> Callable[[Any], str]:
    def read(raw: Any) -> str:
        if not isinstance(raw, str) or not pattern.fullmatch(raw):
            raise ValueError
        return raw

    return read


def _version(raw: Any) -> str:
    if not isinstance(raw, str) or raw.removeprefix("v") not in KUBERNETES_VERSIONS:
        raise ValueError
    return raw.removeprefix("v")


def _memory(least_mib: int) -> Callable[[Any], int]:
    def read(raw: Any) -> int:
        match = _MEMORY.fullmatch(raw) if isinstance(raw, str) else None
        mib = int(match[1]) * (1024 if match[2] == "Gi" else 1) if match else 0
        if mib < least_mib:
            raise ValueError
        return mib

    return read


def _memory_or_all(raw: Any) -> int | None:
    return None if raw == "all" else _memory(LEAST_MEMORY_MIB)(raw)


def _cidr(longest: int) -> Callable[[Any], IPv4Network]:
    def read(raw: Any) -> IPv4Network:
        if not isinstance(raw, str) or "/" not in raw:
            raise ValueError
        network = IPv4Network(raw)     # strict: host bits are a fault, and the error is a ValueError
        if network.prefixlen > longest or network.prefixlen < 8:
            raise ValueError
        return network

    return read


SETTINGS: Mapping[str, _Setting] = {
    "name": _Setting("at most 30 lower-case letters, digits and '-', no '-' at either end", _matching(_NAME)),
    "control_planes": _Setting("1", _whole(1, 1)),
    "workers": _Setting("a whole number from 1 to 10", _whole(1, 10)),
    "kubernetes_version": _Setting(f"one of {', '.join(KUBERNETES_VERSIONS)}", _version),
    "memory": _Setting(f"'all', or an amount of at least {LEAST_MEMORY_MIB}Mi such as '16Gi'", _memory_or_all),
    "pod_cidr": _Setting("an IPv4 network such as '10.244.0.0/16', from /8 to /20", _cidr(20)),
    "service_cidr": _Setting("an IPv4 network such as '10.96.0.0/16', from /8 to /24", _cidr(24)),
    "registry_port": _Setting("a port from 1 to 65535, or 0 for a free one", _whole(0, 65535)),
    "machines": _Setting(f"a whole number from 0 to {MOST_MACHINES}", _whole(0, MOST_MACHINES)),
    "machine_memory": _Setting(
        f"an amount of at least {LEAST_MACHINE_MIB}Mi such as '4Gi'", _memory(LEAST_MACHINE_MIB)),
    "machine_cpus": _Setting("a whole number from 1 to 16", _whole(1, 16)),
    "machine_cards": _Setting(f"a whole number from 0 to {MOST_CARDS}", _whole(0, MOST_CARDS)),
    "cards": _Setting("names of network cards with commas, 'unused' for all that this machine does not need, or "
                      "nothing", _matching(_CARDS)),
}
# Setting -> field of Config, where they differ.
FIELDS: Mapping[str, str] = {"memory": "memory_mib", "machine_memory": "machine_memory_mib"}


def field_of(setting: str) -> str:
    return FIELDS.get(setting, setting)


def checked(values: Mapping[str, Value], defaults: Config) -> tuple[Config, list[str]]:
    """The configuration of ``values`` over ``defaults``, and every fault as a line; with faults, do not use it.

    ``values`` maps a setting's name, known or not, to its last value.
    """
    faults: list[str] = []
    good: dict[str, Any] = {}
    for name, value in values.items():
        where = f"{value.source}: {value.path}"
        setting = SETTINGS.get(name)
        if setting is None:
            faults.append(f"{where}: no such setting; there are: {', '.join(SETTINGS)}")
            continue
        try:
            good[field_of(name)] = setting.read(value.raw)
        except ValueError:
            faults.append(f"{where}: {value.raw!r} is not allowed; allowed: {setting.allowed}")
    config = replace(defaults, **good)
    if config.pod_cidr.overlaps(config.service_cidr):
        where = next((f"{values[n].source}: {n}" for n in ("service_cidr", "pod_cidr") if n in values), "defaults")
        faults.append(f"{where}: pod_cidr {config.pod_cidr} and service_cidr {config.service_cidr} overlap; "
                      "allowed: two networks without a common address")  # fmt: skip
    return config, faults
