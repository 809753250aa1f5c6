"""The configuration that all code reads: frozen, complete, checked."""

from dataclasses import dataclass
from ipaddress import IPv4Network

_PODS = IPv4Network("10.244.0.0/16")
_SERVICES = IPv4Network("10.96.0.0/16")


@dataclass(frozen=True)
class Config:
    """One cluster. ``memory_mib`` is what its nodes may give to pods in all; None: all that the machine has.

    ``registry_port`` 0 means that a free one is chosen when the registry is made. ``machines``: workers that are
    virtual machines with SR-IOV cards, each with so much memory, processors and cards. ``cards``: network cards of this
    machine that workers borrow, names with commas or "unused".
    """

    name: str = "dev"
    control_planes: int = 1
    workers: int = 2
    kubernetes_version: str = "1.34.4"
    memory_mib: int | None = None
    pod_cidr: IPv4Network = _PODS
    service_cidr: IPv4Network = _SERVICES
    registry_port: int = 0
    machines: int = 0
    machine_memory_mib: int = 4096
    machine_cpus: int = 2
    machine_cards: int = 2
    cards: str = ""


@dataclass(frozen=True)
class Loaded:
    """A configuration and where each of its values came from (field name -> words for people)."""

    config: Config
    sources: dict[str, str]
