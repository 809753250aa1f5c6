"""The dev cluster that runs: its state file tells the truth, and commands without work leave it alone."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3

from cluster_up import state as states
from cluster_up.exec import Result
from functests.libs import build, commands, patience, retries
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import Rest
from functests.libs.stalls import STALLS

PODS = "/api/v1/pods"


def _pods(admin: Rest) -> dict[str, tuple[str, int]]:
    """Restarts by namespace/name of all pods, with their uid; without those that were going when the test began."""
    return {
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": (
            pod["metadata"]["uid"],
            sum(status["restartCount"] for status in pod["status"].get("containerStatuses", [])),
        )
        for pod in admin.get(PODS).ok()["items"]
        if "deletionTimestamp" not in pod["metadata"]
    }


def _containers(nodes: Nodes) -> dict[str, tuple[str, str]]:
    """Id and start time of each node's container."""
    return {node.name: node.identity() for node in nodes}


@pytest.mark.case("DEV-001")
def test_the_state_file_says_what_there_is(cluster: Cluster, admin: Rest, nodes: Nodes) -> None:
    """
    Preconditions: a cluster that is up.
    Steps: read its state file; ask Docker, the API server, the registry, the storage classes and doctor.
    Expected: the file reads by its schema; names, roles, versions, port, capabilities, images are the same everywhere.
    """
    state = states.read(cluster.name)
    assert state is not None, f"no state file of {cluster.name}"
    items = admin.get("/api/v1/nodes").ok()["items"]
    control = "node-role.kubernetes.io/control-plane"
    seen = {item["metadata"]["name"]: item for item in items}
    assert {node.name for node in state.nodes} == set(seen) == set(_containers(nodes))
    for node in state.nodes:
        labels = seen[node.name]["metadata"]["labels"]
        assert ("control-plane" if control in labels else "worker") == node.role, labels
        assert node.pod_cidr == seen[node.name]["spec"]["podCIDR"], node
        addresses = [entry["address"] for entry in seen[node.name]["status"]["addresses"]]
        assert node.address in addresses, (node, addresses)
        version = seen[node.name]["status"]["nodeInfo"]["kubeletVersion"]
        assert version == f"v{state.kubernetes_version}", node
    assert Path(state.kubeconfig).is_file()
    assert Path(state.kubeconfig) == cluster.kubeconfig

    registry = commands.fetch(f"http://localhost:{state.registry_port}/v2/_catalog")
    pushed = json.loads(registry)["repositories"]
    assert set(state.component_images) <= set(pushed), pushed

    classes = {item["metadata"]["name"] for item in admin.get("/apis/storage.k8s.io/v1/storageclasses").ok()["items"]}
    doctor = json.loads(commands.cluster_up("doctor", "-o", "json").stdout)
    verdicts = {check["name"]: check["verdict"] for check in doctor}
    can = state.capabilities
    assert can.shared == ("shared" in classes), classes
    assert can.kvm == (verdicts["kvm"] == "ok"), verdicts
    assert (can.sriov, can.netpol, can.snapshot) == (bool(cluster.machines), False, False), can

    pods = admin.get("/api/v1/namespaces/kubevirt/pods").ok()["items"]
    images = {reference for name, reference in state.component_images.items() if name != "virt-launcher"}
    used = {container["image"] for pod in pods for container in pod["spec"]["containers"]}
    assert used == images, used
    running = {status["imageID"].rpartition("@")[2] for pod in pods for status in pod["status"]["containerStatuses"]}
    assert running == {_digest(state.registry_port, image) for image in images}, running


def _digest(port: int, reference: str) -> str:
    """Digest of an image's manifest, as the registry tells it."""
    name, _, tag = reference.split("/", 1)[1].partition(":")
    kinds = ("vnd.oci.image.manifest.v1", "vnd.docker.distribution.manifest.v2", "vnd.oci.image.index.v1")
    headers = {"Accept": ", ".join(f"application/{kind}+json" for kind in kinds)}
    answer = urllib3.request("HEAD", f"http://localhost:{port}/v2/{name}/manifests/{tag}", headers=headers, timeout=10)
    assert answer.status == 200, f"{reference}: {answer.status}"
    return str(answer.headers["Docker-Content-Digest"])


def _untouched(cluster: Cluster, admin: Rest, nodes: Nodes) -> dict[str, Any]:
    """What a command without work may not change."""
    return {"containers": _containers(nodes), "pods": _pods(admin)}


def _changes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What is not the same, as (before, after)."""
    return {
        f"{what} {name}": (was.get(name), now.get(name))
        for what, was, now in ((what, before[what], after[what]) for what in before)
        for name in sorted({*was, *now})
        if was.get(name) != now.get(name)
    }


def _looked(look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Many reads make a look: one that the API server could not answer shall not decide the test."""
    return retries.again("a look at the cluster", look)


def _timed(*words: str, within_s: float) -> tuple[Result, float]:
    """A command without work, alone on the cluster, and how long it may have taken: ``within_s`` where a boot takes
    six seconds, in proportion on a slower machine, and as long as the machine stood still."""
    STALLS.start()
    began = time.monotonic()
    done = commands.cluster_up(*words)
    return done, within_s * max(1.0, patience.boot_s() / 6) + STALLS.since(began)


@pytest.mark.serial
@pytest.mark.case("DEV-002")
def test_a_second_up_leaves_everything_alone(space: Space, cluster: Cluster, admin: Rest, nodes: Nodes) -> None:
    """
    Preconditions: a cluster that is up with the newest code; a running VM.
    Steps: up.
    Expected: exit 0 within 15 s; each step already done; same containers, pods and guest.
    """
    up = ("up", "--name", cluster.name, "--workers", str(len(cluster.workers)))
    assert commands.cluster_up(*up).code == 0, "the newest code is not on the cluster"
    _, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    same = shell.succeed("cat /proc/sys/kernel/random/boot_id")
    before = _looked(lambda: _untouched(cluster, admin, nodes))
    done, allowed_s = _timed(*up, within_s=15)
    assert done.code == 0, done.stderr
    assert done.seconds <= allowed_s, f"up took {done.seconds:.1f} s, not at most {allowed_s:.1f}"
    steps = re.findall(r"^- (.*)$", done.stderr, re.MULTILINE)
    worked = [step for step in steps if not step.endswith("already done")]
    assert steps, done.stderr
    assert not worked, worked
    assert _changes(before, _looked(lambda: _untouched(cluster, admin, nodes))) == {}
    assert shell.succeed("cat /proc/sys/kernel/random/boot_id") == same


@pytest.mark.serial
@pytest.mark.case("DEV-004")
def test_a_sync_without_a_change_does_nothing(cluster: Cluster, admin: Rest, nodes: Nodes) -> None:
    """
    Preconditions: a cluster that is up with the newest code.
    Steps: sync.
    Expected: exit 0 within 10 s and "nothing to do"; no image is new in the registry; no pod and no owned object moved.
    """
    state = states.read(cluster.name)
    assert state is not None
    repositories = f"http://localhost:{state.registry_port}/v2"

    def look() -> dict[str, Any]:
        collections = ("deployments", "daemonsets")
        versions = {
            item["metadata"]["name"]: item["metadata"]["resourceVersion"]
            for plural in collections
            for item in admin.get(f"/apis/apps/v1/namespaces/kubevirt/{plural}").ok()["items"]
        }
        (kubevirt,) = admin.get("/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts").ok()["items"]
        pushed = {
            name: sorted(json.loads(commands.fetch(f"{repositories}/{name}/tags/list"))["tags"])
            for name in state.component_images
        }
        return {
            **_untouched(cluster, admin, nodes),
            "owned": versions,
            "kubevirt": {"version": kubevirt["metadata"]["resourceVersion"]},
            "pushed": pushed,
        }

    # The test before may have replaced components: what is told of them comes to rest a moment later.
    seen = [_looked(look)]

    def at_rest() -> bool:
        seen.append(_looked(look))
        return seen[-1] == seen[-2]

    patience.eventually("the cluster is at rest", at_rest, bool, every_s=5)
    before = seen[-1]
    done, allowed_s = _timed("sync", "--name", cluster.name, within_s=10)
    assert done.code == 0, done.stderr
    assert done.seconds <= allowed_s, f"sync took {done.seconds:.1f} s, not at most {allowed_s:.1f}"
    assert "nothing to do" in done.stderr, done.stderr
    assert _changes(before, _looked(look)) == {}
