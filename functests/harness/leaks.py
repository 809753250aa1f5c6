"""Leaks to plant: one of each kind that the ledger looks for. All are harmless, and called ``NAME``."""

from dataclasses import dataclass, field
from typing import Any

from functests.libs import undo
from functests.libs.moves import POLICIES
from functests.libs.nodes import Node
from functests.libs.rest import VM, VMI, Rest, core_path, kubevirt_path

NAME = "planted-leak"
OWNER = "4c0ffee0-0000-4000-8000-000000000000"
_VOLUME = f"'/var/lib/kubelet/pods/{OWNER}/volumes/kubernetes.io~empty-dir/{NAME}'"
_GROUP = "$(ls -d /sys/fs/cgroup/kube* /sys/fs/cgroup/memory/kube* 2>/dev/null | head -n 1)/kubepods-planted-leak"
_PROCESS = f"grep -ls '^/{NAME}/qemu' /proc/[0-9]*/cmdline"

# Kind -> how it is made on a node, how it goes. What the kubelet would clear up is made such that it does not.
ON_NODE: dict[str, tuple[str, str]] = {
    "process": (
        f"setsid bash -c 'exec -a /{NAME}/qemu-system-x86_64 sleep 900' > /dev/null 2>&1 < /dev/null & "
        f"until {_PROCESS}; do :; done",
        f"kill $({_PROCESS} | cut -d/ -f3)",
    ),
    "tap": (f"ip tuntap add dev {NAME} mode tap", f"ip link del {NAME}"),
    "bridge": (f"ip link add {NAME}b type bridge", f"ip link del {NAME}b"),
    "network namespace": (
        f"touch /run/netns/{NAME} && unshare --net=/run/netns/{NAME} true",
        f"umount /run/netns/{NAME}; rm /run/netns/{NAME}",
    ),
    "mount": (f"mkdir /mnt/{NAME} && mount -t tmpfs none /mnt/{NAME}", f"umount /mnt/{NAME}; rmdir /mnt/{NAME}"),
    "cgroup": (f"mkdir -p {_GROUP}/pod-a-b-c-d", f"rmdir {_GROUP}/pod-a-b-c-d {_GROUP}"),
    "file": (f"touch /var/run/kubevirt/{NAME}", f"rm /var/run/kubevirt/{NAME}"),
    # The kubelet leaves an orphaned pod's folder alone while something is mounted in it.
    "pod folder": (
        f"mkdir -p {_VOLUME} && mount -t tmpfs none {_VOLUME}",
        f"umount {_VOLUME}; rm -rf /var/lib/kubelet/pods/{OWNER}",
    ),
    "nft": (f"nft add table inet {NAME} && nft add chain inet {NAME} kept", f"nft delete table inet {NAME}"),
    "loop device": (
        f"truncate -s 1M /var/tmp/{NAME} && losetup -f /var/tmp/{NAME}",
        f"losetup -d $(losetup -n -O NAME -j /var/tmp/{NAME}); rm /var/tmp/{NAME}",
    ),
}


def word(kind: str, node: str) -> str:
    """What the item's name must have in it."""
    return {"pod folder": OWNER, "cordon": node}.get(kind, NAME)


@dataclass
class Planted:
    """Made on one node and in the API; ``undo`` takes all of it away again."""

    node: Node
    rest: Rest
    _made: list[tuple[str, str, list[undo.Note]]] = field(default_factory=list)      # where, how it goes

    def _note(self, where: str, how: str, *steps: undo.Step) -> None:
        self._made.append((where, how, [undo.noted(step) for step in steps]))

    def on_node(self) -> list[str]:
        """The kinds that were made."""
        for make, go in ON_NODE.values():
            self._note("node", go, undo.Script(node=self.node.name, script=go))
            self.node.run(make)
        return list(ON_NODE)

    def in_api(self) -> list[str]:
        for _, collection, body in _objects():
            path = f"{collection}/{body['metadata']['name']}"
            self._note("api", path, undo.Request(method="DELETE", path=path, body={"gracePeriodSeconds": 0}))
            self.rest.post(collection, body).ok()
        node = f"/api/v1/nodes/{self.node.name}"
        before = self.rest.get(node).ok()["spec"].get("taints", [])
        taint = {"key": NAME, "effect": "PreferNoSchedule"}
        back = {"metadata": {"labels": {NAME: None}}, "spec": {"unschedulable": None}}
        self._note("node spec", node, undo.Request(method="PATCH", path=node, body=back),
                   undo.Taint(node=self.node.name, key=NAME, effect=taint["effect"]))
        self.rest.patch(node, {"metadata": {"labels": {NAME: "here"}},
                               "spec": {"unschedulable": True, "taints": [*before, taint]}}).ok()  # fmt: skip
        return [*(kind for kind, _, _ in _objects()), "label", "taint", "cordon"]

    def undo(self) -> None:
        """Whatever of it cannot be undone is told when all else is."""
        faults = []
        while self._made:
            where, how, notes = self._made.pop()
            if where == "node":
                code, said = self.node.try_run(how)
                faults += [f"{how}: {said}"] if code else []
            elif where == "api":
                answer = self.rest.delete(how, {"gracePeriodSeconds": 0})
                faults += [] if answer.code in (200, 202, 404) else [f"{how}: {answer.text}"]
            else:
                taints = [entry for entry in self.rest.get(how).ok()["spec"].get("taints", [])
                          if entry["key"] not in (NAME, "node.kubernetes.io/unschedulable")]  # fmt: skip
                spec = {"unschedulable": None, "taints": taints or None}
                self.rest.patch(how, {"metadata": {"labels": {NAME: None}}, "spec": spec}).ok()
            for note in notes:
                note.done()
        assert not faults, "\n".join(faults)


def _objects() -> list[tuple[str, str, dict[str, Any]]]:
    """The ledger's word for it, collection and body of an object of each kind, in the order in which they can be made.

    Nothing of it ever runs: no node fits, no server is asked.
    """
    meta = {"metadata": {"name": NAME}}
    labels = {"app": NAME}
    nowhere = {"kubernetes.io/hostname": "no-such-node"}
    pod = {"nodeSelector": nowhere, "containers": [{"name": "main", "image": "none.invalid/none"}]}
    workload = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    machine = {"nodeSelector": nowhere, "domain": {"memory": {"guest": "64Mi"}, "devices": {}}}
    group = f"{NAME}.example"
    schema = {"openAPIV3Schema": {"type": "object"}}
    crd = {
        "group": group, "scope": "Cluster", "names": {"plural": "leaks", "singular": "leak", "kind": "Leak"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }  # fmt: skip
    service = {"group": group, "version": "v2", "groupPriorityMinimum": 1, "versionPriority": 1}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME}
    volume = {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": f"/mnt/{NAME}"}}
    rbac, admission = "/apis/rbac.authorization.k8s.io/v1", "/apis/admissionregistration.k8s.io/v1"
    apps = "/apis/apps/v1/namespaces/kubevirt"

    def kubevirt(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        return {**meta, "apiVersion": "kubevirt.io/v1", "kind": kind, "spec": spec}

    return [
        ("Namespace", "/api/v1/namespaces", meta),
        ("pod", core_path("pods", NAME), {**meta, "spec": pod}),
        ("VM", kubevirt_path(VM, NAME),
         kubevirt("VirtualMachine", {"runStrategy": "Halted", "template": {"spec": machine}})),
        ("VMI", kubevirt_path(VMI, NAME), kubevirt("VirtualMachineInstance", machine)),
        ("CRD", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
         {"metadata": {"name": f"leaks.{group}"}, "spec": crd}),
        ("ClusterRole", f"{rbac}/clusterroles", {**meta, "rules": []}),
        ("ClusterRoleBinding", f"{rbac}/clusterrolebindings", {**meta, "roleRef": role, "subjects": []}),
        ("APIService", "/apis/apiregistration.k8s.io/v1/apiservices",
         {"metadata": {"name": f"v2.{group}"}, "spec": service}),
        ("ValidatingWebhookConfiguration", f"{admission}/validatingwebhookconfigurations", {**meta, "webhooks": []}),
        ("MutatingWebhookConfiguration", f"{admission}/mutatingwebhookconfigurations", {**meta, "webhooks": []}),
        ("StorageClass", "/apis/storage.k8s.io/v1/storageclasses", {**meta, "provisioner": "none.example/none"}),
        ("PriorityClass", "/apis/scheduling.k8s.io/v1/priorityclasses", {**meta, "value": 1}),
        ("MigrationPolicy", POLICIES, {
            **meta, "apiVersion": "migrations.kubevirt.io/v1alpha1", "kind": "MigrationPolicy",
            "spec": {"selectors": {"namespaceSelector": {NAME: "none"}}},
        }),
        ("Deployment", f"{apps}/deployments", {**meta, "spec": {**workload, "replicas": 0}}),
        ("DaemonSet", f"{apps}/daemonsets", {**meta, "spec": workload}),
        ("Service", core_path("services", "kubevirt"), {**meta, "spec": {"ports": [{"port": 1}]}}),
        ("ConfigMap", core_path("configmaps", "kubevirt"), meta),
        ("PersistentVolume", "/api/v1/persistentvolumes", {**meta, "spec": volume}),
    ]  # fmt: skip
