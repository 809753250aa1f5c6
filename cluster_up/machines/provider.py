"""Nodes of another provider, and machines beside them. A provider too, so that steps and commands see no difference.

The cluster is the other provider's. Machines come and go with ``start``: those that are wanted and missing are made and
joined, those that are stopped are started, those that are no longer wanted are removed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cluster_up.config.types import Config
from cluster_up.machines.model import ROLE, Machine
from cluster_up.providers.api import Existence, NodeView, Provider


class Hosts(Protocol):
    """Where machines run. Every method may raise RunError."""

    def views(self) -> tuple[NodeView, ...]:
        """All machines of the cluster that exist, running or not, by name."""
        ...

    def make(self, machine: Machine, image: str) -> None:
        """Make and start a machine from the node image; returns when its kubelet may join."""

    def start(self, name: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def run(self, name: str, script: str, *, deadline_s: float) -> str: ...

    def shell(self, name: str) -> int: ...


class WithMachines:
    """:class:`cluster_up.providers.api.Provider`.

    ``wanted`` is what the configuration asks for; ``join`` makes a running machine a node, ``leave`` takes its
    node away; ``image`` is the node image of the cluster.
    """

    def __init__(
        self, nodes: Provider, hosts: Hosts, wanted: Sequence[Machine], *, image: Callable[[], str],
        join: Callable[[Machine], None], leave: Callable[[str], None],
    ) -> None:
        self._nodes = nodes
        self._hosts = hosts
        self._wanted = {machine.name: machine for machine in wanted}
        self._image = image
        self._join = join
        self._leave = leave

    @property
    def kubeconfig(self) -> Path:
        return self._nodes.kubeconfig

    @property
    def network(self) -> str:
        return self._nodes.network

    def existence(self) -> Existence:
        return self._nodes.existence()

    def nodes(self) -> tuple[NodeView, ...]:
        """A machine that is wanted and missing counts as stopped, and so does one that exists and is not wanted: so
        ``up`` sees that there is work to do."""
        there = {
            view.name: view if view.name in self._wanted else replace(view, running=False)
            for view in self._hosts.views()
        }
        missing = (NodeView(name, ROLE, "", running=False) for name in self._wanted if name not in there)
        return (*self._nodes.nodes(), *sorted((*there.values(), *missing), key=lambda view: view.name))

    def machines(self) -> tuple[NodeView, ...]:
        """All that exist, wanted or not."""
        return self._hosts.views()

    def create(self, config: Config, image: str, registry_port: int) -> None:
        """Machines that exist already belong to an earlier cluster, so they go first."""
        for view in self._hosts.views():
            self._hosts.remove(view.name)
        self._nodes.create(config, image, registry_port)
        self._settle()

    def start(self) -> None:
        self._nodes.start()
        self._settle()

    def delete(self) -> None:
        """Machines first: they are on the cluster's network."""
        for view in self._hosts.views():
            self._hosts.remove(view.name)
        self._nodes.delete()

    def run(self, node: str, script: str, *, deadline_s: float = 60.0) -> str:
        if self._is_machine(node):
            return self._hosts.run(node, script, deadline_s=deadline_s)
        return self._nodes.run(node, script, deadline_s=deadline_s)

    def shell(self, node: str) -> int:
        return self._hosts.shell(node) if self._is_machine(node) else self._nodes.shell(node)

    def _settle(self) -> None:
        """Bring the machines to what is wanted, one at a time: a start is heavy. Killed, the next ``up`` goes on."""
        there = {view.name: view for view in self._hosts.views()}
        for name in there:
            if name not in self._wanted:
                self._leave(name)
                self._hosts.remove(name)
        for name, machine in self._wanted.items():
            if name not in there:
                self._hosts.make(machine, self._image())
            elif not there[name].running:
                self._hosts.start(name)
            self._join(machine)

    def _is_machine(self, node: str) -> bool:
        return node in self._wanted or any(view.name == node for view in self._hosts.views())
