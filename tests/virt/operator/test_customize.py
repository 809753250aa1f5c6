"""Patches that the KubeVirt object brings: how each kind changes a document, and how they come and go."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from tests.virt.operator.cluster import Cluster, kubevirt
from virt.api import v1
from virt.api.kinds import KUBEVIRT
from virt.operator import patching, stamps
from virt.operator.customize import NOTE, customised, noted
from virt.operator.patching import PatchError
from virt.operator.resources import DEPLOYMENT, Json

NAMESPACE = "kubevirt"
DOCUMENT: Json = {
    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "1"}},
    "spec": {"replicas": 2, "template": {"spec": {"containers": [
        {"name": "one", "env": [{"name": "A", "value": "1"}], "command": ["x"]}, {"name": "two"},
    ]}}},
}


def patch(
    text: Any, type_: str = "strategic", name: str = "d", kind: str = "Deployment"
) -> v1.CustomizeComponentsPatch:
    written = text if isinstance(text, str) else json.dumps(text)
    return v1.CustomizeComponentsPatch(resource_name=name, resource_type=kind, type=type_, patch=written)


def containers(document: Json) -> Any:
    return document["spec"]["template"]["spec"]["containers"]


def test_a_strategic_patch_merges_lists_by_their_key() -> None:
    change = {"spec": {"template": {"spec": {"containers": [
        {"name": "one", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "3"}]},
        {"name": "two", "$patch": "delete"}, {"name": "three"},
    ]}}}}
    found = containers(customised(DOCUMENT, [patch(change)]))
    assert [one["name"] for one in found] == ["one", "three"]
    assert found[0]["env"] == [{"name": "A", "value": "3"}, {"name": "B", "value": "2"}]
    assert found[0]["command"] == ["x"]
    assert [one["name"] for one in containers(DOCUMENT)] == ["one", "two"], "the argument was changed"


@pytest.mark.parametrize(("document", "change", "expected"), [
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
    ({"a": {"b": 1}}, {"a": {"$patch": "replace", "c": 2}}, {"a": {"c": 2}}),
    ({"a": {"b": 1}}, {"a": {"$patch": "delete"}}, {}),
    ({"command": ["x", "y"]}, {"command": ["z"]}, {"command": ["z"]}),
    ({"ports": [{"port": 1, "name": "a"}]}, {"ports": [{"port": 1, "name": "b"}]},
     {"ports": [{"port": 1, "name": "b"}]}),
    ({"volumes": None}, {"volumes": [{"name": "v"}]}, {"volumes": [{"name": "v"}]}),
])
def test_strategic_patches(document: Json, change: Json, expected: Json) -> None:
    assert patching.strategic(document, change) == expected


@pytest.mark.parametrize(("operations", "expected"), [
    ([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3], "b": {"c/d": 1}}),
    ([{"op": "add", "path": "/a/0", "value": 0}], {"a": [0, 1, 2], "b": {"c/d": 1}}),
    ([{"op": "replace", "path": "/b/c~1d", "value": 2}], {"a": [1, 2], "b": {"c/d": 2}}),
    ([{"op": "remove", "path": "/a/1"}], {"a": [1], "b": {"c/d": 1}}),
    ([{"op": "move", "from": "/a", "path": "/b/a"}], {"b": {"c/d": 1, "a": [1, 2]}}),
    ([{"op": "copy", "from": "/a/0", "path": "/b/a"}], {"a": [1, 2], "b": {"c/d": 1, "a": 1}}),
    ([{"op": "test", "path": "/a/0", "value": 1}], {"a": [1, 2], "b": {"c/d": 1}}),
])
def test_json_patches(operations: list[Json], expected: Json) -> None:
    assert patching.patched({"a": [1, 2], "b": {"c/d": 1}}, operations) == expected


@pytest.mark.parametrize("operation", [
    {"op": "remove", "path": "/none"}, {"op": "replace", "path": "/a/7", "value": 1}, {"op": "add", "path": "/a/9"},
    {"op": "add", "path": "/none/x", "value": 1}, {"op": "test", "path": "/a/0", "value": 2}, {"op": "paint"},
    {"op": "add", "path": "a", "value": 1}, {"op": "add", "path": "/a/0/x", "value": 1},
])
def test_json_patches_that_do_not_fit(operation: Json) -> None:
    with pytest.raises(PatchError):
        patching.patched({"a": [1, 2]}, [operation])


@pytest.mark.parametrize("change", [
    patch([{"op": "remove", "path": "/spec/none"}], "json"), patch({"metadata": {"name": "other"}}),
    patch({"kind": "DaemonSet"}, "merge"), patch("[]", "merge"), patch("{}", "magic"), patch("{}", "json"),
    patch({"metadata": None}, "merge"), patch({"spec": {"template": {"spec": {"containers": ["x"]}}}}),
])
def test_a_patch_that_does_not_fit_names_the_object(change: v1.CustomizeComponentsPatch) -> None:
    with pytest.raises(PatchError, match="Deployment d"):
        customised(DOCUMENT, [change])


def test_patches_of_other_objects_leave_this_one_alone() -> None:
    others = [patch({"spec": None}, name="e"), patch({"spec": None}, kind="Service")]
    assert customised(DOCUMENT, others) is DOCUMENT
    assert customised(DOCUMENT, [patch({"spec": {"replicas": 3}}, name="*")])["spec"]["replicas"] == 3


def test_what_a_patch_brings_to_the_metadata_is_noted() -> None:
    found = customised(DOCUMENT, [patch({"metadata": {"annotations": {"x/y": "1"}, "labels": {"a": "2", "b": "3"}}})])
    assert found["metadata"]["labels"] == {"a": "2", "b": "3"}
    assert noted(found) == {("annotations", "x/y"), ("labels", "b")}


async def test_patches_come_and_go_and_come_once() -> None:
    cluster = Cluster()
    cluster.kube.put(KUBEVIRT, kubevirt())
    operator = await cluster.operator()
    await operator.run(cluster)

    def deployment(name: str) -> Json:
        found: Json | None = cluster.kube.peek(DEPLOYMENT, name, NAMESPACE)
        assert found is not None
        return found

    start = {name: deployment(name) for name in ("virt-api", "virt-controller")}
    argument = {"op": "add", "path": "/spec/template/spec/containers/0/command/-", "value": "--mark"}
    patches = (
        patch([argument], "json", "virt-api"),
        patch({"metadata": {"annotations": {"mark": "yes"}}}, name="virt-controller"),
    )
    cluster.kube.put(KUBEVIRT, _with(cluster.cr, patches))
    await operator.run(cluster)
    for _ in range(3):
        await operator.step()
    command = deployment("virt-api")["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command.count("--mark") == 1
    assert stamps.template_stamp(deployment("virt-api")) != stamps.template_stamp(start["virt-api"])
    assert deployment("virt-controller")["metadata"]["annotations"]["mark"] == "yes"
    assert stamps.template_stamp(deployment("virt-controller")) == stamps.template_stamp(start["virt-controller"])

    cluster.kube.put(KUBEVIRT, _with(cluster.cr, ()))
    await operator.run(cluster)
    for name, before in start.items():
        assert deployment(name)["spec"] == before["spec"]
        assert not {"mark", NOTE} & set(deployment(name)["metadata"]["annotations"])


async def test_a_patch_that_does_not_fit_leaves_everything_as_it_runs() -> None:
    cluster = Cluster()
    cluster.kube.put(KUBEVIRT, kubevirt())
    operator = await cluster.operator()
    await operator.run(cluster)
    nowhere = patch([{"op": "remove", "path": "/spec/none"}], "json", "virt-api")
    cluster.kube.put(KUBEVIRT, _with(cluster.cr, (nowhere,)))
    cluster.kube.writes.clear()
    with pytest.raises(PatchError):
        await operator.step()
    assert {call.plural for call in cluster.kube.writes} <= {"kubevirts"}
    told = {one.type: (one.status, one.reason, one.message) for one in cluster.cr.status.conditions}
    assert told["Synchronized"][:2] == ("False", "DeploymentFailed")
    assert told["Degraded"][0] == "True"
    assert "virt-api" in told["Synchronized"][2]
    cluster.kube.put(KUBEVIRT, _with(cluster.cr, ()))
    await operator.run(cluster)
    assert {one.type: one.reason for one in cluster.cr.status.conditions}["Available"] == "AllComponentsReady"


def _with(cr: v1.KubeVirt, patches: tuple[v1.CustomizeComponentsPatch, ...]) -> v1.KubeVirt:
    spec = replace(cr.spec, customize_components=v1.CustomizeComponents(patches=patches))
    return replace(cr, spec=spec, metadata=replace(cr.metadata, generation=cr.metadata.generation + 1))
