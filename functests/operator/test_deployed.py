"""What the operator says and owns when everything is deployed and nothing happens."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from functests.libs import patience, retries
from functests.libs.kube import Object, condition
from functests.libs.rest import Rest

KUBEVIRTS = "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts"
NS = "namespaces/kubevirt"
OWNED = "app.kubernetes.io%2Fmanaged-by%3Dvirt-operator"
STRATEGY = "kubevirt.io/install-strategy-"
QUIET_S = 60

# Where objects may be -> (those that must be there, those that may be there too; regular expressions of names).
# Later issues bring more kinds of the API and their components; the second column already knows their names.
COLLECTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    f"/apis/apps/v1/{NS}/deployments": (
        ("virt-api", "virt-controller"), "virt-exportproxy|virt-synchronization-controller|virt-template-.*",
    ),
    f"/apis/apps/v1/{NS}/daemonsets": (("virt-handler",), ""),
    f"/api/v1/{NS}/services": (
        ("virt-api", "kubevirt-operator-webhook", "kubevirt-prometheus-metrics"), "virt-exportproxy",
    ),
    f"/api/v1/{NS}/serviceaccounts": (
        ("kubevirt-apiserver", "kubevirt-controller", "kubevirt-handler"),
        "kubevirt-exportproxy|kubevirt-synchronization-controller",
    ),
    f"/api/v1/{NS}/configmaps": (("kubevirt-ca",), "kubevirt-(export|external)-ca|kubevirt-install-strategy.*"),
    f"/api/v1/{NS}/secrets": ((), "kubevirt-.*"),
    "/apis/apiregistration.k8s.io/v1/apiservices": (
        ("v1.subresources.kubevirt.io", "v1alpha3.subresources.kubevirt.io"), "",
    ),
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations": (
        ("virt-operator-validator", "virt-api-validator"), "",
    ),
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": (("virt-api-mutator",), ""),
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": (
        ("virtualmachines.kubevirt.io", "virtualmachineinstances.kubevirt.io"), r"[a-z]+(\.[a-z]+)?\.kubevirt\.io",
    ),
    "/apis/rbac.authorization.k8s.io/v1/clusterroles": (
        tuple(f"kubevirt.io:{role}" for role in ("admin", "edit", "view", "default")),
        "(instancetype.)?kubevirt.*",
    ),
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings": (("kubevirt.io:default",), "(instancetype.)?kubevirt.*"),
    f"/apis/rbac.authorization.k8s.io/v1/{NS}/roles": ((), "kubevirt.*"),
    f"/apis/rbac.authorization.k8s.io/v1/{NS}/rolebindings": ((), "kubevirt.*"),
    "/apis/policy/v1/namespaces/kubevirt/poddisruptionbudgets": ((), "virt-.*"),
}  # fmt: skip


def kubevirt(admin: Rest) -> Object:
    (found,) = admin.get(KUBEVIRTS).ok()["items"]
    return dict(found)


def owned(admin: Rest) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object with the operator's label: (collection, object)."""
    for collection in COLLECTIONS:
        for item in admin.get(f"{collection}?labelSelector={OWNED}").ok()["items"]:
            yield collection, item


def _moved(before: Object | None, now: Object) -> bool:
    """Whether somebody has written the object. Status of anything but KubeVirt is Kubernetes' own: on a machine that
    stands still for a moment a probe fails, or the look at an aggregated API."""
    if before is None:
        return True
    if before["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]:
        return False
    if now.get("kind") == "KubeVirt" or now.get("status") == before.get("status"):
        return True
    return _written(before) != _written(now)


def _written(obj: Object) -> Object:
    """All but the status and what changes with each write."""
    kept = {key: value for key, value in obj.items() if key != "status"}
    changing = ("resourceVersion", "managedFields")
    return kept | {"metadata": {key: value for key, value in obj["metadata"].items() if key not in changing}}


@pytest.mark.demand(seconds=65)
@pytest.mark.case("OPR-001")
def test_a_deployed_cluster_stands_still(admin: Rest) -> None:
    """
    Preconditions: the operator has deployed everything.
    Steps: read the KubeVirt object; read the versions of every owned object; again a minute later.
    Expected: Deployed with its four conditions; observed is target; no resourceVersion moved, but for status that
        Kubernetes itself writes.
    """
    found = patience.eventually(
        "KubeVirt is Deployed and available",
        lambda: kubevirt(admin),
        lambda seen: seen["status"].get("phase") == "Deployed" and condition(seen, "Available").get("status") == "True",
    )
    seen = {
        entry["type"]: (entry["status"], entry.get("reason")) for entry in found["status"]["conditions"]
    }
    assert seen == {
        "Created": ("True", "AllResourcesCreated"),
        "Available": ("True", "AllComponentsReady"),
        "Progressing": ("False", "AllComponentsReady"),
        "Degraded": ("False", "AllComponentsReady"),
    }
    status = found["status"]
    assert status["observedKubeVirtVersion"] == status["targetKubeVirtVersion"] == status["operatorVersion"], status
    for what in ("KubeVirtRegistry", "DeploymentConfig", "DeploymentID"):
        assert status[f"observed{what}"] == status[f"target{what}"], what
    assert status["observedGeneration"] == found["metadata"]["generation"]

    def objects() -> dict[str, Object]:
        found = [("", kubevirt(admin)), *owned(admin)]
        return {f"{where}/{o['metadata']['name']}": o for where, o in found}

    before = retries.again("a look at what the operator owns", objects)
    moved: dict[str, str] = {}

    def look() -> dict[str, str]:
        now = objects()
        moved.update({name: o["metadata"]["resourceVersion"] for name, o in now.items() if _moved(before.get(name), o)})
        return moved

    patience.quiet(f"an owned object changes in {QUIET_S} s", look, bool, for_s=QUIET_S, every_s=10)
    assert not moved, moved


@pytest.mark.case("OPR-002")
def test_every_owned_object_is_there_and_marked(admin: Rest) -> None:
    """
    Preconditions: the operator has deployed everything.
    Steps: list every object that carries the operator's label.
    Expected: the known ones are there; each has its labels and annotations, cluster-wide ones no owner; CRDs are sound;
        nothing else carries the label.
    """
    identifier = kubevirt(admin)["status"]["observedDeploymentID"]
    found: dict[str, list[str]] = {collection: [] for collection in COLLECTIONS}
    faults = []
    for collection, item in owned(admin):
        metadata = item["metadata"]
        name = metadata["name"]
        where = f"{collection}/{name}"
        found[collection].append(name)
        labels, annotations = metadata.get("labels", {}), metadata.get("annotations", {})
        faults += [
            f"{where}: no label {key}"
            for key in ("managed-by", "part-of", "version", "component")
            if not labels.get(f"app.kubernetes.io/{key}")
        ]
        faults += [
            f"{where}: no annotation {STRATEGY}{key}"
            for key in ("version", "registry", "identifier")
            if f"{STRATEGY}{key}" not in annotations
        ]
        if annotations.get(f"{STRATEGY}identifier") != identifier:
            faults.append(f"{where}: identifier {annotations.get(f'{STRATEGY}identifier')}, deployed is {identifier}")
        if NS not in collection and "/namespaces/" not in collection and metadata.get("ownerReferences"):
            faults.append(f"{where}: has an owner")
        if collection.endswith("customresourcedefinitions"):
            if condition(item, "Established").get("status") != "True":
                faults.append(f"{where}: not Established")
            if condition(item, "NonStructuralSchema").get("status") == "True":
                faults.append(f"{where}: NonStructuralSchema")
    for collection, (must, may) in COLLECTIONS.items():
        faults += [f"{collection}: {name} is missing" for name in must if name not in found[collection]]
        faults += [
            f"{collection}: {name} is unknown"
            for name in found[collection]
            if name not in must and not re.fullmatch(may, name)
        ]
    assert not faults, "\n".join(faults)
