"""The product's own processes: where each runs, how to kill it as a fault would, when everything is well again.

A process is killed by its pid on its node, found through the pod's UID, so nothing of the product takes part in it.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from urllib3.exceptions import HTTPError

from functests.libs import patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, condition
from functests.libs.nodes import Node, Nodes, Process
from functests.libs.rest import Rest, core_path
from virt.api import quantity

NAMESPACE = "kubevirt"
API, CONTROLLER, HANDLER, OPERATOR = "virt-api", "virt-controller", "virt-handler", "virt-operator"
COMPONENTS = (API, CONTROLLER, HANDLER, OPERATOR)
SCHEDULABLE = "kubevirt.io/schedulable"
TUN = "devices.kubevirt.io/tun"
_KUBEVIRTS = f"/apis/kubevirt.io/v1/namespaces/{NAMESPACE}/kubevirts"
_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"


def is_ready(pod: Object) -> bool:
    return condition(pod, "Ready").get("status") == "True" and "deletionTimestamp" not in pod["metadata"]


def container(pod: Object) -> Object:
    """Status of a component's one container."""
    (found,) = pod["status"]["containerStatuses"]
    return dict(found)


def log_of(rest: Rest, component: str, *, since_s: int) -> str:
    """What all pods of the component wrote in the last seconds."""
    pods = rest.get(f"{core_path('pods', NAMESPACE)}?labelSelector=kubevirt.io%3D{component}").ok()["items"]
    return "\n".join(
        rest.get(f"{core_path('pods', NAMESPACE, pod['metadata']['name'])}/log?sinceSeconds={since_s}").text
        for pod in pods
    )


@dataclass
class Stack:
    """Components by the name of their Deployment or DaemonSet."""

    rest: Rest
    nodes: Nodes
    cluster: Cluster

    def pods(self, component: str, *, node: str = "") -> list[Object]:
        """Those that are not being deleted, by name."""
        query = f"labelSelector=kubevirt.io%3D{component}" + (f"&fieldSelector=spec.nodeName%3D{node}" if node else "")
        items = self.rest.get(f"{core_path('pods', NAMESPACE)}?{query}").ok()["items"]
        live = [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]
        return sorted(live, key=lambda pod: pod["metadata"]["name"])

    def pod(self, name: str) -> Object:
        return self.rest.get(core_path("pods", NAMESPACE, name)).ok()

    def handler(self, node: str) -> Object:
        (found,) = self.pods(HANDLER, node=node)
        return found

    def restarts(self) -> dict[str, int]:
        """Restarts of every component's container, by pod; a new pod may have no container yet."""
        return {
            pod["metadata"]["name"]: sum(entry["restartCount"] for entry in pod["status"].get("containerStatuses", []))
            for component in COMPONENTS
            for pod in self.pods(component)
        }

    # --- processes ---

    def process(self, pod: Object) -> tuple[Node, Process]:
        """The component's main process and the node on which it runs."""
        node = self.nodes[pod["spec"]["nodeName"]]
        found = [
            process
            for process in node.processes(pod["metadata"]["uid"])
            if any(word.startswith("virt.cli.") for word in process.argv)
        ]
        assert len(found) == 1, f"{node.name}: expected one process of {pod['metadata']['name']}, found {found}"
        return node, found[0]

    def signal(self, pod: Object, name: str) -> None:
        node, process = self.process(pod)
        node.run(f"kill -{name} {process.pid}")

    def kill(self, pod: Object) -> None:
        self.signal(pod, "KILL")

    def wait_restarted(self, pod: Object, *, within_s: float | None = None) -> Object:
        """Until the pod's container is another one than in ``pod``, and ready."""
        before = container(pod)["containerID"]
        return patience.eventually(
            f"{pod['metadata']['name']} is back",
            lambda: self.pod(pod["metadata"]["name"]),
            lambda now: is_ready(now) and container(now)["containerID"] != before,
            within_s=within_s if within_s is not None else 60 + patience.boots(1),
        )

    # --- leases ---

    def holder(self, lease: str) -> str:
        """Name of the pod that leads."""
        return str(self.rest.get(f"{_LEASES}/{lease}").ok()["spec"].get("holderIdentity") or "")

    def leader(self, component: str) -> Object:
        """The leading pod; waits for one when the lease is between two holders."""
        name = patience.eventually(
            f"{component} has a leader",
            lambda: self.holder(component),
            lambda holder: holder in [pod["metadata"]["name"] for pod in self.pods(component)],
            within_s=patience.promised(60),
        )
        return self.pod(name)

    def wait_led(self, component: str, since: datetime) -> None:
        """Until somebody who leads has said so after ``since``: what the API tells of before may be of the dead."""
        patience.eventually(
            f"{component} is led",
            lambda: str(self.rest.get(f"{_LEASES}/{component}").ok()["spec"].get("renewTime") or ""),
            lambda renewed: bool(renewed) and datetime.fromisoformat(renewed) > since,
            within_s=60 + patience.boots(1),
        )

    # --- nodes ---

    def node(self, name: str) -> Object:
        return self.rest.get(f"/api/v1/nodes/{name}").ok()

    def schedulable(self, name: str) -> str:
        return str(self.node(name)["metadata"]["labels"].get(SCHEDULABLE, ""))

    def devices(self, name: str, resource: str = TUN) -> int:
        """How many devices the kubelet of that node has to give."""
        return quantity.integer(self.node(name)["status"]["allocatable"].get(resource, "0"))

    def wait_takes_vms(self, name: str) -> None:
        """Until the node has devices to give, and its label says so."""
        patience.eventually(
            f"{name} has devices and takes VMs",
            lambda: (self.devices(name), self.schedulable(name)),
            lambda seen: seen[0] > 0 and seen[1] == "true",
            within_s=patience.promised(60),
        )

    # --- all ---

    def faults(self) -> list[str]:
        """What is not as it should be; [] when the whole stack is well."""
        found = [
            f"{pod['metadata']['name']} is not ready"
            for component in COMPONENTS
            for pod in self.pods(component)
            if not is_ready(pod)
        ]
        # One that was just deleted is no pod any more, and its successor may not be made yet.
        counts = {component: len(self.pods(component)) for component in COMPONENTS}
        found += [
            f"{component} has {counts[component]} pods, not {wanted}"
            for component, wanted in self._replicas().items()
            if counts[component] != wanted
        ]
        (kubevirt,) = self.rest.get(_KUBEVIRTS).ok()["items"]
        wanted = {"Available": "True", "Degraded": "False", "Progressing": "False"}
        found += [
            f"KubeVirt: {kind} is not {status}"
            for kind, status in wanted.items()
            if condition(kubevirt, kind).get("status") != status
        ]
        for worker in self.cluster.workers:
            if condition(self.node(worker), "Ready").get("status") != "True":
                found.append(f"node {worker} is not ready")
            if self.schedulable(worker) != "true":
                found.append(f"node {worker}: {SCHEDULABLE} is {self.schedulable(worker)!r}")
            if self.devices(worker) == 0:
                found.append(f"node {worker} has no {TUN} to give")
        return found

    def _replicas(self) -> dict[str, int]:
        """How many pods each component should have."""
        deployments, sets = (
            self.rest.get(f"/apis/apps/v1/namespaces/{NAMESPACE}/{plural}").ok()["items"]
            for plural in ("deployments", "daemonsets")
        )
        wanted = {item["metadata"]["name"]: int(item["spec"]["replicas"]) for item in deployments}
        wanted |= {item["metadata"]["name"]: int(item["status"]["desiredNumberScheduled"]) for item in sets}
        return {component: wanted.get(component, 1) for component in COMPONENTS}

    def wait_answered(self) -> None:
        """Until the API server answers and calls itself ready, after it did not."""

        def code() -> int:
            with suppress(HTTPError):
                return self.rest.get("/readyz").code
            return 0

        patience.eventually("the API server is ready", code, lambda seen: seen == 200, within_s=60 + patience.boots(1))

    def wait_well(self, *, within_s: float | None = None) -> None:
        patience.eventually(
            "the whole stack is well", self.faults, lambda faults: not faults,
            within_s=within_s if within_s is not None else 120 + patience.boots(1),
        )  # fmt: skip

    def replace(self, pod: Object) -> None:
        """Delete a component's pod, with its grace. The next one starts without the back-off of a killed container."""
        name = pod["metadata"]["name"]
        self.rest.delete(core_path("pods", NAMESPACE, name))
