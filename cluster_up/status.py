"""Which parts of a cluster run, as a verdict and as a document. Asks the engine and the API, with short deadlines."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from cluster_up.images import registry
from cluster_up.kube import Kube, KubeError, condition, phase_of
from cluster_up.providers.api import NodeView, Provider
from cluster_up.state import State

# Somebody waits for the answer, so all of it may take ten seconds at most. A caller that must not be misled when the
# machine stalls for a moment asks again, as the functional tests do.
_ASK_S = 6.0


@dataclass(frozen=True)
class Status:
    """``faults`` says what is broken, one line each; without any, the cluster is healthy."""

    state: State
    nodes: tuple[dict[str, Any], ...]
    registry: str
    phase: str                          # of the KubeVirt object; "" where there is none
    faults: tuple[str, ...] = field(default=())

    @property
    def healthy(self) -> bool:
        return not self.faults

    def document(self) -> dict[str, Any]:
        return {
            "name": self.state.name,
            "healthy": self.healthy,
            "faults": list(self.faults),
            "kubeconfig": self.state.kubeconfig,
            "kubernetes_version": self.state.kubernetes_version,
            "nodes": list(self.nodes),
            "registry": self.registry,
            "kubevirt_phase": self.phase,
            "capabilities": msgspec.to_builtins(self.state.capabilities),
            "component_images": dict(self.state.component_images),
            "guest_images": dict(self.state.guest_images),
        }

    def text(self) -> str:
        capabilities = msgspec.to_builtins(self.state.capabilities)
        lines = [f"cluster {self.state.name}: {'healthy' if self.healthy else 'broken'}"]
        lines += [f"  fault: {fault}" for fault in self.faults]
        lines += [f"  node {node['name']} ({node['role']}): {node['state']}" for node in self.nodes]
        lines += [
            f"  kubernetes {self.state.kubernetes_version}, KubeVirt {self.phase or 'not there'}",
            f"  registry {self.registry}",
            f"  can: {', '.join(name for name, can in capabilities.items() if can) or 'nothing special'}",
            *(f"  image {name}: {reference}" for name, reference in self.state.component_images.items()),
            *(f"  guest {name}: {entry.get('reference')}" for name, entry in self.state.guest_images.items()),
            f"  export KUBECONFIG={self.state.kubeconfig}",
        ]
        return "\n".join(lines)


def node_state(view: NodeView, found: dict[str, Any] | None) -> str:
    """A word or two about a node, from what its provider and the API say. Pure."""
    if not view.running:
        return "stopped"
    if found is None:
        return "unknown to the API"
    if condition(found, "Ready") != "True":
        return "not ready"
    pressure = [kind for kind in ("MemoryPressure", "DiskPressure", "PIDPressure") if condition(found, kind) == "True"]
    return ", ".join(["ready", *pressure])


def look(state: State, provider: Provider) -> Status:
    """The cluster as it is now. Takes a second, or a few more where the API server hangs."""
    faults: list[str] = []
    kube = Kube(provider.kubeconfig)
    views = provider.nodes()
    api_up = bool(views) and kube.is_ready(within_s=_ASK_S)
    known = {node["metadata"]["name"]: node for node in kube.nodes()} if api_up else {}
    nodes = []
    for view in views:
        text = node_state(view, known.get(view.name)) if api_up or not view.running else "unknown"
        nodes.append({"name": view.name, "role": view.role, "address": view.address, "state": text})
        if text != "ready":
            faults.append(f"node {view.name}: {text}")
    if not views:
        faults.append("its nodes are gone")
    elif not api_up:
        faults.append("the API server does not answer")
    if registry.port_of(state.name) != state.registry_port or not registry.is_ready(state.registry_port):
        faults.append(f"the registry on port {state.registry_port} does not answer")
    phase = _phase(kube) if api_up else ""
    if "deploy" in state.applied and phase != "Deployed":
        faults.append(f"KubeVirt is {phase or 'not there'}")
    return Status(state, tuple(nodes), state.registry, phase, tuple(faults))


def _phase(kube: Kube) -> str:
    try:
        return phase_of(kube.kubevirts())
    except KubeError:
        return ""
