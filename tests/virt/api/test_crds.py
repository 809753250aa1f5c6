"""The generated CRDs: structural, complete, and lossless for everything the types can say."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.virt.api.generated import objects
from virt.api import codec, crds, kinds, v1
from virt.api.crds import Resource

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
PRESERVE = "x-kubernetes-preserve-unknown-fields"
INT_OR_STRING = "x-kubernetes-int-or-string"
EVERY_KIND = pytest.mark.parametrize("resource", crds.RESOURCES, ids=lambda resource: resource.kind.name)


def schema_of(resource: Resource) -> dict[str, Any]:
    schema: dict[str, Any] = crds.definition(resource)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from nodes(schema[name], f"{path}[]")


def pruned(value: Any, schema: dict[str, Any]) -> Any:
    """What the API server keeps of ``value``."""
    if isinstance(value, list):
        return [pruned(item, schema["items"]) for item in value]
    if not isinstance(value, dict) or PRESERVE in schema:
        return value
    if "additionalProperties" in schema:
        return {key: pruned(item, schema["additionalProperties"]) for key, item in value.items()}
    known = schema.get("properties", {})
    return {key: pruned(item, known[key]) for key, item in value.items() if key in known}


@EVERY_KIND
def test_schemas_are_structural(resource: Resource) -> None:
    for path, node in nodes(schema_of(resource)):
        assert "$ref" not in node, path
        assert not {"properties", "additionalProperties"} <= node.keys(), path
        assert ("type" in node) is (INT_OR_STRING not in node), path
        if "anyOf" in node:
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
        assert "enum" not in node, f"{path}: the webhook must say what a value may be"
        assert ("items" in node) is (node.get("type") == "array"), path


@EVERY_KIND
def test_versions(resource: Resource) -> None:
    stored, *others = crds.definition(resource)["spec"]["versions"]
    if resource.kind.group != "kubevirt.io":
        assert (stored["name"], stored["storage"], stored["served"], others) == (resource.kind.version, True, True, [])
        return
    (deprecated,) = others
    assert (stored["name"], stored["storage"], stored["served"]) == ("v1", True, True)
    assert (deprecated["name"], deprecated["storage"], deprecated["served"]) == ("v1alpha3", False, True)
    assert "deprecationWarning" in deprecated
    assert stored["schema"] == deprecated["schema"]


@pytest.mark.parametrize(("kind", "columns"), [
    ("KubeVirt", ["Age", "Phase"]), ("VirtualMachine", ["Age", "Status", "Ready"]),
    ("VirtualMachineInstance", ["Age", "Phase", "IP", "NodeName", "Ready", "Live-Migratable", "Paused"]),
    ("VirtualMachineInstanceMigration", ["Phase", "VMI"]),
])
def test_columns_show_fields_that_exist(kind: str, columns: list[str]) -> None:
    (resource,) = (resource for resource in crds.RESOURCES if resource.kind.name == kind)
    assert [column.name for column in resource.columns] == columns
    known = {path for path, _ in nodes(schema_of(resource))}
    for column in resource.columns:
        plain = column.path.partition("[")[0]
        assert plain in known or plain == ".metadata.creationTimestamp", column


def test_names_and_subresources() -> None:
    shown = {definition["spec"]["names"]["kind"]: definition for definition in crds.definitions()}
    assert shown["VirtualMachine"]["spec"]["names"]["shortNames"] == ["vm", "vms"]
    assert shown["VirtualMachine"]["spec"]["versions"][0]["subresources"] == {"status": {}}
    assert "subresources" not in shown["VirtualMachineInstance"]["spec"]["versions"][0]
    assert shown["VirtualMachineInstance"]["metadata"] == {
        "name": "virtualmachineinstances.kubevirt.io", "labels": {"kubevirt.io": ""},
    }
    assert shown["KubeVirt"]["metadata"]["labels"] == {"operator.kubevirt.io": ""}


def test_kubectl_get_all_asks_for_no_policy_which_a_user_of_one_namespace_may_not_list() -> None:
    spec = {definition["spec"]["names"]["kind"]: definition["spec"] for definition in crds.definitions()}
    assert spec["VirtualMachine"]["names"]["categories"] == ["all"]
    assert [kind for kind, each in spec.items() if each["scope"] == "Cluster" and "categories" in each["names"]] == []
    assert spec["MigrationPolicy"]["scope"] == "Cluster"


def test_quantities_and_ports_take_numbers_and_text() -> None:
    (vmi,) = (resource for resource in crds.RESOURCES if resource.kind is kinds.VMI)
    found = dict(nodes(schema_of(vmi)))
    assert INT_OR_STRING in found[".spec.domain.memory.guest"]
    assert INT_OR_STRING in found[".spec.domain.resources.requests[]"]
    assert "pattern" not in found[".spec.readinessProbe.tcpSocket.port"]
    assert found[".status.conditions[].lastTransitionTime"]["nullable"]


def test_metadata_of_a_template_is_kept_as_it_is() -> None:
    (vm,) = (resource for resource in crds.RESOURCES if resource.kind is kinds.VM)
    template = dict(nodes(schema_of(vm)))[".spec.template.metadata"]
    assert template == {"type": "object", "nullable": True, PRESERVE: True}


@QUICK
@given(objects(v1.VirtualMachine))
def test_nothing_of_a_vm_is_pruned(vm: v1.VirtualMachine) -> None:
    (resource,) = (resource for resource in crds.RESOURCES if resource.kind is kinds.VM)
    document = {**codec.to_json(vm), "metadata": {}}
    assert pruned(document, schema_of(resource)) == document


def test_an_unknown_field_is_pruned() -> None:
    (resource,) = (resource for resource in crds.RESOURCES if resource.kind is kinds.VM)
    document = {"spec": {"template": {"spec": {"domain": {"foo": 1}}}}}
    assert pruned(document, schema_of(resource)) == {"spec": {"template": {"spec": {"domain": {}}}}}
