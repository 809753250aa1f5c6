"""What a VM may ask for of its node's devices: the gate, what the KubeVirt object permits, and changes of that."""

import pytest

from functests.libs import build, claims, patience, refusal, settings
from functests.libs.build import Manifest
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, condition

CARD, GPU, OTHER = "functest.example/card", "functest.example/gpu", "functest.example/other"
# A vendor that is no vendor: no node has such a device.
SELECTORS = {CARD: "fffe:0001", GPU: "fffe:0002", OTHER: "fffe:0003"}
NOT_PERMITTED = "is not permitted in permittedHostDevices configuration"


def _with(manifest: Manifest, **devices: list[dict[str, str]]) -> Manifest:
    return build.merged(manifest, {"spec": {"domain": {"devices": devices}}})


def _permitting(*names: str) -> dict[str, object]:
    listed = [{"pciVendorSelector": SELECTORS[name], "resourceName": name} for name in names]
    return {"permittedHostDevices": {"pciHostDevices": listed}}


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("SRI-019")
def test_host_devices_need_their_gate(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: the feature gate HostDevices is off, as it is unless somebody switches it on.
    Steps: create a VMI with a host device; one with a GPU, which needs no gate; entries without name or resource (dry
        run).
    Expected: 422 at spec.HostDevices with KubeVirt's words; the GPU is admitted; entries are refused at their field.
    """
    plain = build.kernel_boot_vmi(cluster, "vm")
    entry = {"name": "a", "deviceName": CARD}
    answer = space.try_create(_with(plain, hostDevices=[entry]), dry_run=True)
    assert refusal.misfit(answer, "spec.HostDevices") == ""
    assert "Host Devices feature gate is not enabled" in answer.message
    gpus = "spec.domain.devices.gpus"
    faults = [
        ("no resource", f"{gpus}[0].deviceName", _with(plain, gpus=[{"name": "a"}])),
        ("no name", f"{gpus}[0].name", _with(plain, gpus=[{"deviceName": GPU}])),
        ("a name twice", f"{gpus}[1].name", _with(plain, gpus=[entry, entry])),
    ]
    assert space.try_create(_with(plain, gpus=[entry]), dry_run=True).code == 201
    assert refusal.table(space, faults) == []


@pytest.mark.serial
@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("SRI-019")
def test_a_device_that_is_not_permitted_makes_no_pod(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: the gate HostDevices is on; another device is permitted than the VMI asks for.
    Steps: create a VMI with a host device and a GPU; permit both.
    Expected: it is admitted and has no pod; Synchronized is False, FailedCreate, naming both; one event says the same.
        Then, without a touch, it gets a pod that asks for one of each, which no node has; nothing runs.
    """
    manifest = _with(
        build.kernel_boot_vmi(cluster, "vm"), hostDevices=[{"name": "a", "deviceName": CARD}],
        gpus=[{"name": "b", "deviceName": GPU}])
    gates = settings.kubevirt(space.rest)["spec"]["configuration"].get("developerConfiguration", {}).get(
        "featureGates", [])
    configuration = {"developerConfiguration": {"featureGates": [*gates, "HostDevices"]}, **_permitting(OTHER)}
    with settings.changed(space.rest, {"configuration": configuration}):
        patience.eventually(
            "admission knows the gate", lambda: space.try_create(manifest, dry_run=True).code,
            lambda code: code == 201)
        space.create(manifest)
        vmi = space.wait_condition("vm", "Synchronized", "False")
        failed = condition(vmi, "Synchronized")
        message = f"GPU {GPU} {NOT_PERMITTED} HostDevice {CARD} {NOT_PERMITTED}"
        found: list[Claim] = [
            ("reason", failed.get("reason"), "FailedCreate"),
            ("message", failed.get("message"), message),
            ("phase", vmi["status"]["phase"], "Pending"),
            ("pods", len(space.pods(vmi)), 0),
        ]
        assert claims.wrong(found) == ""

        space.rest.patch(settings.path(space.rest), {"spec": {"configuration": _permitting(CARD, GPU)}}).ok()
        pods = patience.eventually("the VMI has a pod", lambda: space.pods(vmi), bool)
        limits = pods[0]["spec"]["containers"][0]["resources"]["limits"]
        waiting = space.wait_condition("vm", "PodScheduled", "False")
        found = [
            ("cards", limits.get(CARD), "1"),
            ("GPUs", limits.get(GPU), "1"),
            ("why the pod waits", condition(waiting, "PodScheduled").get("reason"), "Unschedulable"),
            ("Synchronized", condition(waiting, "Synchronized"), {}),
            ("events of the VMI", sorted(_reasons(space, vmi)), ["FailedCreate", "SuccessfulCreate"]),
        ]
        assert claims.wrong(found) == ""
        assert f"Insufficient {CARD}" in condition(waiting, "PodScheduled")["message"]


def _reasons(space: Space, vmi: Object) -> list[str]:
    told = space.reasons(vmi["metadata"]["name"])
    return [reason for reason in told if reason in ("FailedCreate", "SuccessfulCreate")]
