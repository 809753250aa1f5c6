"""The provider of a cluster: nodes of kind, and beside them the machines that its state names."""

from collections.abc import Sequence

from cluster_up import docker, engine, kvm, paths
from cluster_up import state as states
from cluster_up.config.types import Config
from cluster_up.exec import Log
from cluster_up.images import components
from cluster_up.kube import Kube
from cluster_up.machines import model
from cluster_up.machines.container import Containers
from cluster_up.machines.node import Membership
from cluster_up.machines.provider import WithMachines
from cluster_up.providers.kind import KindProvider
from cluster_up.state import Machine, State


def machines_of(config: Config) -> tuple[Machine, ...]:
    """What the state remembers of the configuration. Pure."""
    return tuple(
        Machine(
            number=number, memory_mib=config.machine_memory_mib, cpus=config.machine_cpus, cards=config.machine_cards
        )
        for number in range(1, config.machines + 1)
    )


def _bases() -> list[str]:
    """What the stack's images stand on, as far as the engine has it: on a cluster's first start it may not yet."""
    names = {components.base_name_of(one.base, paths.source_root()) for one in components.COMPONENTS}
    return sorted(name for name in names if docker.has_image(name))


def _wanted(cluster: str, known: Sequence[Machine]) -> list[model.Machine]:
    return [model.Machine(cluster, each.number, each.memory_mib, each.cpus, each.cards) for each in known]


def missing_machines(config: Config) -> list[model.Machine]:
    """The machines that ``up`` would start: all of them where no engine answers."""
    wanted = _wanted(config.name, machines_of(config))
    if not wanted or engine.fault() is not None:
        return wanted
    running = {view.name for view in provider_of(State(name=config.name)).machines() if view.running}
    return [machine for machine in wanted if machine.name not in running]


def provider_of(state: State, log: Log = lambda line: None) -> WithMachines:
    nodes = KindProvider(state.name, log)
    hosts = Containers(state.name, nodes.network, nodes.folder, kvm=kvm.is_usable, baked=_bases, log=log)
    membership = Membership(state.name, nodes, hosts, lambda: Kube(nodes.kubeconfig), log)
    return WithMachines(
        nodes, hosts, _wanted(state.name, state.machines),
        image=lambda: (states.read(state.name) or state).node_image,       # one that `up` has made meanwhile
        join=membership.join, leave=membership.leave,
    )  # fmt: skip
