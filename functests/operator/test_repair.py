"""Whatever somebody does to the operator's objects, they are as they should be soon after."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from functests.libs import build, patience, settings
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition
from functests.libs.rest import JSON_PATCH, Rest
from functests.libs.stack import API, CONTROLLER, HANDLER, NAMESPACE, Stack
from functests.libs.watch import Watch
from functests.libs.witness import Witness

pytestmark = pytest.mark.serial

APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
CONTROLLERS = f"{APPS}/deployments/{CONTROLLER}"
HANDLERS = f"{APPS}/daemonsets/{HANDLER}"
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/virtualmachines.kubevirt.io"
SERVICE = f"/api/v1/namespaces/{NAMESPACE}/services/{API}"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/virt-api-validator"
EDIT = f"{RBAC}/clusterroles/kubevirt.io:edit"
VIEW = f"{RBAC}/clusterroles/kubevirt.io:view"
SUBRESOURCES = "/apis/apiregistration.k8s.io/v1/apiservices/v1.subresources.kubevirt.io"
MARKS = ("app.kubernetes.io/", "kubevirt.io/install-strategy-")


@dataclass(frozen=True)
class Damage:
    """A JSON patch of one object, and the place of the part that has to be again what it was."""

    what: str
    path: str
    patch: tuple[dict[str, Any], ...]
    place: str

    def part(self, found: Any) -> Any:
        """Of the object; None when it is not there."""
        for name in self.place.strip("/").split("/"):
            found = found[int(name)] if isinstance(found, list) else found.get(name)
        return found


_ENVIRONMENT = "/spec/template/spec/containers/0/env"
_INTRUDER = {"op": "add", "path": f"{_ENVIRONMENT}/-", "value": {"name": "INTRUDER", "value": "1"}}
WORKLOADS = (
    Damage("a variable added to virt-controller", CONTROLLERS, (_INTRUDER,), _ENVIRONMENT),
    Damage("a variable added to virt-handler", HANDLERS, (_INTRUDER,), _ENVIRONMENT),
)
OTHERS = (
    Damage(
        "short name of VMs dropped", DEFINITION, ({"op": "remove", "path": "/spec/names/shortNames/0"},),
        "/spec/names/shortNames",
    ),
    Damage(
        "port of virt-api changed", SERVICE, ({"op": "replace", "path": "/spec/ports/0/port", "value": 444},),
        "/spec/ports",
    ),
    Damage("a webhook dropped", WEBHOOKS, ({"op": "remove", "path": "/webhooks/0"},), "/webhooks"),
    Damage("a rule dropped from edit", EDIT, ({"op": "remove", "path": "/rules/0"},), "/rules"),
)  # fmt: skip


def _put_right(rest: Rest, damages: tuple[Damage, ...]) -> None:
    """Does each damage alone, and waits until it is undone."""
    for damage in damages:
        before = damage.part(rest.get(damage.path).ok())
        changed = rest.patch(damage.path, list(damage.patch), JSON_PATCH).ok()
        assert damage.part(changed) != before, f"{damage.what}: the patch changed nothing"
        try:
            patience.eventually(
                f"{damage.what}: put right",
                lambda damage=damage: damage.part(rest.get(damage.path).ok()),  # type: ignore[misc]
                lambda seen, before=before: seen == before,  # type: ignore[misc]
                within_s=patience.promised(120),
            )
        except BaseException:
            # The next tests are to find a cluster that works.
            rest.patch(damage.path, [{"op": "add", "path": damage.place, "value": before}], JSON_PATCH)
            raise
    settings.wait_applied(rest, within_s=patience.promised(120))


def _versions(rest: Rest, damages: tuple[Damage, ...]) -> dict[str, str]:
    """Generations where there are such: the status of a workload may still move. Else resource versions."""
    found = {damage.what: rest.get(damage.path).ok()["metadata"] for damage in damages}
    return {what: str(meta.get("generation") or meta["resourceVersion"]) for what, meta in found.items()}


def _stands_still(rest: Rest, damages: tuple[Damage, ...]) -> None:
    before = _versions(rest, damages)

    def written() -> dict[str, tuple[str, str]]:
        now = _versions(rest, damages)
        return {what: (before[what], now[what]) for what in before if now[what] != before[what]}

    patience.quiet("the operator writes on", written, bool, for_s=30, every_s=2)


@pytest.mark.demand(seconds=120)
@pytest.mark.disruptive
@pytest.mark.case("OPR-003")
def test_changed_workloads_are_put_right(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running guest with a witness.
    Steps: add a variable to the pods of virt-controller; to those of virt-handler.
    Expected: gone within 120 s; status.generations has the new generations; then no write for 30 s; the guest goes on.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    _put_right(stack.rest, WORKLOADS)
    stack.wait_well()
    recorded = {
        entry["name"]: entry["lastGeneration"] for entry in settings.kubevirt(stack.rest)["status"]["generations"]
    }
    for name, path in ((CONTROLLER, CONTROLLERS), (HANDLER, HANDLERS)):
        assert recorded[name] == stack.rest.get(path).ok()["metadata"]["generation"], recorded
    _stands_still(stack.rest, WORKLOADS)
    witness.shell = space.shell("vm")
    witness.check()


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0, seconds=60)
@pytest.mark.disruptive
@pytest.mark.case("OPR-003")
def test_changed_objects_are_put_right(stack: Stack) -> None:
    """
    Preconditions: none.
    Steps: one after the other: drop a short name of a definition; change a Service's port; drop a webhook; drop a rule
        of kubevirt.io:edit.
    Expected: each as it was within 120 s; then no write for 30 s.
    """
    _put_right(stack.rest, OTHERS)
    _stands_still(stack.rest, OTHERS)
    found = {damage.what: damage.part(stack.rest.get(damage.path).ok()) for damage in OTHERS}
    assert "vm" in found["short name of VMs dropped"], found
    assert [port["port"] for port in found["port of virt-api changed"]] == [443], found


@contextmanager
def _made_anew(rest: Rest, path: str) -> Iterator[str]:
    """The object is deleted; gives its uid. Where the block fails and nobody has made it again, it is made here: the
    next tests are to find a cluster that works."""
    old = rest.get(path).ok()
    rest.delete(path).ok()
    try:
        yield str(old["metadata"]["uid"])
    except BaseException:
        meta = {key: old["metadata"][key] for key in ("name", "namespace", "labels", "annotations")
                if key in old["metadata"]}
        rest.post(path.rpartition("/")[0], {**old, "metadata": meta})
        raise


@pytest.mark.demand(seconds=60)
@pytest.mark.disruptive
@pytest.mark.case("OPR-004")
def test_deleted_objects_come_back(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running guest with a witness.
    Steps: delete virt-controller's Deployment, virt-api's Service, kubevirt.io:view, the APIService of v1, one by one.
    Expected: each is there again within 60 s as another object; KubeVirt is not available and then is, and never
        Deploying; the guest goes on.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    with Watch(stack.rest, settings.KUBEVIRTS) as watch:
        for path in (CONTROLLERS, SERVICE, VIEW, SUBRESOURCES):
            with _made_anew(stack.rest, path) as old:
                patience.eventually(
                    f"{path} is there again",
                    lambda path=path: stack.rest.get(path),  # type: ignore[misc]
                    lambda seen, old=old: seen.code == 200 and seen.body["metadata"]["uid"] != old,  # type: ignore[misc]
                    within_s=patience.promised(60),
                )
        # What was deleted first takes longest: the new virt-controller has to start.
        available = patience.eventually(
            "KubeVirt was not available, and is again",
            lambda: [condition(obj, "Available").get("status") for _, obj in watch.seen()],
            lambda told: "False" in told and told[-1] == "True", within_s=patience.promised(120),
        )  # fmt: skip
        phases = {obj["status"].get("phase") for _, obj in watch.seen()}
    assert available[0] == "True", available
    assert phases == {"Deployed"}, phases
    stack.wait_well()
    witness.shell = space.shell("vm")
    witness.check()


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("OPR-005")
def test_stripped_marks_come_back(stack: Stack) -> None:
    """
    Preconditions: none.
    Steps: take all labels and annotations of the operator off a Service and off a ClusterRole; leave one of our own.
    Expected: within 20 s they are back, ours is still there, and it is the same object (uid).
    """
    for path in (SERVICE, VIEW):
        before = stack.rest.get(path).ok()["metadata"]
        marks = {
            part: {key: None for key in before.get(part, {}) if key.startswith(MARKS)}
            for part in ("labels", "annotations")
        }
        assert all(marks.values()), before
        patch = copy.deepcopy(marks)
        patch["annotations"]["functest"] = "kept"  # type: ignore[assignment]
        stack.rest.patch(path, {"metadata": patch}).ok()
        try:
            after = patience.eventually(
                f"{path} has its marks again",
                lambda path=path: stack.rest.get(path).ok()["metadata"],  # type: ignore[misc]
                lambda seen, marks=marks: all(  # type: ignore[misc]
                    key in seen.get(part, {}) for part, keys in marks.items() for key in keys
                ),
                within_s=patience.promised(20),
            )
            assert after["uid"] == before["uid"]
            for part, keys in marks.items():
                assert {key: after[part][key] for key in keys} == {key: before[part][key] for key in keys}
            assert after["annotations"]["functest"] == "kept", after["annotations"]
        finally:
            stack.rest.patch(path, {"metadata": {"annotations": {"functest": None}}}).ok()
