"""What the webhooks refuse, and what they fill in, when an object is created."""

import json
from pathlib import Path
from typing import Any

import pytest

from functests.libs import build, refusal
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.rest import Rest

GOLDEN = Path(__file__).with_name("minimal-vmi.json")


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("ADM-001")
@pytest.mark.parametrize("version", ["v1", "v1alpha3"])
def test_a_disk_without_a_volume_is_refused(space: Space, cluster: Cluster, version: str) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with one disk entry that has no volume, through the API version.
    Expected: 422 at the disk's name; the message names the webhook, the cause its reason; nothing is stored.
    """
    control = build.merged(build.kernel_boot_vmi(cluster, "vm"), {"apiVersion": f"kubevirt.io/{version}"})
    admitted = space.try_create(control, version=version, dry_run=True)
    assert admitted.code == 201, admitted.text

    devices = {"disks": [{"name": "nowhere", "disk": {"bus": "virtio"}}]}
    answer = space.try_create(build.merged(control, {"spec": {"domain": {"devices": devices}}}), version=version)
    assert not refusal.misfit(answer, "spec.domain.devices.disks[0].name"), answer.text
    webhook = "virtualmachineinstances-create-validator.kubevirt.io"
    assert webhook in answer.message, answer.message
    assert [cause["reason"] for cause in answer.causes] == ["FieldValueInvalid"], answer.causes
    assert space.get_vmi("vm") is None


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("ADM-002")
def test_a_fault_in_a_template_is_told_from_the_outside(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM that is admitted (the control). (Replica sets and pools come with their kinds.)
    Steps: create it with one disk in its template that has no volume.
    Expected: 422 with exactly one cause, whose field begins with spec.template.spec; nothing is stored.
    """
    control = build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "Halted")
    admitted = space.try_create(control, dry_run=True)
    assert admitted.code == 201, admitted.text
    devices = {"disks": [{"name": "nowhere", "disk": {"bus": "virtio"}}]}
    fault = {"spec": {"template": {"spec": {"domain": {"devices": devices}}}}}
    answer = space.try_create(build.merged(control, fault))
    assert not refusal.misfit(answer, "spec.template.spec.domain.devices.disks[0].name"), answer.text
    assert len(answer.causes) == 1, answer.causes
    assert space.get_vm("vm") is None


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("ADM-004")
def test_a_vm_says_once_when_it_runs(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM with a run strategy is admitted (the control).
    Steps: create it with running beside the strategy, with neither, with an unknown strategy.
    Expected: 422 at spec.running, spec.running and spec.runStrategy.
    """
    vmi = build.kernel_boot_vmi(cluster, "vm")
    admitted = space.try_create(build.vm_of(vmi, "Halted"), dry_run=True)
    assert admitted.code == 201, admitted.text

    both = build.merged(build.vm_of(vmi, "Halted"), {"spec": {"running": False}})
    wrong = refusal.table(
        space,
        [
            ("both", "spec.running", both),
            ("neither", "spec.running", build.vm_of(vmi, None)),
            ("unknown", "spec.runStrategy", build.vm_of(vmi, "Sometimes")),
        ],
    )
    assert not wrong, "\n".join(wrong)


def _expected(configuration: dict[str, Any], uuid: str, time: str) -> Manifest:
    """The golden document with what differs from run to run, and from cluster to cluster, filled in."""
    network = configuration.get("network", {}).get("defaultNetworkInterface", "bridge")
    values = {
        "UUID": uuid,
        "TIME": time,
        "CPU-MODEL": configuration.get("cpuModel", "host-model"),
        "BINDING": network,
    }
    text = GOLDEN.read_text()
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    return dict(json.loads(text))


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("ADM-034")
def test_a_minimal_vmi_is_filled_in(space: Space, admin: Rest) -> None:
    """
    Preconditions: none.
    Steps: create a VMI that has memory and one containerDisk and nothing else (dry run).
    Expected: the object equals the golden file but for uid, UUID, times and the cluster's own defaults.
    """
    manifest = {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": "minimal"},
        "spec": {
            "domain": {"memory": {"guest": "128Mi"}},
            "volumes": [{"name": "root", "containerDisk": {"image": "localhost/none:1"}}],
        },
    }
    stored = space.try_create(manifest, dry_run=True).ok()
    kubevirt = admin.get("/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts").ok()["items"][0]

    metadata = {key: value for key, value in stored["metadata"].items() if key in ("name", "finalizers", "labels")}
    seen = {"metadata": metadata, "spec": stored["spec"], "status": stored["status"]}
    uuid = str(stored["spec"]["domain"]["firmware"]["uuid"])
    time = str(stored["status"]["phaseTransitionTimestamps"][0]["phaseTransitionTimestamp"])
    expected = _expected(kubevirt["spec"].get("configuration", {}), uuid, time)
    assert seen == expected, json.dumps(seen, indent=1)
