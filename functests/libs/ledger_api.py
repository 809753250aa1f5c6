"""What is in the API: machines and pods everywhere, objects of the cluster, and the stack's own namespace.

Who wrote an object stands in its managedFields: every request of a test names its client (``Rest.agent``), so objects
that two tests make at the same time can be told apart.
"""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from functests.libs.ledger import Item, Snapshot
from functests.libs.rest import AGENT, Rest

_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_NAMESPACED = {
    "pod": "/api/v1/pods",
    "VM": "/apis/kubevirt.io/v1/virtualmachines",
    "VMI": "/apis/kubevirt.io/v1/virtualmachineinstances",
}
_CLUSTER = {
    "CRD": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "APIService": "/apis/apiregistration.k8s.io/v1/apiservices",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
    "PriorityClass": "/apis/scheduling.k8s.io/v1/priorityclasses",
    "KubeVirt": "/apis/kubevirt.io/v1/kubevirts",
    "MigrationPolicy": "/apis/migrations.kubevirt.io/v1alpha1/migrationpolicies",
    "Deployment": "/apis/apps/v1/namespaces/kubevirt/deployments",
    "DaemonSet": "/apis/apps/v1/namespaces/kubevirt/daemonsets",
    "Service": "/api/v1/namespaces/kubevirt/services",
    "ConfigMap": "/api/v1/namespaces/kubevirt/configmaps",
}
# Pods of the stack come and go with their controllers; they are nobody's leak.
_OF_THE_STACK = ("kubevirt", "kube-system", "local-path-storage")


def _list(rest: Rest, path: str, *, whole: bool = False) -> list[Mapping[str, Any]]:
    """Objects at ``path``; none where the API does not have that kind (yet)."""
    answer = rest.request("GET", path, headers={} if whole else {"Accept": _METADATA})
    return [] if answer.code == 404 else list(answer.ok().get("items") or [])


def writer(metadata: Mapping[str, Any]) -> str:
    """The functional test's client that wrote the object; "" when it was something else."""
    managers = [entry.get("manager", "") for entry in metadata.get("managedFields") or []]
    return next((manager for manager in managers if manager.startswith(AGENT)), "")


def _nodes(items: list[Mapping[str, Any]]) -> Iterator[tuple[Item, str]]:
    """Labels and taints that a test put on a node and forgot. Who put a label is not told apart by key."""
    for node in items:
        name = node["metadata"]["name"]
        for key, value in (node["metadata"].get("labels") or {}).items():
            yield Item("label", "api", f"{key}={value} of node {name}"), ""
        for taint in node["spec"].get("taints") or []:
            yield Item("taint", "api", f"{taint['key']}:{taint['effect']} of node {name}"), ""
        if node["spec"].get("unschedulable"):
            yield Item("cordon", "api", f"of node {name}"), ""


def look(rest: Rest, pool: ThreadPoolExecutor) -> Snapshot:
    at = time.time()
    paths = {"Namespace": "/api/v1/namespaces", **_NAMESPACED, **_CLUSTER}
    asked = {kind: pool.submit(_list, rest, path) for kind, path in paths.items()}
    volumes = pool.submit(_list, rest, "/api/v1/persistentvolumes", whole=True)
    nodes = pool.submit(_list, rest, "/api/v1/nodes", whole=True)

    owners: dict[Item, str] = {}
    items: set[Item] = set()
    follows: set[Item] = set()
    pods: dict[str, str] = {}
    ending: set[str] = set()

    def add(item: Item, owner: str, *, namespace: str = "") -> None:
        items.add(item)
        if owner:
            owners[item] = owner
        if namespace in ending:
            follows.add(item)

    for found in asked["Namespace"].result():
        name = found["metadata"]["name"]
        if found["metadata"].get("deletionTimestamp"):
            ending.add(name)
        # One with the tests' label belongs to the test that claims it, whoever's client made it.
        labelled = name if "functest" in (found["metadata"].get("labels") or {}) else ""
        add(Item("Namespace", "api", name), writer(found["metadata"]) or labelled, namespace=name)
    for kind in _NAMESPACED:
        for found in asked[kind].result():
            namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
            if kind == "pod":
                pods[found["metadata"]["uid"]] = namespace
            if namespace not in _OF_THE_STACK:
                # Machines and pods must be gone before their namespace is: they do not follow it.
                add(Item(kind, "api", f"{namespace}/{name}"), namespace)
    for kind in _CLUSTER:
        for found in asked[kind].result():
            add(Item(kind, "api", found["metadata"]["name"]), writer(found["metadata"]))
    for found in volumes.result():
        namespace = str((found["spec"].get("claimRef") or {}).get("namespace", ""))
        add(Item("PersistentVolume", "api", found["metadata"]["name"]), namespace, namespace=namespace)
    for item, owner in _nodes(nodes.result()):
        add(item, owner)
    return Snapshot(at, frozenset(items), owners, pods, frozenset(follows))
