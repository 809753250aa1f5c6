"""Collects what a person would look at: logs of the components, of the nodes, and of the commands themselves."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cluster_up import docker, paths
from cluster_up.errors import ClusterError
from cluster_up.kube import NAMESPACE, Kube
from cluster_up.providers.api import Provider
from cluster_up.providers.kind import registry_host
from cluster_up.state import State

_NAMESPACES = (NAMESPACE, "kube-system", "local-path-storage")


def collect(state: State, provider: Provider, kube: Kube, folder: Path) -> Path:
    """Write files below ``folder``; what cannot be read is a file that says so. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)

    def item(name: str, read: Callable[[], str]) -> None:
        try:
            text = read()
        except (ClusterError, OSError) as error:
            text = f"could not be read: {error}\n"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    own = paths.cluster_folder(state.name) / "up.log"
    if own.exists():
        shutil.copy(own, folder / "up.log")
    for view in provider.nodes():
        for unit in ("kubelet", "containerd", "pod-network"):
            command = f"journalctl --no-pager --unit {unit} --lines 5000"
            item(f"nodes/{view.name}/{unit}.log", partial(provider.run, view.name, command))
        if view.role == "machine":
            item(f"nodes/{view.name}/console.log", partial(docker.run, "logs", view.name))
    item("registry.log", partial(docker.run, "logs", registry_host(state.name)))
    if not kube.is_ready():
        item("components.txt", lambda: "the API server does not answer\n")
        return folder
    for namespace in _NAMESPACES:
        pods: list[dict[str, Any]] = []
        item(f"{namespace}/pods.txt", partial(_listed, kube, namespace, pods))
        for pod in pods:
            name = pod["metadata"]["name"]
            path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
            for container in pod["spec"]["containers"]:
                read = partial(kube.text, path, container=container["name"], limitBytes="4000000")
                item(f"{namespace}/{name}-{container['name']}.log", read)
    return folder


def _listed(kube: Kube, namespace: str, found: list[dict[str, Any]]) -> str:
    """A line for each pod; ``found`` gets them."""
    found += kube.pods(namespace)
    return "".join(
        f"{pod['metadata']['name']} {pod['status'].get('phase')} {pod['spec'].get('nodeName', '-')}\n" for pod in found)
