"""What cluster_up asks of whatever makes the nodes. Steps and commands know nodes only through this."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from cluster_up.config.types import Config


class Existence(Enum):
    ABSENT = "absent"
    PARTIAL = "partial"           # ours, but making it was interrupted
    OURS = "ours"
    FOREIGN = "foreign"           # of this name, made by somebody else


@dataclass(frozen=True)
class NodeView:
    """A node as its provider sees it, which may be more than Kubernetes knows (a stopped one) or less (not joined)."""

    name: str
    role: str                     # "control-plane", "worker", or "machine": a worker that is a virtual machine
    address: str                  # IPv4 on the cluster's network; empty while stopped
    running: bool
    started: float = 0.0          # seconds since 1970


class Provider(Protocol):
    """Nodes of one cluster. Every method may raise RunError, with the command that failed."""

    def existence(self) -> Existence: ...

    def create(self, config: Config, image: str, registry_port: int) -> None:
        """Make nodes with a running control plane, no pod network yet. Blocks some minutes at most."""

    def delete(self) -> None:
        """Take away nodes, network and volumes; nothing happens where nothing is."""

    def nodes(self) -> tuple[NodeView, ...]:
        """Control planes first, then workers, each by name."""
        ...

    def start(self) -> None:
        """Start nodes that are stopped; write a kubeconfig that was lost again."""

    def run(self, node: str, script: str, *, deadline_s: float = 60.0) -> str:
        """Output of a shell script on a node, as root. Raises RunError when it fails."""
        ...

    def shell(self, node: str) -> int:
        """Give the person a shell on a node; returns its exit code."""
        ...

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, mode 0600."""
        ...

    @property
    def network(self) -> str:
        """Engine network that nodes and registry share."""
        ...
