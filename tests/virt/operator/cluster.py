"""A cluster for tests of the operator: the fake API server, and step by step what controllers and kubelets would do."""

from typing import Any

from tests.fakes.kube import FakeKube
from virt.api import core, names, v1
from virt.api.kinds import KUBEVIRT, NODE, POD
from virt.kube.events import EventRecorder
from virt.operator import stamps
from virt.operator.controller import Installer
from virt.operator.resources import CRD, DAEMON_SET, DEPLOYMENT, Json
from virt.operator.target import Environment, Images
from virt.operator.world import World

NAMESPACE = names.INSTALL_NAMESPACE
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
KEY = f"{NAMESPACE}/kubevirt"


def environment(version: str = "v1.0.0", **images: str) -> Environment:
    found = {"operator": "reg/virt:1", "launcher": "reg/virt-launcher:1", **images}
    return Environment(Images(**{
        name: found.get(name, found["operator"]) for name in ("operator", "api", "controller", "handler", "launcher")
    }), version)


def kubevirt(**spec: Any) -> v1.KubeVirt:
    return v1.KubeVirt(
        metadata=core.ObjectMeta(name="kubevirt", namespace=NAMESPACE, generation=1), spec=v1.KubeVirtSpec(**spec)
    )


class Cluster:
    """Two nodes. ``broken`` stamps never become ready and restart."""

    def __init__(self, *, nodes: int = 2) -> None:
        self.kube = FakeKube()
        self.broken: set[str] = set()
        self.node_names = [f"node{number}" for number in range(nodes)]
        for name in self.node_names:
            self.kube.put(NODE, core.Node(metadata=core.ObjectMeta(name=name)))

    @property
    def cr(self) -> v1.KubeVirt:
        found = self.kube.peek(KUBEVIRT, "kubevirt", NAMESPACE)
        assert found is not None
        return found

    def pods(self, app: str) -> list[core.Pod]:
        return [
            pod for (_, name), _ in sorted(self.kube._of(POD).items())
            if (pod := self.kube.peek(POD, name, NAMESPACE)) and pod.metadata.labels[names.APP_LABEL] == app
        ]

    async def operator(self, wanted: Environment | None = None) -> "Operator":
        """A new operator process that has seen everything there is."""
        world = World(self.kube, NAMESPACE)
        made = Operator(world, Installer(world, wanted or environment(), EventRecorder(self.kube, "virt-operator")))
        await made.look()
        return made

    def settle(self) -> None:
        """One step of everybody else: definitions served or emptied, one node's pod or all of a Deployment's made."""
        for obj in self._all(CRD):
            meta = obj["metadata"]
            held = [name for name in meta.get("finalizers", ()) if name != CLEANUP]
            if meta.get("deletionTimestamp"):
                condition = {"type": "Terminating", "status": "False", "reason": "InstanceDeletionCompleted"}
            else:
                condition = {"type": "Established", "status": "True"}
                held.append(CLEANUP)        # the real one adds it with the deletion
            self.kube.put(CRD, {**obj, "metadata": {**meta, "finalizers": held}, "status": {"conditions": [condition]}})
        for obj in self._all(DEPLOYMENT):
            self._run(obj, [f"{obj['metadata']['name']}-{number}" for number in range(obj["spec"]["replicas"])])
            self.kube.put(DEPLOYMENT, {**obj, "status": {
                "observedGeneration": obj["metadata"]["generation"], "readyReplicas": obj["spec"]["replicas"]}})
        for obj in self._all(DAEMON_SET):
            places = [f"{obj['metadata']['name']}-{node}" for node in self.node_names]
            stamp = stamps.template_stamp(obj)
            old = [name for name in places if not self._is_at(name, stamp)]
            if stamp not in self.broken or len(old) == len(places):
                self._run(obj, old[:1] if len(self.pods("virt-handler")) == len(places) else places)
            self.kube.put(DAEMON_SET, {**obj, "status": {
                "observedGeneration": obj["metadata"]["generation"], "desiredNumberScheduled": len(places),
                "numberReady": len(places)}})
        for app in ("virt-api", "virt-controller", "virt-handler"):
            for pod in self.pods(app):
                kind = DAEMON_SET if app == "virt-handler" else DEPLOYMENT
                if self.kube.peek(kind, app, NAMESPACE) is None:
                    self.kube.kubelet_stopped(POD, NAMESPACE, pod.metadata.name)

    def _all(self, kind: Any) -> list[Json]:
        found = [self.kube.peek(kind, name, namespace) for namespace, name in sorted(self.kube._of(kind))]
        return [obj for obj in found if obj is not None]

    def _is_at(self, name: str, stamp: str) -> bool:
        pod = self.kube.peek(POD, name, NAMESPACE)
        return pod is not None and pod.metadata.annotations.get(stamps.IDENTIFIER) == stamp

    def _run(self, workload: Json, places: list[str]) -> None:
        template = workload["spec"]["template"]["metadata"]
        is_broken = stamps.template_stamp(workload) in self.broken
        for name in places:
            if not self._is_at(name, stamps.template_stamp(workload)):
                self.kube.put(POD, core.Pod(
                    metadata=core.ObjectMeta(
                        name=name, namespace=NAMESPACE, labels=template["labels"], annotations=template["annotations"]
                    ),
                    status=core.PodStatus(phase="Running", container_statuses=(
                        core.ContainerStatus(name="it", ready=not is_broken, restart_count=2 if is_broken else 0),
                    )),
                ))


class Operator:
    """An operator whose passes and looks at the cluster the test starts by hand."""

    def __init__(self, world: World, installer: Installer) -> None:
        self.world = world
        self.installer = installer

    async def look(self) -> None:
        """Bring the caches up to date."""
        for informer in self.world.informers.values():
            await informer._list()

    async def step(self) -> None:
        await self.look()
        await self.installer.reconcile(KEY)
        await self.look()

    async def run(self, cluster: Cluster, rounds: int = 30) -> list[str]:
        """Pass after pass until nothing is written any more; returns the phases seen."""
        phases: list[str] = []
        quiet = 0
        for _ in range(rounds):
            before = len(cluster.kube.writes)
            await self.step()
            found = cluster.kube.peek(KUBEVIRT, "kubevirt", NAMESPACE)
            phases += [found.status.phase] if found else ["gone"]
            cluster.settle()
            await self.look()
            quiet = quiet + 1 if len(cluster.kube.writes) == before else 0
            if quiet == 3 and phases[-1] in ("Deployed", "gone"):
                return phases
        raise AssertionError(f"does not come to rest: {phases}, last writes {cluster.kube.writes[-5:]}")
