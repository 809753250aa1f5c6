"""Networks of SR-IOV interfaces that cannot be: what is said, and that no guest runs without its card."""

from collections.abc import Iterator
from typing import Any

import pytest

from functests.libs import build, claims, patience
from functests.libs.build import Manifest
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition
from functests.libs.rest import Rest

GROUP, PLURAL = "k8s.cni.cncf.io", "network-attachment-definitions"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RESOURCE = "k8s.v1.cni.cncf.io/resourceName"
NOWHERE = "functest.example/nowhere"
_SCHEMA = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
_KIND = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": PLURAL, "singular": PLURAL[:-1], "kind": "NetworkAttachmentDefinition"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": _SCHEMA}],
    },
}


@pytest.fixture
def attachments(admin: Rest) -> Iterator[None]:
    """The cluster knows NetworkAttachmentDefinitions, as one with multus does."""
    answer = admin.post(CRDS, _KIND)
    assert answer.code in (201, 409), answer.text
    place = f"{CRDS}/{PLURAL}.{GROUP}"
    try:
        patience.eventually(
            "the kind is served", lambda: condition(admin.get(place).ok(), "Established"),
            lambda found: found.get("status") == "True")
        yield
    finally:
        if answer.code == 201:
            admin.delete(place)
            patience.eventually("the kind is gone", lambda: admin.get(place).code, lambda code: code == 404)


def _define(space: Space, name: str, annotations: dict[str, str]) -> None:
    manifest: dict[str, Any] = {
        "apiVersion": f"{GROUP}/v1", "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "annotations": annotations}, "spec": {"config": '{"type": "sriov"}'},
    }  # fmt: skip
    path = f"/apis/{GROUP}/v1/namespaces/{space.name}/{PLURAL}"
    patience.eventually("the definition is stored", lambda: space.rest.post(path, manifest).code,
                        lambda code: code in (201, 409))


def _guest(cluster: Cluster, name: str, network: str) -> Manifest:
    manifest = build.kernel_boot_vmi(cluster, name, memory="64Mi")
    spec = manifest["spec"]
    spec["networks"].append({"name": "fast", "multus": {"networkName": network}})
    spec["domain"]["devices"]["interfaces"].append({"name": "fast", "sriov": {}})
    return manifest


@pytest.mark.serial
@pytest.mark.demand(vcpus=0, memory_mib=500, boots=0)
@pytest.mark.case("SRI-015")
def test_a_network_that_cannot_be_starts_no_guest(space: Space, cluster: Cluster, attachments: None) -> None:
    """
    Preconditions: a cluster that knows NetworkAttachmentDefinitions; one without a resource, one of a resource that no
        node has, and none of the third name.
    Steps: create a VMI with an SR-IOV interface in each of them.
    Expected: the first has a pod and never runs; Synchronized is False and names the missing PCI mapping and the
        definition. The second's pod asks for one of the resource, and for multus, and is Unschedulable: Insufficient.
        The third has no pod; Synchronized is False, FailedCreate, and names the definition.
    """
    _define(space, "bare", {})
    _define(space, "nowhere", {RESOURCE: NOWHERE})
    for name in ("bare", "nowhere", "missing"):
        space.create(_guest(cluster, name, name))

    missing = space.wait_condition("missing", "Synchronized", "False")
    nowhere = space.wait_condition("nowhere", "PodScheduled", "False")
    bare = space.wait_condition("bare", "Synchronized", "False")
    pod = space.pod(nowhere)
    found: list[Claim] = [
        ("why the first does not run", "missing PCI mapping" in condition(bare, "Synchronized")["message"], True),
        ("its definition", f"{space.name}/bare" in condition(bare, "Synchronized")["message"], True),
        ("its phase", space.vmi("bare")["status"]["phase"], "Scheduled"),
        ("the second's resource", pod["spec"]["containers"][0]["resources"]["limits"].get(NOWHERE), "1"),
        ("why it waits", f"Insufficient {NOWHERE}" in condition(nowhere, "PodScheduled")["message"], True),
        ("what multus is told", '"name": "nowhere"' in pod["metadata"]["annotations"].get(
            "k8s.v1.cni.cncf.io/networks", ""), True),
        ("why the third waits", condition(missing, "Synchronized").get("reason"), "FailedCreate"),
        ("its definition", f"{space.name}/missing" in condition(missing, "Synchronized")["message"], True),
        ("its pods", len(space.pods(missing)), 0),
    ]  # fmt: skip
    assert claims.wrong(found) == ""
