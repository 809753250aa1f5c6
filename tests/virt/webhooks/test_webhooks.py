"""Admission through HTTP, as kube-apiserver calls it: patches that apply, denials that name the field."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from tests.fakes import patches
from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from virt.api import names, webhookpaths
from virt.api.clusterconfig import ClusterConfig
from virt.webhooks import server
from virt.webhooks.review import Context

Json = dict[str, Any]
CONTROLLER = names.account("kubevirt", names.CONTROLLER_ACCOUNT)


class Admission:
    def __init__(self, client: TestClient[web.Request, web.Application]) -> None:
        self.client = client

    async def ask(self, path: str, new: Json | None, old: Json | None = None, *, user: str = "alice") -> Json:
        operation = "DELETE" if new is None else "UPDATE" if old else "CREATE"
        review = {
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "r1", "operation": operation, "namespace": "ns", "object": new, "oldObject": old,
                        "userInfo": {"username": user}, "resource": {"resource": "x"}},
        }
        async with self.client.post(path, json=review) as response:
            assert response.status == 200
            document = await response.json()
        assert document["kind"] == "AdmissionReview"
        assert document["response"]["uid"] == "r1"
        answer: Json = document["response"]
        return answer

    async def mutated(self, path: str, new: Json, old: Json | None = None, *, user: str = "alice") -> Json:
        answer = await self.ask(path, new, old, user=user)
        assert answer["allowed"]
        if "patch" not in answer:
            return new
        result: Json = patches.patched(new, json.loads(base64.b64decode(answer["patch"])))
        return result


@pytest.fixture
async def admission() -> AsyncIterator[Admission]:
    app = web.Application()
    uuid = "11111111-2222-4333-8444-555555555555"
    context = Context(FakeKube(), "kubevirt", ClusterConfig, FakeClock(), lambda: uuid)
    server.add_routes(app, context)
    async with TestClient(TestServer(app)) as client:
        yield Admission(client)


def vmi_json(**spec: Any) -> Json:
    return {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {"name": "vm1", "namespace": "ns", "creationTimestamp": None},
        "spec": {"domain": {"memory": {"guest": "128Mi"}, "devices": None, "unknownField": {"kept": True}}, **spec},
        "status": {},
    }


def vm_json(**spec: Any) -> Json:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": vmi_json()["spec"]}
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "vm1", "namespace": "ns"},
            "spec": {"runStrategy": "Halted", "template": template, **spec}}


def test_every_registered_path_has_a_function() -> None:
    assert {webhook.path for webhook in webhookpaths.of_service(names.API_SERVICE)} == server.ADMISSION.keys()


async def test_a_minimal_vmi_gets_its_defaults_and_is_valid(admission: Admission) -> None:
    disk = {"name": "disk", "containerDisk": {"image": "registry/cirros:1"}}
    stored = await admission.mutated(webhookpaths.VMI_MUTATE, vmi_json(volumes=[disk]))
    assert stored["status"]["phase"] == "Pending"
    assert stored["metadata"]["finalizers"] == [names.VMI_FINALIZER]
    assert stored["spec"]["domain"]["firmware"]["uuid"] == "11111111-2222-4333-8444-555555555555"
    assert stored["spec"]["domain"]["devices"]["disks"] == [{"name": "disk", "disk": {"bus": "sata"}}]
    assert stored["spec"]["networks"] == [{"name": "default", "pod": {}}]
    assert stored["spec"]["domain"]["unknownField"] == {"kept": True}
    assert (await admission.ask(webhookpaths.VMI_VALIDATE_CREATE, stored))["allowed"]
    assert await admission.mutated(webhookpaths.VM_MUTATE, vm_json()) != vm_json()


async def test_a_fault_in_a_template_is_named_with_its_path(admission: Admission) -> None:
    vm = vm_json()
    vm["spec"]["template"]["spec"]["domain"]["devices"] = {"disks": [{"name": "nothing"}]}
    answer = await admission.ask(webhookpaths.VM_VALIDATE, vm)
    assert (answer["allowed"], answer["status"]["code"], answer["status"]["reason"]) == (False, 422, "Invalid")
    (cause,) = answer["status"]["details"]["causes"]
    assert cause["field"] == "spec.template.spec.domain.devices.disks[0].name"
    assert cause["reason"] == "FieldValueInvalid"


async def test_running_is_deprecated_and_exclusive(admission: Admission) -> None:
    old = vm_json(running=False)
    del old["spec"]["runStrategy"]
    assert "runStrategy" in (await admission.ask(webhookpaths.VM_VALIDATE, old))["warnings"][0]
    both = await admission.ask(webhookpaths.VM_VALIDATE, vm_json(running=True))
    assert both["status"]["details"]["causes"][0]["field"] == "spec.running"


async def test_a_misfit_passes_the_mutator_and_the_validator_names_the_field(admission: Admission) -> None:
    wrong = vm_json()
    wrong["spec"]["template"]["spec"]["domain"]["devices"] = {"disks": {"name": "no list"}}
    assert await admission.mutated(webhookpaths.VM_MUTATE, wrong) == wrong
    (cause,) = (await admission.ask(webhookpaths.VM_VALIDATE, wrong))["status"]["details"]["causes"]
    assert cause["field"] == "spec.template.spec.domain.devices.disks"


async def test_only_components_change_a_vmi(admission: Admission) -> None:
    old = await admission.mutated(webhookpaths.VMI_MUTATE, vmi_json())
    new = {**old, "status": {**old["status"], "phase": "Failed"}}
    assert (await admission.mutated(webhookpaths.VMI_MUTATE, new, old))["status"]["phase"] == "Pending"
    assert (await admission.mutated(webhookpaths.VMI_MUTATE, new, old, user=CONTROLLER))["status"]["phase"] == "Failed"
    changed = {**old, "spec": {**old["spec"], "nodeSelector": {"a": "b"}}}
    for user, allowed in (("alice", False), (CONTROLLER, True)):
        answer = await admission.ask(webhookpaths.VMI_VALIDATE_UPDATE, changed, old, user=user)
        assert answer["allowed"] is allowed
        assert allowed or answer["status"]["message"] == "update of VMI object is restricted"


async def test_a_migration_is_labelled_and_judged(admission: Admission) -> None:
    migration = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
                 "metadata": {"name": "m", "namespace": "ns"}, "spec": {"vmiName": "vm1"}}
    stored = await admission.mutated(webhookpaths.MIGRATION_MUTATE, migration)
    assert stored["metadata"]["labels"] == {names.MIGRATION_VMI_LABEL: "vm1"}
    assert not (await admission.ask(webhookpaths.MIGRATION_VALIDATE_CREATE, stored))["allowed"]


async def test_a_policy_with_a_negative_limit_is_refused(admission: Admission) -> None:
    policy = {"apiVersion": "migrations.kubevirt.io/v1alpha1", "kind": "MigrationPolicy", "metadata": {"name": "p"},
              "spec": {"selectors": {}, "bandwidthPerMigration": "-1", "completionTimeoutPerGiB": -5,
                       "maxDowntimeMs": 10}}
    answer = await admission.ask(webhookpaths.POLICY_VALIDATE, policy)
    assert [cause["field"] for cause in answer["status"]["details"]["causes"]] == [
        "spec.completionTimeoutPerGiB", "spec.bandwidthPerMigration", "spec.maxDowntimeMs"]
    policy["spec"] = {"selectors": {}, "bandwidthPerMigration": "8Mi"}
    assert (await admission.ask(webhookpaths.POLICY_VALIDATE, policy))["allowed"]


async def test_what_is_no_review_is_a_bad_request(admission: Admission) -> None:
    for body in (b"", b"{}", b'{"request": 1}'):
        async with admission.client.post(webhookpaths.VM_VALIDATE, data=body) as response:
            assert response.status == 400
