"""Bodies of addvolume and removevolume -> what is written, or why not."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.fakes import patches
from tests.virt.api.test_hotplug import DATA, ROOT, spec
from virt.api import codec, core, v1
from virt.api.subresources import AddVolumeOptions, RemoveVolumeOptions
from virt.apiserver import volumes
from virt.apiserver.runstate import Write
from virt.kube.http import RefusedError

META = core.ObjectMeta(name="vm", namespace="ns", resource_version="7")


def vm(*there: v1.Volume) -> v1.VirtualMachine:
    return v1.VirtualMachine(metadata=META, spec=v1.VirtualMachineSpec(
        template=v1.VirtualMachineInstanceTemplateSpec(spec=spec(*there))))


def vmi(*there: v1.Volume, owner: str = "") -> v1.VirtualMachineInstance:
    owners = (core.OwnerReference(kind="VirtualMachine", name=owner, uid="u", controller=True),) if owner else ()
    return v1.VirtualMachineInstance(
        metadata=replace(META, owner_references=owners), spec=spec(*there),
        status=v1.VirtualMachineInstanceStatus(phase="Running"))


def asked(name: str = "new", claim: str = "claim", bus: str = "scsi") -> AddVolumeOptions:
    return codec.from_json({
        "name": name, "disk": {"name": "ignored", "disk": {"bus": bus}, "serial": "s"},
        "volumeSource": {"persistentVolumeClaim": {"claimName": claim}}}, AddVolumeOptions)


def after(obj: Any, writes: tuple[Write, ...]) -> Any:
    (write,) = writes
    document = codec.to_json(obj)
    document["other"] = 1                                   # what this program does not know stays
    patched = patches.patched(document, write.operations)
    assert patched["other"] == 1
    return codec.from_json(patched, type(obj))


def refusal(act: Any, *given: Any) -> tuple[int, str]:
    with pytest.raises(RefusedError) as caught:
        act(*given)
    return caught.value.status.code, caught.value.status.message


@pytest.mark.parametrize("there", [(), (ROOT,), (ROOT, DATA)])
def test_a_volume_comes_last_with_its_disk(there: tuple[v1.Volume, ...]) -> None:
    before = vm(*there)
    changed = after(before, volumes.add_to_machine(before, asked()))
    template = changed.spec.template.spec
    assert template.volumes[:-1] == there
    assert template.volumes[-1].persistent_volume_claim == v1.PersistentVolumeClaimVolumeSource(
        claim_name="claim", hotpluggable=True)
    assert template.domain.devices.disks[-1] == v1.Disk(name="new", disk=v1.DiskTarget(bus="scsi"), serial="s")


def test_it_goes_with_its_disk() -> None:
    before = vm(ROOT, DATA)
    assert after(before, volumes.remove_from_machine(before, RemoveVolumeOptions(name="data"))) == vm(ROOT)
    alone = vmi(ROOT, DATA)
    assert after(alone, volumes.remove_from_instance(alone, RemoveVolumeOptions(name="data"))) == vmi(ROOT)


def test_an_instance_of_nobody_gets_it_itself() -> None:
    alone = vmi(ROOT)
    changed = after(alone, volumes.add_to_instance(alone, asked()))
    assert [each.name for each in changed.spec.volumes] == ["root", "new"]


def test_the_patch_is_of_the_object_that_was_read() -> None:
    (write,) = volumes.add_to_machine(vm(ROOT), asked())
    assert write.operations[0] == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}


@pytest.mark.parametrize(("options", "said"), [
    (AddVolumeOptions(), "AddVolumeOptions requires name to be set"),
    (AddVolumeOptions(name="x"), "AddVolumeOptions requires disk to not be nil"),
    (AddVolumeOptions(name="x", disk=v1.Disk()), "AddVolumeOptions requires VolumeSource to not be nil"),
    (asked(claim=""), "claimName"),
])
def test_all_has_to_be_given(options: AddVolumeOptions, said: str) -> None:
    code, message = refusal(volumes.add_to_machine, vm(), options)
    assert code == 400
    assert said in message


def test_a_data_volume_is_not_built() -> None:
    source = {"dataVolume": {"name": "y"}}
    options = codec.from_json({"name": "x", "disk": {}, "volumeSource": source}, AddVolumeOptions)
    assert refusal(volumes.add_to_machine, vm(), options)[0] == 501


def test_what_is_in_use_is_a_conflict() -> None:
    for options in (asked("root"), asked(claim="data")):
        assert refusal(volumes.add_to_machine, vm(ROOT, DATA), options)[0] == 409
    for name in ("root", "nothing"):
        assert refusal(volumes.remove_from_machine, vm(ROOT, DATA), RemoveVolumeOptions(name=name))[0] == 409
    assert refusal(volumes.remove_from_machine, vm(), RemoveVolumeOptions())[0] == 400


def test_the_instance_of_a_vm_is_changed_by_its_vm() -> None:
    removal = RemoveVolumeOptions(name="data")
    for act, options in ((volumes.add_to_instance, asked()), (volumes.remove_from_instance, removal)):
        code, message = refusal(act, vmi(DATA, owner="vm"), options)
        assert code == 400
        assert "is owned by a VM" in message


def test_an_instance_has_to_run() -> None:
    off = replace(vmi(), status=v1.VirtualMachineInstanceStatus(phase="Scheduling"))
    assert refusal(volumes.add_to_instance, off, asked())[0] == 409


def test_a_wrong_bus_is_told_at_once_only_of_an_instance() -> None:
    code, message = refusal(volumes.add_to_instance, vmi(), asked(bus="sata"))
    assert code == 422
    assert "requires bus to be 'scsi' or 'virtio'" in message
    assert volumes.add_to_machine(vm(), asked(bus="sata"))
