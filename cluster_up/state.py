"""Where a cluster is and what it can do: one JSON file per cluster, written whole or not at all.

It holds no secret. What it says can be found out again from the engine and the API, but for the measured times.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from cluster_up.errors import ClusterError
from cluster_up.paths import cluster_folder, state_root

SCHEMA = 1


class StateError(ClusterError):
    reference = "bad-state-file"
    hint = "`python -m cluster_up down` takes the cluster away, whatever the file says"


class Node(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    role: str                      # "control-plane", "worker" or "machine"
    address: str = ""              # IPv4 on the cluster's network
    pod_cidr: str = ""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A worker that is a virtual machine, as it was asked for."""

    number: int
    memory_mib: int
    cpus: int
    cards: int


class LentCard(msgspec.Struct, frozen=True, kw_only=True):
    """A network card of this machine that a node has. ``most``: virtual functions that it can have; ``functions`` and
    ``is_up``: as it was before."""

    address: str
    name: str
    most: int
    functions: int = 0
    is_up: bool = False
    node: str = ""

    def at(self, node: str) -> "LentCard":
        return msgspec.structs.replace(self, node=node)


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What functional tests may ask for; a test that needs what is False is skipped with that reason."""

    kvm: bool = False              # a guest booted on /dev/kvm of this machine
    sriov: bool = False
    shared: bool = False           # a storage class with ReadWriteMany
    netpol: bool = False           # NetworkPolicy is enforced
    snapshot: bool = False
    segments: bool = False         # networks of the second layer that span the workers


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The last time that a step really ran. ``finished`` is seconds since 1970."""

    seconds: float
    finished: float


class State(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    name: str
    schema: int = SCHEMA
    kubernetes_version: str = ""
    pod_cidr: str = ""
    service_cidr: str = ""
    workers: int = 0
    kubeconfig: str = ""
    registry_port: int = 0
    node_image: str = ""
    nodes: tuple[Node, ...] = ()
    machines: tuple[Machine, ...] = ()
    cards: tuple[LentCard, ...] = ()
    capabilities: Capabilities = Capabilities()
    component_images: Mapping[str, str] = {}
    guest_images: Mapping[str, Mapping[str, Any]] = {}
    applied: Mapping[str, str] = {}        # step -> hash of what it put into the cluster
    steps: Mapping[str, Step] = {}

    @property
    def registry(self) -> str:
        """Host and port in front of every reference to an image of this cluster."""
        return f"localhost:{self.registry_port}"


def file_of(name: str) -> Path:
    return cluster_folder(name) / "state.json"


def read(name: str) -> State | None:
    """The state of a cluster; None when there is no file. Raises StateError for a file that is damaged or newer."""
    file = file_of(name)
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(data, type=State)
    except msgspec.MsgspecError as error:
        raise StateError(f"{file} is damaged: {error}") from error
    if found.schema != SCHEMA:
        raise StateError(f"{file} has schema {found.schema}; this version knows {SCHEMA}")
    return found


def write(state: State) -> None:
    """Replace the file; a crash leaves the old one or the new one."""
    file = file_of(state.name)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    with part.open("wb") as handle:
        handle.write(msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
        handle.flush()
        os.fsync(handle.fileno())
    part.rename(file)


def names() -> list[str]:
    """All clusters that have a state file."""
    return sorted(file.parent.name for file in state_root().glob("*/state.json"))
