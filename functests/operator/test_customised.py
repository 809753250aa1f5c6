"""Patches of the operator's objects that the KubeVirt object brings."""

import json
import re
from typing import Any

import pytest

from functests.libs import build, patience, settings
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition
from functests.libs.rest import Rest
from functests.libs.stack import API, COMPONENTS, CONTROLLER, NAMESPACE, OPERATOR, Stack
from functests.libs.witness import Witness

pytestmark = pytest.mark.serial

DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
ARGUMENT = "--functest"
ANNOTATION = "functest/customised"


def _patch(name: str, kind: str, change: object) -> dict[str, Any]:
    text = change if isinstance(change, str) else json.dumps(change)
    patch = {"resourceName": name, "resourceType": "Deployment", "type": kind, "patch": text}
    return {"customizeComponents": {"patches": [patch]}}


def _settled(rest: Rest, name: str) -> Any:
    """What of a Deployment does not move by itself."""
    found = rest.get(f"{DEPLOYMENTS}/{name}").ok()
    stamp = "kubevirt.io/generation"
    annotations = {
        key: value for key, value in found["metadata"]["annotations"].items()
        if key != stamp and not key.startswith("deployment.kubernetes.io/")
    }  # fmt: skip
    return found["spec"], found["metadata"]["labels"], annotations


@pytest.mark.demand(seconds=120)
@pytest.mark.case("OPR-006")
@pytest.mark.parametrize("kind", ["strategic", "json"])
def test_a_patch_is_there_once_and_goes(space: Space, cluster: Cluster, stack: Stack, kind: str) -> None:
    """
    Preconditions: a running guest with a witness.
    Steps: patch virt-controller with an annotation (strategic), or virt-api with an argument more (JSON); restart the
        leading operator, and label the KubeVirt object twice; take the patch away.
    Expected: the change is there within 120 s, and exactly once after all that; then the Deployment is what it was;
        the guest goes on.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    name = {"strategic": CONTROLLER, "json": API}[kind]
    change: object = {"metadata": {"annotations": {ANNOTATION: "yes"}}}
    if kind == "json":
        change = [{"op": "add", "path": "/spec/template/spec/containers/0/command/-", "value": ARGUMENT}]

    def count() -> int:
        found = stack.rest.get(f"{DEPLOYMENTS}/{name}").ok()
        command = found["spec"]["template"]["spec"]["containers"][0]["command"]
        return int(command.count(ARGUMENT) + (ANNOTATION in found["metadata"]["annotations"]))

    before = _settled(stack.rest, name)
    assert count() == 0
    with settings.changed(stack.rest, _patch(name, kind, change)):
        patience.eventually("the change is there", count, lambda seen: seen == 1, within_s=patience.promised(120))
        settings.wait_applied(stack.rest)
        leader = stack.leader(OPERATOR)
        stack.kill(leader)
        stack.wait_restarted(leader)
        place = settings.path(stack.rest)
        for value in ("once", None):
            stack.rest.patch(place, {"metadata": {"labels": {"functest": value}}}).ok()
            settings.wait_applied(stack.rest)
        assert count() == 1
    patience.eventually(
        "the Deployment is what it was", lambda: _settled(stack.rest, name), lambda seen: seen == before
    )
    stack.wait_well()
    witness.shell = space.shell("vm")
    witness.check()


@pytest.mark.demand(seconds=60)
@pytest.mark.case("OPR-007")
def test_a_patch_that_does_not_fit_harms_nothing(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: none.
    Steps: bring a patch that is not JSON; one of a path that virt-api's Deployment does not have; boot a VM; take the
        patch away.
    Expected: 422 at spec.customizeComponents.patches, "is not valid JSON"; Synchronized False with DeploymentFailed and
        the object's name, Degraded True, every component's pod the same, and the VM boots; all ready again.
    """
    refused = settings.tried(stack.rest, _patch(API, "json", "{no JSON"))
    assert refused.code == 422, refused.text
    assert re.match(r"spec\.customizeComponents\.patches", refused.causes[0]["field"]), refused.causes
    assert "is not valid JSON" in refused.message, refused.message

    pods = {pod["metadata"]["uid"] for component in COMPONENTS for pod in stack.pods(component)}
    nowhere = [{"op": "remove", "path": "/spec/template/spec/nowhere"}]
    with settings.changed(stack.rest, _patch(API, "json", nowhere)):
        found = patience.eventually(
            "the object says that it failed", lambda: settings.kubevirt(stack.rest),
            lambda seen: condition(seen, "Synchronized").get("reason") == "DeploymentFailed",
        )  # fmt: skip
        told = condition(found, "Synchronized")
        assert told["status"] == "False", told
        assert f"Deployment {API}" in told["message"], told
        assert condition(found, "Degraded")["status"] == "True", found["status"]["conditions"]
        _, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
        assert shell.succeed("echo $((6*7))") == "42"
        assert {pod["metadata"]["uid"] for component in COMPONENTS for pod in stack.pods(component)} == pods
    ready = settings.kubevirt(stack.rest)
    assert condition(ready, "Available").get("reason") == "AllComponentsReady", ready["status"]["conditions"]
    assert not condition(ready, "Synchronized"), ready["status"]["conditions"]
