"""Machines beside the nodes of another provider: one provider to everybody else."""

from pathlib import Path

from cluster_up.config.types import Config
from cluster_up.machines.model import Machine
from cluster_up.machines.provider import WithMachines
from cluster_up.providers.api import Existence, NodeView

CONTROL_PLANE = NodeView("dev-control-plane", "control-plane", "172.18.0.2", True)


class FakeNodes:
    """The other provider."""

    kubeconfig, network = Path("/kubeconfig"), "virt-dev"

    def __init__(self, said: list[str]) -> None:
        self._said = said

    def existence(self) -> Existence:
        return Existence.OURS

    def create(self, config: Config, image: str, registry_port: int) -> None:
        self._said.append("nodes created")

    def delete(self) -> None:
        self._said.append("nodes deleted")

    def nodes(self) -> tuple[NodeView, ...]:
        return (CONTROL_PLANE,)

    def start(self) -> None:
        self._said.append("nodes started")

    def run(self, node: str, script: str, *, deadline_s: float = 60.0) -> str:
        return f"{node} in a container"

    def shell(self, node: str) -> int:
        return 1


class FakeHosts:
    def __init__(self, said: list[str]) -> None:
        self._said = said
        self.there: dict[str, bool] = {}

    def views(self) -> tuple[NodeView, ...]:
        return tuple(NodeView(name, "machine", "172.18.0.7", running) for name, running in sorted(self.there.items()))

    def make(self, machine: Machine, image: str) -> None:
        self._said.append(f"{machine.name} made of {image}")
        self.there[machine.name] = True

    def start(self, name: str) -> None:
        self._said.append(f"{name} started")
        self.there[name] = True

    def remove(self, name: str) -> None:
        self._said.append(f"{name} removed")
        del self.there[name]

    def run(self, name: str, script: str, *, deadline_s: float) -> str:
        return f"{name} in a machine"

    def shell(self, name: str) -> int:
        return 2


class Stand:
    def __init__(self, count: int, **there: bool) -> None:
        self.said: list[str] = []
        self.hosts = FakeHosts(self.said)
        self.hosts.there = {name.replace("_", "-"): running for name, running in there.items()}
        self.provider = WithMachines(
            FakeNodes(self.said), self.hosts, [Machine("dev", number) for number in range(1, count + 1)],
            image=lambda: "node:1", join=lambda machine: self.said.append(f"{machine.name} joined"),
            leave=lambda name: self.said.append(f"{name} left"))


def test_a_missing_machine_looks_like_a_stopped_node() -> None:
    nodes = Stand(2, dev_machine=True).provider.nodes()
    assert [(view.name, view.role, view.running) for view in nodes] == [
        ("dev-control-plane", "control-plane", True), ("dev-machine", "machine", True),
        ("dev-machine2", "machine", False)]


def test_a_machine_comes_to_a_cluster_that_runs() -> None:
    stand = Stand(1)
    stand.provider.start()
    assert stand.said == ["nodes started", "dev-machine made of node:1", "dev-machine joined"]
    assert all(view.running for view in stand.provider.nodes())


def test_a_second_machine_comes_beside_the_first() -> None:
    """The first one's guests do not notice."""
    stand = Stand(2, dev_machine=True)
    stand.provider.start()
    assert stand.said == ["nodes started", "dev-machine joined", "dev-machine2 made of node:1", "dev-machine2 joined"]


def test_a_stopped_machine_is_started_and_one_that_is_not_wanted_leaves() -> None:
    stand = Stand(1, dev_machine=False, dev_machine2=True)
    stand.provider.start()
    assert stand.said == [
        "nodes started", "dev-machine2 left", "dev-machine2 removed", "dev-machine started", "dev-machine joined"]


def test_a_join_that_was_interrupted_is_made_up_for() -> None:
    stand = Stand(1, dev_machine=True)
    stand.provider.start()
    assert stand.said == ["nodes started", "dev-machine joined"]


def test_a_new_cluster_has_its_nodes_first() -> None:
    stand = Stand(1)
    stand.provider.create(Config(), "node:1", 0)
    assert stand.said == ["nodes created", "dev-machine made of node:1", "dev-machine joined"]


def test_a_machine_of_a_cluster_that_is_gone_does_not_stay_its_node() -> None:
    stand = Stand(1, dev_machine=True)
    stand.provider.create(Config(), "node:1", 0)
    assert stand.said == ["dev-machine removed", "nodes created", "dev-machine made of node:1", "dev-machine joined"]


def test_up_sees_that_a_machine_has_to_go() -> None:
    nodes = Stand(0, dev_machine=True).provider.nodes()
    assert [(view.name, view.running) for view in nodes] == [("dev-control-plane", True), ("dev-machine", False)]


def test_down_takes_machines_first_also_those_nobody_wants_any_more() -> None:
    stand = Stand(0, dev_machine=True)
    stand.provider.delete()
    assert stand.said == ["dev-machine removed", "nodes deleted"]


def test_commands_go_where_the_node_is() -> None:
    provider = Stand(1, dev_machine=True).provider
    assert provider.run("dev-machine", "true") == "dev-machine in a machine"
    assert provider.run("dev-control-plane", "true") == "dev-control-plane in a container"
    assert (provider.shell("dev-machine"), provider.shell("dev-control-plane")) == (2, 1)
