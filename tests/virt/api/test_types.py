"""The types against the wire: names, what is left out, what never is."""

import json

import pytest
from hypothesis import HealthCheck, given, settings

from tests.virt.api.generated import objects
from virt.api import codec, core, kinds, v1
from virt.api.kinds import Kind

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
# Those read as plain dictionaries (dict[str, Any]) have no type that could disagree.
KINDS = [value for value in vars(kinds).values() if isinstance(value, Kind) and isinstance(value.type, type)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kind_and_type_agree(kind: Kind[object]) -> None:
    document = codec.to_json(kind.type())
    assert (document["apiVersion"], document["kind"]) == (kind.api_version, kind.name)


@QUICK
@given(objects(v1.VirtualMachine))
def test_a_vm_survives_the_wire(vm: v1.VirtualMachine) -> None:
    assert codec.decode(codec.encode(vm), v1.VirtualMachine) == vm


@QUICK
@given(objects(core.Pod))
def test_a_pod_survives_the_wire(pod: core.Pod) -> None:
    assert codec.decode(codec.encode(pod), core.Pod) == pod


@pytest.mark.parametrize(("obj", "names"), [
    (core.PodStatus(pod_ip="x", host_ip="x", qos_class="x"), {"podIP", "hostIP", "qosClass"}),
    (v1.Disk(dedicated_io_thread=True, boot_order=1), {"dedicatedIOThread", "bootOrder"}),
    (v1.CloudInitNoCloudSource(user_data_base64="x"), {"userDataBase64"}),
    (v1.PodNetwork(vm_network_cidr="x", vm_ipv6_network_cidr="x"), {"vmNetworkCIDR", "vmIPv6NetworkCIDR"}),
    (v1.VirtualMachineStartFailure(last_failed_vmi_uid="x"), {"lastFailedVMIUID"}),
    (v1.MigrationConfiguration(completion_timeout_per_gib=1, disable_tls=True),
     {"completionTimeoutPerGiB", "disableTLS"}),
    (v1.VirtualMachineInstanceStatus(guest_os_info=v1.VirtualMachineInstanceGuestOSInfo(), vsock_cid=1),
     {"guestOSInfo", "VSOCKCID"}),
    (v1.KubeVirtStatus(target_kube_virt_version="x", target_deployment_id="x"),
     {"targetKubeVirtVersion", "targetDeploymentID"}),
    (v1.Volume(cloud_init_no_cloud=v1.CloudInitNoCloudSource(), downward_api=v1.DownwardAPIVolumeSource()),
     {"cloudInitNoCloud", "downwardAPI"}),
], ids=lambda value: "+".join(sorted(value)) if isinstance(value, set) else type(value).__name__)
def test_names_on_the_wire(obj: object, names: set[str]) -> None:
    assert set(codec.to_json(obj)) == names


def test_created_and_ready_are_absent_when_false() -> None:
    status = codec.to_json(v1.VirtualMachineStatus(created=True, ready=False))
    assert status == {"created": True}


def test_conditions_of_a_vmi_always_have_both_times() -> None:
    assert codec.to_json(v1.Condition(type="Ready", status="True")) == {
        "type": "Ready", "status": "True", "lastProbeTime": None, "lastTransitionTime": None,
    }


def test_false_and_zero_are_kept_where_they_differ_from_nothing() -> None:
    spec = core.PodSpec(enable_service_links=False, termination_grace_period_seconds=0)
    assert codec.to_json(spec) == {"enableServiceLinks": False, "terminationGracePeriodSeconds": 0}


def test_an_empty_object_stays() -> None:
    assert codec.to_json(v1.Devices(rng=v1.Rng())) == {"rng": {}}


def test_nulls_of_go_clients_read_as_absent() -> None:
    document = {"metadata": {"name": "a", "labels": None, "creationTimestamp": None},
                "spec": {"template": {"metadata": None, "spec": {"volumes": None}}}}
    vm = codec.decode(json.dumps(document), v1.VirtualMachine)
    assert vm.metadata == core.ObjectMeta(name="a")
    assert vm.spec.template == v1.VirtualMachineInstanceTemplateSpec()


def test_objects_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        core.ObjectMeta(name="a").name = "b"  # type: ignore[misc]
