"""What clients learn of the subresources before they use one: discovery, versions, documents; and what is not there."""

import base64
import json
import re
import time
from typing import Any

import pytest

from functests.libs import build, patience, roles, settings
from functests.libs.cluster import Cluster
from functests.libs.commands import kubectl
from functests.libs.kube import Space, condition
from functests.libs.rest import VM, VMI, Answer, Rest, core_path, subresource_path
from functests.libs.watch import Watch

pytestmark = pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)

GROUP = "subresources.kubevirt.io"
VERSIONS = ("v1", "v1alpha3")
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# What KubeVirt's clients look for; more may be listed.
NAMES = {
    "expand-vm-spec",
    *(f"{VM}/{name}" for name in (
        "start", "stop", "restart", "migrate", "portforward", "expand-spec", "objectgraph", "evacuate/cancel",
    )),
    *(f"{VMI}/{name}" for name in (
        "console", "vnc", "vnc/screenshot", "portforward", "pause", "unpause", "freeze", "unfreeze", "reset",
        "softreboot", "guestosinfo", "userlist", "filesystemlist", "addvolume", "removevolume", "objectgraph",
        "evacuate/cancel",
    )),
}  # fmt: skip
SEMVER = re.compile(r"v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


@pytest.mark.case("SUB-001")
@pytest.mark.parametrize("version", VERSIONS)
def test_discovery_lists_every_subresource(admin: Rest, cluster: Cluster, version: str) -> None:
    """
    Preconditions: none.
    Steps: get the version of the group; list all resources with kubectl.
    Expected: an APIResourceList with every name once, each namespaced; kubectl ends well and says nothing of errors.
    """
    found = admin.get(f"/apis/{GROUP}/{version}").ok()
    assert (found["kind"], found["groupVersion"]) == ("APIResourceList", f"{GROUP}/{version}")
    listed = [resource["name"] for resource in found["resources"]]
    assert not NAMES - set(listed), NAMES - set(listed)
    assert len(listed) == len(set(listed)), listed
    assert all(resource["namespaced"] for resource in found["resources"]), found["resources"]

    shown = kubectl(cluster, "api-resources", "--cached=false")
    assert "virtualmachineinstances" in shown.stdout, shown.stdout
    assert "error" not in shown.stderr.lower(), shown.stderr


@pytest.mark.case("SUB-002")
def test_the_group_is_served_and_well(admin: Rest) -> None:
    """
    Preconditions: none.
    Steps: get the group, all groups in the aggregated form, the health of both versions, the APIServices.
    Expected: v1 is preferred; the group is listed with both versions; connectivity is ok; both APIServices are
        Available and trust the operator's authorities.
    """
    group = admin.get(f"/apis/{GROUP}").ok()
    assert group["preferredVersion"] == {"groupVersion": f"{GROUP}/v1", "version": "v1"}, group
    assert {entry["version"] for entry in group["versions"]} == set(VERSIONS)
    everything = admin.request("GET", "/apis", headers={"Accept": AGGREGATED}).ok()
    assert everything["kind"] == "APIGroupDiscoveryList", everything["kind"]
    listed = {item["metadata"]["name"]: item["versions"] for item in everything["items"]}
    assert [(entry["version"], entry["freshness"]) for entry in listed[GROUP]] == [
        (version, "Current") for version in VERSIONS
    ]
    bundle = admin.get(core_path("configmaps", settings.NAMESPACE, "kubevirt-ca")).ok()["data"]["ca-bundle"]
    for version in VERSIONS:
        health = admin.get(f"/apis/{GROUP}/{version}/healthz").ok()
        assert health["apiserver"]["connectivity"] == "ok", health
        service = admin.get(f"/apis/apiregistration.k8s.io/v1/apiservices/{version}.{GROUP}").ok()
        assert condition(service, "Available").get("status") == "True", service["status"]
        assert base64.b64decode(service["spec"]["caBundle"]).decode() == bundle


@pytest.mark.case("SUB-003")
def test_a_namespace_can_be_deleted(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a namespace with a stopped VM and a ConfigMap.
    Steps: delete the namespace.
    Expected: it is gone within 60 s; no discovery failure was ever among its conditions.
    """
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "Halted"))
    space.rest.post(core_path("configmaps", space.name), {"metadata": {"name": "data"}, "data": {"a": "b"}}).ok()
    path = f"/api/v1/namespaces/{space.name}"
    with Watch(space.rest, f"/api/v1/namespaces?fieldSelector=metadata.name%3D{space.name}") as watch:
        space.rest.delete(path).ok()
        patience.eventually(
            "the namespace is gone", lambda: space.rest.get(path).code, lambda code: code == 404,
            within_s=patience.promised(60),
        )
        seen = [condition(obj, "NamespaceDeletionDiscoveryFailure") for _, obj in watch.seen()]
    assert seen
    assert not [entry for entry in seen if entry.get("status") == "True"], seen


@pytest.mark.case("SUB-004")
def test_everybody_with_an_account_learns_the_version(space: Space) -> None:
    """
    Preconditions: a service account without any binding; it cannot list pods.
    Steps: get version and guestfs in both versions of the API.
    Expected: 200; every key is filled in; the version is a semantic one, and the one that the KubeVirt object observes.
    """
    account = roles.account(space, "plain")
    assert account.get(core_path("pods", space.name)).code == 403
    observed = settings.kubevirt(space.rest)["status"]["observedKubeVirtVersion"]
    for version in VERSIONS:
        told = account.get(f"/apis/{GROUP}/{version}/version").ok()
        keys = ("gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform")
        assert all(told.get(key) for key in keys), told
        assert SEMVER.fullmatch(told["gitVersion"]), told
        assert told["gitVersion"] == observed, told
        guestfs = account.get(f"/apis/{GROUP}/{version}/guestfs").ok()
        assert set(guestfs) == {"registry", "tag", "imagePrefix", "gsImage"}, guestfs
        assert guestfs["registry"], guestfs
        assert guestfs["tag"] == observed, guestfs


@pytest.mark.case("SUB-005")
def test_documents_describe_subresources_and_fields(admin: Rest, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: get OpenAPI 2 and 3 from kube-apiserver; kubectl explain vmi.spec.domain.cpu.
    Expected: start, console and expand-vm-spec of both versions are in; the fields are printed.
    """

    def paths(version: str) -> set[str]:
        root = f"/apis/{GROUP}/{version}/namespaces/{{namespace}}"
        return {f"{root}/{VM}/{{name}}/start", f"{root}/{VMI}/{{name}}/console", f"{root}/expand-vm-spec"}

    second = admin.get("/openapi/v2").ok()
    index = admin.get("/openapi/v3").ok()["paths"]
    for version in VERSIONS:
        assert paths(version) <= set(second["paths"]), version
        third = admin.get(index[f"apis/{GROUP}/{version}"]["serverRelativeURL"]).ok()
        assert paths(version) <= set(third["paths"]), version
    told = kubectl(cluster, "explain", "vmi.spec.domain.cpu")
    for field in ("cores", "sockets", "threads", "model"):
        assert re.search(rf"^\s+{field}\b", told.stdout, re.MULTILINE), told.stdout


def _misfit(answer: Answer, code: int, reason: str, message: str = "", name: str = "") -> str:
    """"" for a Status object with that code, reason, message and name in its details."""
    seen = (answer.code, answer.body.get("kind"), answer.body.get("code"), answer.body.get("reason"))
    if seen != (code, "Status", code, reason) or message not in answer.message:
        return f"expected {code} {reason} {message!r}, got {seen}: {answer.text[:300]}"
    details: dict[str, Any] = answer.body.get("details") or {}
    return f"details.name is {details.get('name')!r}, not {name!r}" if name and details.get("name") != name else ""


@pytest.mark.case("SUB-006")
def test_what_is_unknown_is_not_found(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a stopped VM.
    Steps: act on a VM and on a VMI that do not exist; ask for a subresource that does not exist; POST and GET start.
    Expected: 404 that names kind and name; 404; 405; each a Status object; the VM is as it was.
    """
    space.create(build.vm_of(build.on_node(build.kernel_boot_vmi(cluster, "vm"), "no-such-node"), "Halted"))
    before = space.wait_vm_status("vm", "Stopped")["metadata"]["resourceVersion"]
    wrong = []

    def ask(method: str, plural: str, name: str, verb: str, *wanted: Any) -> None:
        for version in VERSIONS:
            path = subresource_path(plural, space.name, name, verb, version=version)
            text = _misfit(space.rest.request(method, path), *wanted)
            wrong.extend([f"{method} {version} {plural}/{name}/{verb}: {text}"] if text else [])

    no_vm = (404, "NotFound", 'virtualmachine.kubevirt.io "x" not found', "x")
    no_vmi = (404, "NotFound", 'virtualmachineinstance.kubevirt.io "x" not found', "x")
    ask("PUT", VM, "x", "start", *no_vm)
    ask("GET", VMI, "x", "console", *no_vmi)
    ask("PUT", VMI, "x", "pause", *no_vmi)
    ask("GET", VMI, "x", "guestosinfo", *no_vmi)
    ask("PUT", VM, "vm", "no-such-thing", 404, "NotFound")
    ask("POST", VM, "vm", "start", 405, "MethodNotAllowed")
    ask("GET", VM, "vm", "start", 405, "MethodNotAllowed")
    assert not wrong, "\n".join(wrong)
    assert space.vm("vm")["metadata"]["resourceVersion"] == before


@pytest.mark.case("SUB-007")
def test_start_takes_any_body_that_can_be_read(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: stopped VMs that fit on no node.
    Steps: start one each with no body, {}, YAML, without a Content-Type, with */* and with text/plain; one with half a
        document; one with 2 MiB.
    Expected: 202 without a body and started; 400 Status and still stopped; 4xx within 5 s and still stopped.
    """
    bodies: dict[str, tuple[str | None, str]] = {
        "nothing": (None, "application/json"), "empty": ("{}", "application/json"),
        "yaml": ("paused: false\n", "application/yaml"), "untyped": ("{}", ""), "any": ("{}", "*/*"),
        "plain": ("{}", "text/plain"),
    }
    half, large = "half", "large"
    for name in (*bodies, half, large):
        space.create(build.vm_of(build.on_node(build.kernel_boot_vmi(cluster, name), "no-such-node"), "Halted"))
    wrong = []
    for name, (body, kind) in bodies.items():
        answer = space.rest.request(
            "PUT", subresource_path(VM, space.name, name, "start"), body, content_type=kind
        )
        strategy = space.vm(name)["spec"]["runStrategy"]
        if (answer.code, answer.text, strategy) != (202, "", "Always"):
            wrong.append(f"{name}: {answer.code} {answer.text[:200]!r}, {strategy}")
    assert not wrong, "\n".join(wrong)

    broken = space.rest.request("PUT", subresource_path(VM, space.name, half, "start"), '{"paused":')
    assert not _misfit(broken, 400, "BadRequest"), broken.text
    started = time.monotonic()
    padded = json.dumps({"paused": False, "padding": "x" * (2 << 20)})
    refused = space.rest.request("PUT", subresource_path(VM, space.name, large, "start"), padded)
    assert 400 <= refused.code < 500, refused.text
    assert time.monotonic() - started < 5
    assert [space.vm(name)["spec"]["runStrategy"] for name in (half, large)] == ["Halted"] * 2
