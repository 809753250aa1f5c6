"""What the operator's webhooks say, over HTTP as kube-apiserver asks."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.fakes.kube import FakeKube
from virt.api import codec, core, v1, webhookpaths
from virt.api.admission import AdmissionResponse, AdmissionReview
from virt.api.kinds import KUBEVIRT, VM, VMI
from virt.operator.admission import KubeVirtAdmission

NAMESPACE = "kubevirt"


def cr(name: str = "kubevirt", **spec: Any) -> v1.KubeVirt:
    return v1.KubeVirt(
        metadata=core.ObjectMeta(name=name, namespace=NAMESPACE), spec=v1.KubeVirtSpec(**spec),
        status=v1.KubeVirtStatus(phase="Deployed"),
    )


async def ask(
    kube: FakeKube, path: str, new: v1.KubeVirt | None = None, old: v1.KubeVirt | None = None
) -> AdmissionResponse:
    review = {"request": {"uid": "u1", "object": codec.to_json(new), "oldObject": codec.to_json(old)}}
    async with TestClient(TestServer(KubeVirtAdmission(kube).app())) as client:
        answer = codec.decode(await (await client.post(path, json=review)).read(), AdmissionReview)
    assert answer.response is not None
    assert answer.response.uid == "u1"
    return answer.response


async def test_one_kubevirt_per_cluster() -> None:
    kube = FakeKube()
    assert (await ask(kube, webhookpaths.KUBEVIRT_VALIDATE_CREATE, cr())).allowed
    kube.put(KUBEVIRT, cr())
    answer = await ask(kube, webhookpaths.KUBEVIRT_VALIDATE_CREATE, cr("second"))
    assert answer.status is not None
    assert (answer.status.code, answer.allowed) == (400, False)


async def test_settings_are_judged_when_they_change() -> None:
    bad = cr(infra=v1.ComponentConfig(replicas=0))
    answer = await ask(FakeKube(), webhookpaths.KUBEVIRT_VALIDATE_UPDATE, bad, cr())
    assert answer.status is not None
    assert answer.status.code == 422
    assert (await ask(FakeKube(), webhookpaths.KUBEVIRT_VALIDATE_UPDATE, bad, bad)).allowed, "a change of metadata"


@pytest.mark.parametrize(("strategy", "allowed"), [("", True), ("BlockUninstallIfWorkloadsExist", False)])
async def test_removal_under_vms(strategy: str, allowed: bool) -> None:
    kube = FakeKube()
    old = cr(uninstall_strategy=strategy)
    assert (await ask(kube, webhookpaths.KUBEVIRT_VALIDATE_DELETE, old=old)).allowed
    kube.put(VM, v1.VirtualMachine(metadata=core.ObjectMeta(name="a", namespace="b")))
    answer = await ask(kube, webhookpaths.KUBEVIRT_VALIDATE_DELETE, old=old)
    assert answer.allowed is allowed


async def test_a_refused_removal_names_every_kind_that_is_in_its_way() -> None:
    kube = FakeKube()
    old = cr(uninstall_strategy="BlockUninstallIfWorkloadsExist")
    for name in ("a", "b"):
        kube.put(VM, v1.VirtualMachine(metadata=core.ObjectMeta(name=name, namespace="n")))
    kube.put(VMI, v1.VirtualMachineInstance(metadata=core.ObjectMeta(name="a", namespace="n")))
    answer = await ask(kube, webhookpaths.KUBEVIRT_VALIDATE_DELETE, old=old)
    assert answer.status is not None
    assert answer.status.message.startswith("there are 1 VirtualMachineInstance and 2 VirtualMachine objects")
