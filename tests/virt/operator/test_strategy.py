"""What is installed: roles, webhooks, pods, and the manifests that people apply first."""

from typing import Any

import pytest
import yaml

from tests.virt.operator.cluster import environment, kubevirt
from virt.api import codec, core, names, v1, webhookpaths
from virt.apiserver import discovery
from virt.cli import manifests
from virt.operator import settings, stamps, static
from virt.operator.resources import Json
from virt.operator.strategy import Strategy, rbac, strategy, userroles, workloads
from virt.operator.strategy.certificates import KeyPair, Material
from virt.operator.target import Environment, Images, Target, target

MATERIAL = Material({"kubevirt-ca": KeyPair("c", "k", "168h")}, "bundle")


def aim(**spec: Any) -> Target:
    return target(environment(), kubevirt(**spec), nodes=3)


def made(**spec: Any) -> Strategy:
    return strategy(aim(**spec), MATERIAL)


def pod_of(wanted: Any) -> Json:
    found: Json = wanted.document["spec"]["template"]["spec"]
    return found


def allows(rules: tuple[Json, ...], group: str, resource: str, verb: str) -> bool:
    return any(
        group in rule["apiGroups"] and {resource, "*"} & set(rule["resources"]) and verb in rule["verbs"]
        for rule in rules if "resourceNames" not in rule
    )


@pytest.mark.parametrize(("role", "resource", "verb", "allowed"), [
    ("admin", "virtualmachines", "deletecollection", True), ("edit", "virtualmachines", "deletecollection", False),
    ("edit", "virtualmachines", "delete", True), ("view", "virtualmachines", "patch", False),
    ("view", "virtualmachineinstances", "watch", True), ("admin", "kubevirts", "list", False),
    ("view", "kubevirts", "list", True), ("admin", "virtualmachineinstancemigrations", "create", False),
])
def test_roles_of_people(role: str, resource: str, verb: str, allowed: bool) -> None:
    rules = {"admin": userroles.ADMIN, "edit": userroles.EDIT, "view": userroles.VIEW}[role]
    assert allows(rules, "kubevirt.io", resource, verb) is allowed


@pytest.mark.parametrize(("resource", "verb", "roles"), [
    ("virtualmachineinstances/console", "get", "admin edit"), ("virtualmachines/start", "update", "admin edit"),
    ("virtualmachineinstances/vnc/screenshot", "get", "admin"), ("expand-vm-spec", "update", "admin edit view"),
    ("virtualmachineinstances/guestosinfo", "get", "admin edit view"), ("virtualmachines/migrate", "update", ""),
    ("virtualmachineinstances/vsock", "get", ""), ("virtualmachines/start", "get", ""),
])
def test_subresources_of_people(resource: str, verb: str, roles: str) -> None:
    table = {"admin": userroles.ADMIN, "edit": userroles.EDIT, "view": userroles.VIEW}
    found = [name for name, rules in table.items() if allows(rules, names.SUBRESOURCE_GROUP, resource, verb)]
    assert found == roles.split()


@pytest.mark.parametrize("rules", [userroles.ADMIN, userroles.EDIT, userroles.VIEW], ids=["admin", "edit", "view"])
def test_of_a_path_in_two_parts_the_first_is_granted_too(rules: tuple[Json, ...]) -> None:
    """kube-apiserver takes the first one for the subresource, and lets nobody through to virt-api without it."""
    for resource in discovery.RESOURCES:
        first = resource.full_name.rpartition("/")[0]
        if first != resource.parent and allows(rules, names.SUBRESOURCE_GROUP, resource.full_name, resource.verb):
            assert allows(rules, names.SUBRESOURCE_GROUP, first, resource.verb), resource


def test_components_may_not_read_secrets_or_grant() -> None:
    for rules in (rbac.api_rules(), rbac.controller_rules(), rbac.handler_rules()):
        assert not allows(rules, "", "secrets", "get")
        assert not allows(rules, "rbac.authorization.k8s.io", "rolebindings", "create")
        assert all("*" not in rule["verbs"] and rule["apiGroups"] != ["*"] for rule in rules)
    assert not allows(rbac.handler_rules(), "", "pods", "create")
    assert not allows(rbac.handler_rules(), "", "pods", "delete")


@pytest.mark.parametrize(("strategy", "value"), [(None, "true"), ("AggregateToDefault", "true"), ("Manual", "false")])
def test_roles_are_aggregated_unless_that_is_done_by_hand(strategy: str | None, value: str) -> None:
    found = made(configuration=v1.KubeVirtConfiguration(role_aggregation_strategy=strategy))
    roles = {wanted.name: wanted.document["metadata"]["labels"] for wanted in found.basis}
    for name in ("admin", "edit", "view"):
        assert roles[f"kubevirt.io:{name}"][f"rbac.authorization.k8s.io/aggregate-to-{name}"] == value


def test_the_operator_holds_all_that_it_grants() -> None:
    own = static.cluster_rules()
    granted = [rule for wanted in made().basis if "Role" in wanted.kind.name for rule in wanted.document["rules"]]
    assert granted
    assert [rule for rule in granted if rule not in own and rule["resources"] != ["leases"]] == []


def test_every_webhook_is_registered_once_with_the_bundle() -> None:
    found = [
        webhook for wanted in made().ties if "Webhook" in wanted.kind.name for webhook in wanted.document["webhooks"]
    ]
    assert len(found) == len(webhookpaths.WEBHOOKS) == len({webhook["name"] for webhook in found})
    for webhook in found:
        assert webhook["failurePolicy"] == "Fail"
        assert webhook["clientConfig"]["caBundle"] == "YnVuZGxl"
        assert webhook["clientConfig"]["service"]["path"].startswith("/")


def test_pods_mount_their_certificates_where_the_components_look() -> None:
    found = made()
    for wanted, secret in (
        (found.api[0], names.API_CERTS), (found.controller[0], "kubevirt-controller-certs"),
        (found.handler, names.HANDLER_CERTS), (found.api[0], names.HANDLER_CLIENT_CERTS),
    ):
        pod = pod_of(wanted)
        mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert {f"{names.CERTS_DIR}/{secret}", names.CA_FILE.removesuffix("/ca-bundle")} <= mounts
        assert pod["priorityClassName"] == workloads.PRIORITY_CLASS


def test_only_the_node_agent_is_privileged() -> None:
    found = made()
    for wanted in (found.api[0], found.controller[0]):
        pod = pod_of(wanted)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert "hostPID" not in pod
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    handler = pod_of(found.handler)
    assert handler["containers"][0]["securityContext"] == {"privileged": True}
    (launcher,) = handler["initContainers"]
    assert launcher["securityContext"]["runAsUser"] == names.KUBEVIRT_USER
    assert [mount["name"] for mount in launcher["volumeMounts"]] == ["capabilities"]
    assert {volume["hostPath"]["path"] for volume in handler["volumes"] if "hostPath" in volume} == {
        names.NODE_DIR, workloads.DEVICE_PLUGINS_DIR}


def test_placement_of_the_object_replaces_the_default() -> None:
    default = pod_of(made().api[0])
    assert "nodeAffinity" in default["affinity"]
    chosen = core.Placement(node_selector={"disk": "ssd"}, tolerations=(core.Toleration(key="a", operator="Exists"),))
    found = pod_of(made(infra=v1.ComponentConfig(node_placement=chosen)).api[0])
    assert found["nodeSelector"] == {"disk": "ssd", "kubernetes.io/os": "linux"}
    assert "nodeAffinity" not in found["affinity"]
    assert {"key": "a", "operator": "Exists"} in found["tolerations"]
    assert "nodeAffinity" not in pod_of(made().handler).get("affinity", {})


def test_the_id_depends_on_what_is_deployed_only() -> None:
    assert aim().id == aim(configuration=v1.KubeVirtConfiguration(cpu_model="Nehalem")).id
    assert len({aim().id, aim(image_pull_policy="Always").id, aim(image_tag="v2").id}) == 3
    assert aim(image_tag="v2").images.launcher == "reg/virt-launcher:v2"
    assert aim(image_tag="v2").version == "v2"


def test_settings_of_the_configuration_leave_pods_alone() -> None:
    one, other = made(), made(configuration=v1.KubeVirtConfiguration(cpu_model="Nehalem"), product_version="7")
    for before, after in zip((*one.api[:1], one.controller[0], one.handler),
                             (*other.api[:1], other.controller[0], other.handler), strict=True):
        assert stamps.template_stamp(before.document) == stamps.template_stamp(after.document) != ""


def test_manifests(capsys: pytest.CaptureFixture[str]) -> None:
    manifests.main(["operator", "--image", "r/virt:1", "--launcher-image", "r/l:2", "--version", "v1.2.3"])
    found = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [document["kind"] for document in found] == [
        "Namespace", "CustomResourceDefinition", "PriorityClass", "ServiceAccount", "ClusterRole", "ClusterRole",
        "ClusterRoleBinding", "Role", "RoleBinding", "ConfigMap", "Deployment"]
    assert found[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"
    env = {entry["name"]: entry.get("value") for entry in
           found[-1]["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["VIRT_OPERATOR_IMAGE"] == "r/virt:1"
    assert settings.effective(env, found[-2]) == Environment(
        Images(operator="r/virt:1", api="r/virt:1", controller="r/virt:1", handler="r/virt:1", launcher="r/l:2"),
        "v1.2.3")
    assert not {"r/l:2", "v1.2.3"} & set(env.values()), "a change of these would restart the operator"
    manifests.main(["cr", "--emulation", "--cpu-model", "Nehalem"])
    cr = yaml.safe_load(capsys.readouterr().out)
    assert cr["spec"]["configuration"] == {
        "developerConfiguration": {"useEmulation": True}, "network": {"defaultNetworkInterface": "masquerade"},
        "cpuModel": "Nehalem"}
    assert "workloads" not in cr["spec"]


def test_node_agents_run_on_nodes_with_a_taint_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    manifests.main(["cr", "--tolerate", "example.org/a", "--tolerate", "example.org/b"])
    written = yaml.safe_load(capsys.readouterr().out)["spec"]["workloads"]
    placement = codec.from_json(written, v1.ComponentConfig)
    (handler,) = [pod_of(each) for each in made(workloads=placement).objects if each.document["kind"] == "DaemonSet"]
    assert [each for each in handler["tolerations"] if each["key"].startswith("example.org/")] == [
        {"key": "example.org/a", "operator": "Exists"}, {"key": "example.org/b", "operator": "Exists"}]
