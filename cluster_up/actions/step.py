"""What a step of ``up`` is, and what every step gets."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from cluster_up import state as states
from cluster_up.config.types import Config
from cluster_up.kube import Kube
from cluster_up.progress import Reporter
from cluster_up.providers.api import Provider


class Run:
    """One ``up`` or ``sync`` of one cluster: what was asked for, what is there, where to report."""

    def __init__(self, config: Config, state: states.State, provider: Provider, report: Reporter) -> None:
        self.config = config
        self.state = state
        self.provider = provider
        self.report = report

    def remember(self, **changes: Any) -> None:
        """Replace fields of the state and write its file."""
        self.state = msgspec.structs.replace(self.state, **changes)
        states.write(self.state)

    def learn(self, **abilities: bool) -> None:
        """Replace fields of the state's capabilities."""
        self.remember(capabilities=msgspec.structs.replace(self.state.capabilities, **abilities))

    def mark_applied(self, step: str, identity: str) -> None:
        self.remember(applied={**self.state.applied, step: identity})

    @cached_property
    def kube(self) -> Kube:
        return Kube(self.provider.kubeconfig)


@dataclass(frozen=True)
class Step:
    """``is_done`` looks and changes nothing; ``perform`` may be killed at any point and started again.

    After ``perform`` the step is done, or it has raised a ClusterError.
    """

    name: str                      # as `--until` takes it
    title: str
    is_done: Callable[[Run], bool]
    perform: Callable[[Run], None]
