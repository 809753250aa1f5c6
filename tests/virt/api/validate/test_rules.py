"""Every rule for a VMI's spec: the fault is found at its field, and without the fault there is nothing to find."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.virt.api.generated import instance_document, objects
from tests.virt.api.validate.changes import IMAGE, TCP, disk, domain, interface, kernel, probe, volume
from tests.virt.api.validate.compute_faults import COMPUTE_FAULTS
from tests.virt.api.validate.device_faults import DEVICE_FAULTS
from virt.api import codec, defaults, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.jsonpatch import merged
from virt.api.status import DUPLICATE, INVALID, NOT_SUPPORTED, REQUIRED, StatusCause
from virt.api.validate import instance, machine

CONFIG = ClusterConfig(default_network_interface="masquerade")
REASONS = (INVALID, REQUIRED, NOT_SUPPORTED, DUPLICATE)
UUID = "6b1b4a1c-2f3e-4c57-9e0a-000000000001"
QUICK = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))


def judged(change: dict[str, Any], config: ClusterConfig = CONFIG) -> tuple[StatusCause, ...]:
    document = merged(instance_document(), {"spec": change})
    vmi = codec.from_json(document, v1.VirtualMachineInstance)
    return instance.create(defaults.instance(vmi, config, now="", uuid=UUID), config)


ADMITTED: dict[str, dict[str, Any]] = {
    "as it is": {},
    "kernel boot": kernel(kernelArgs="console=ttyS0", container=IMAGE),
    "probe": probe(**TCP),
    "disk options": disk(serial="a.b_c+d-1", cache="none", bootOrder=1),
    "paused start": {"startStrategy": "Paused"},
    "dhcp": interface(dhcpOptions={"privateOptions": [{"option": 240, "value": "x"}], "ntpServers": ["10.0.0.1"]}),
    "ports": interface(ports=[{"name": "ssh", "port": 22}, {"port": 53, "protocol": "UDP"}]),
    "cpu": domain(cpu={"cores": 2, "features": [{"name": "vmx", "policy": "disable"}], "model": "Nehalem"}),
    "bios on the serial port": domain(firmware={"bootloader": {"bios": {"useSerial": True}}}),
    "guest above the limit, live update": domain(memory={"guest": "256Mi"}, resources={"limits": {"memory": "128Mi"}}),
    "markup in every string": domain(firmware={"serial": "<a>&\"'</a>"}),
    "GPU": domain(devices={"gpus": [{"name": "a", "deviceName": "x.com/a"}]}),
    "PCI address": interface(pciAddress="0000:01:00.0"),
    "2048 bytes of user data": volume(cloudInitNoCloud={"userData": "x" * 2048}),
}

REFUSED = {**COMPUTE_FAULTS, **DEVICE_FAULTS}


@pytest.mark.parametrize("title", ADMITTED)
def test_admitted(title: str) -> None:
    assert judged(ADMITTED[title]) == ()


@pytest.mark.parametrize("title", REFUSED)
def test_refused_at_its_field(title: str) -> None:
    change, field = REFUSED[title]
    causes = judged(change)
    # The field may be unbuilt as well; that is not the fault looked for.
    assert field in [cause.field for cause in causes if "not supported yet" not in cause.message]
    assert all(cause.message and cause.reason for cause in causes)


@pytest.mark.parametrize("title", [title for title, (_, field) in REFUSED.items() if field.startswith("spec")])
def test_refused_in_a_vm_at_the_templates_field(title: str) -> None:
    change, field = REFUSED[title]
    spec = merged(instance_document(), {"spec": change})["spec"]
    vm = codec.from_json({"spec": {"runStrategy": "Always", "template": {"spec": spec}}}, v1.VirtualMachine)
    assert field.replace("spec", "spec.template.spec", 1) in [cause.field for cause in machine.create(vm, CONFIG)]


def test_a_limit_below_the_guest_is_refused_under_stage() -> None:
    change = ADMITTED["guest above the limit, live update"]
    causes = judged(change, ClusterConfig(rollout_strategy="Stage"))
    assert "spec.domain.memory.guest" in [cause.field for cause in causes]


def test_bridge_can_be_forbidden_on_the_pod_network() -> None:
    change = interface(masquerade=None, bridge={})
    assert judged(change) == ()
    (cause,) = judged(change, ClusterConfig(permit_bridge_on_pod_network=False))
    assert cause.field == "spec.domain.devices.interfaces[0].name"


def test_an_unbuilt_field_is_refused_with_the_other_faults() -> None:
    assert [cause.field for cause in judged(domain(devices={"tpm": {}}))] == ["spec.domain.devices.tpm"]


def test_without_defaults_every_volume_needs_a_disk() -> None:
    vmi = codec.from_json(instance_document(), v1.VirtualMachineInstance)
    assert "spec.domain.volumes[2].name" in [cause.field for cause in instance.create(vmi, CONFIG)]


def test_absent_needs_the_bridge_binding() -> None:
    (cause, *_) = judged(interface(state="absent"))
    assert "only for bridge binding" in cause.message


def complete(causes: tuple[StatusCause, ...]) -> bool:
    """Each tells a field, a reason that Kubernetes knows, and some text."""
    return all(
        (cause.field or cause.message == "no memory requested") and cause.reason in REASONS and cause.message
        for cause in causes
    )


@QUICK
@given(objects(v1.VirtualMachineInstance))
def test_no_vmi_breaks_the_rules_themselves(vmi: v1.VirtualMachineInstance) -> None:
    whole = defaults.instance(vmi, CONFIG, now="", uuid=UUID)
    assert complete(instance.create(vmi, CONFIG))
    assert complete(instance.create(whole, CONFIG))
    changed = instance.update(vmi, whole)
    assert complete(changed)
    assert ("spec" in [cause.field for cause in changed]) == (vmi.spec != whole.spec)


@QUICK
@given(objects(v1.VirtualMachine))
def test_no_vm_breaks_the_rules_themselves(vm: v1.VirtualMachine) -> None:
    found = machine.create(vm, CONFIG)
    assert complete(found)
    assert ("spec.template" in [cause.field for cause in found]) == (vm.spec.template is None)
    assert complete(machine.update(v1.VirtualMachine(), vm, CONFIG))
