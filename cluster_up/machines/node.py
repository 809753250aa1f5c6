"""How a machine becomes a node of the cluster, and stops being one. Both may be repeated at any point."""

from collections.abc import Callable, Mapping
from typing import Protocol

from cluster_up import docker
from cluster_up.errors import StepFailed
from cluster_up.exec import Log
from cluster_up.kube import KubeError
from cluster_up.machines import joining
from cluster_up.machines.model import Machine
from cluster_up.providers import files
from cluster_up.providers.api import NodeView
from cluster_up.providers.capacity import Reserve
from cluster_up.providers.kind import registry_host
from virt.base import waiting

_JOINED = "/etc/kubernetes/kubelet.conf"
_JOIN_S = 900.0
_API_S = 180.0
# A join that was interrupted is undone first.
_JOIN = """[ ! -e /var/lib/kubelet/config.yaml ] || kubeadm reset --force
mkdir -p /etc/kubernetes/manifests
kubeadm join --config /etc/kubernetes/join.yaml
"""
# The machine's memory is its own; what is kept is for kubelet, containerd and the stack's agent.
_RESERVE = Reserve(200, 512)


class Hosts(Protocol):
    def views(self) -> tuple[NodeView, ...]: ...

    def run(self, name: str, script: str, *, deadline_s: float) -> str: ...


class Nodes(Protocol):
    @property
    def network(self) -> str: ...

    def nodes(self) -> tuple[NodeView, ...]: ...

    def run(self, node: str, script: str, *, deadline_s: float = 60.0) -> str: ...


class Api(Protocol):
    def is_ready(self) -> bool: ...

    def remove(self, path: str) -> None: ...


class Membership:
    """``nodes`` is the provider of the cluster's other nodes."""

    def __init__(self, cluster: str, nodes: Nodes, hosts: Hosts, api: Callable[[], Api], log: Log) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._hosts = hosts
        self._api = api
        self._log = log

    def join(self, machine: Machine) -> None:
        view = next(view for view in self._hosts.views() if view.name == machine.name)
        self._hosts.run(machine.name, files.script(self._files(view)), deadline_s=120)
        if self._hosts.run(machine.name, f"test -e {_JOINED} && echo yes || echo no", deadline_s=60).strip() == "yes":
            self._hosts.run(machine.name, address_script(view.address), deadline_s=120)
            return
        self._log(f"{machine.name}: joining")
        self._await_api()
        control_plane = next(each.name for each in self._nodes.nodes() if each.role == "control-plane")
        said = self._nodes.run(control_plane, "kubeadm token create --ttl 1h --print-join-command")
        try:
            given = joining.credentials(said)
        except joining.JoinCommandError as error:
            raise StepFailed(str(error)) from error
        # kubeadm refuses a name that is taken: a machine of this name that was lost has left its node.
        self.leave(machine.name)
        text = joining.join_configuration(machine, view.address, given, _RESERVE)
        self._hosts.run(machine.name, files.script({"/etc/kubernetes/join.yaml": text.encode()}), deadline_s=120)
        self._hosts.run(machine.name, _JOIN, deadline_s=_JOIN_S)

    def leave(self, name: str) -> None:
        self._await_api()
        try:
            self._api().remove(f"/api/v1/nodes/{name}")
        except KubeError as error:
            if error.code != 404:
                raise

    def _await_api(self) -> None:
        """Wait for the API server: the other nodes may have just been started."""
        api = self._api()
        waiting.wait_for(api.is_ready, bool, deadline_s=_API_S, every_s=1.0, what="the API server")

    def _files(self, view: NodeView) -> Mapping[str, bytes]:
        """Where containerd finds the registry, and names of containers: machines have no name server of the engine."""
        known = {each.name: each.address for each in self._nodes.nodes()} | {view.name: view.address}
        registry = docker.inspect("container", registry_host(self._cluster))
        if registry is None:
            raise StepFailed(f"the registry of cluster {self._cluster!r} is gone", hint="`up` starts it")
        known[registry_host(self._cluster)] = registry["NetworkSettings"]["Networks"][self._nodes.network]["IPAddress"]
        ports = registry["NetworkSettings"]["Ports"] or {}
        published = [entry["HostPort"] for entries in ports.values() for entry in entries or []]
        mirror = f'[host."http://{registry_host(self._cluster)}:5000"]\n'.encode()
        return {
            "/etc/hosts": joining.hosts(known).encode(),
            **{f"/etc/containerd/certs.d/localhost:{port}/hosts.toml": mirror for port in published},
        }


def address_script(address: str) -> str:
    """Pure: a node that was started again, perhaps with another address, says the one that it has now."""
    flags = "/var/lib/kubelet/kubeadm-flags.env"
    return (
        f"grep -q -- '--node-ip={address}[ \"]' {flags} || {{\n"
        f"  sed -i 's/--node-ip=[^ \"]*/--node-ip={address}/' {flags}\n  systemctl restart kubelet\n}}\n"
    )
