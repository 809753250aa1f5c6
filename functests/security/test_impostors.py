"""Pods, labels and annotations that claim to be the stack's own, or another VMI's."""

import pytest

from functests.libs import build, patience, pods
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.rest import core_path
from functests.libs.stack import NAMESPACE
from functests.libs.witness import Witness

_IDLE = "import time; time.sleep(600)"


def _stored(vmi: Object) -> tuple[object, ...]:
    status = vmi["status"]
    return status["phase"], status.get("activePods"), status.get("nodeName"), status.get("interfaces")


def _forged(pod: Manifest, victim: Object, *, name: str = "") -> Manifest:
    """``pod`` with everything by which a launcher pod of ``victim`` could be recognised."""
    metadata = victim["metadata"]
    owner = {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": metadata["name"],
        "uid": metadata["uid"], "controller": True, "blockOwnerDeletion": False,
    }  # fmt: skip
    labels = {
        "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": metadata["uid"],
        "vm.kubevirt.io/name": metadata["name"], "vmi.kubevirt.io/id": metadata["name"],
    }  # fmt: skip
    annotations = {"kubevirt.io/domain": metadata["name"]}
    forged = {"labels": labels, "annotations": annotations, "ownerReferences": [owner]}
    return build.merged(pod, {"metadata": forged | ({"name": name} if name else {})})


@pytest.mark.demand(seconds=50)
@pytest.mark.case("SEC-011")
def test_a_pod_that_poses_as_a_launcher_is_ignored(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI.
    Steps: a tenant creates pods on the VMI's node and on the other with all labels and annotations of its launcher and
        an owner reference to the VMI, one of them with a launcher's kind of name.
    Expected: for 15 s activePods, node, phase and interfaces of the VMI stay; the pods are neither deleted nor counted;
        the console reaches the guest, which goes on; with the VMI deleted its own pod and finalizer go.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "victim", kernel_args="tiny.agent=0"))
    space.wait_vmi("victim", lambda seen: bool(seen["status"].get("interfaces")), "has interfaces")
    space.wait_condition("victim", "Ready", "True")
    own = space.pod(vmi)["metadata"]["name"]
    witness = Witness(shell)
    before = _stored(space.vmi("victim"))
    assert list(space.vmi("victim")["status"]["activePods"]) == [space.pod(vmi)["metadata"]["uid"]]
    names = ("stranger", f"{own[:-5]}zzzzz")
    for name, node in zip(names, cluster.workers, strict=False):
        pods.start(space, _forged(pods.python_pod(cluster, "stranger", _IDLE, node=node), vmi, name=name))
    uids = {space.rest.get(core_path("pods", space.name, name)).ok()["metadata"]["uid"] for name in names}
    patience.quiet("the VMI changes", lambda: _stored(space.vmi("victim")), lambda seen: seen != before, for_s=15)
    for name in names:
        pod = space.rest.get(core_path("pods", space.name, name)).ok()
        assert "deletionTimestamp" not in pod["metadata"], f"{name} is being deleted"
        assert pod["metadata"]["uid"] in uids
    witness.check()
    assert space.shell("victim").succeed("hostname") == "victim"
    space.delete_vmi("victim").ok()
    space.wait_vmi_gone("victim", within_s=patience.promised(60))


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("SEC-022")
def test_labels_and_annotations_of_a_vmi_give_it_no_other_name(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: create a VMI (never scheduled) with labels and annotations that name it virt-api or another VMI, attach
        networks, or set profiles of its containers; read its pod and the endpoints of the service virt-api.
    Expected: the pod has our own values, and the VMI's other labels and annotations; no profile and no network came
        with it; the service has the endpoints that it had.
    """
    def endpoints() -> list[str]:
        query = "labelSelector=kubernetes.io/service-name%3Dvirt-api"
        items = space.rest.get(f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices?{query}").ok()["items"]
        return sorted(address for item in items for entry in item["endpoints"] for address in entry["addresses"])

    before = endpoints()
    labels = {
        "kubevirt.io": "virt-api", "vmi.kubevirt.io/id": "victim", "vm.kubevirt.io/name": "victim", "app": "mine"}
    annotations = {
        "kubevirt.io/domain": "victim", "k8s.v1.cni.cncf.io/networks": "kube-system/other",
        "v1.multus-cni.io/default-network": "kube-system/other",
        "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
        "container.seccomp.security.alpha.kubernetes.io/compute": "unconfined",
        "container.apparmor.security.beta.kubernetes.io/compute": "unconfined", "example.com/note": "kept",
    }  # fmt: skip
    manifest = build.merged(
        build.on_node(build.kernel_boot_vmi(cluster, "vm"), "no-such-node"),
        {"metadata": {"labels": labels, "annotations": annotations}},
    )
    assert space.try_create(manifest).code == 201
    vmi = space.vmi("vm")
    (pod,) = patience.eventually("the VMI has its pod", lambda: space.pods(vmi), bool)
    metadata = pod["metadata"]
    own = {key: metadata["labels"].get(key) for key in labels}
    assert own == {
        "kubevirt.io": "virt-launcher", "vmi.kubevirt.io/id": "vm", "vm.kubevirt.io/name": "vm", "app": "mine"}
    assert metadata["annotations"]["kubevirt.io/domain"] == "vm"
    assert metadata["annotations"]["example.com/note"] == "kept"
    foreign = [key for key in metadata["annotations"] if key in annotations
               and key not in ("kubevirt.io/domain", "example.com/note")]  # fmt: skip
    assert not foreign, foreign
    profiles = [container["securityContext"].get("seccompProfile") for container in pod["spec"]["containers"]]
    assert set(map(str, profiles)) == {"None"}, profiles
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert endpoints() == before
