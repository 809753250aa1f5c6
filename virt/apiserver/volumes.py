"""Volumes that are put into a guest, or taken out: what is written, or why not. Pure.

The rules are KubeVirt's (pkg/virt-api/rest/volume-hotplug.go). The volume goes into the template of a VM, and its guest
follows; only of an instance that no VM has made is the spec itself changed.
"""

from collections.abc import Sequence
from typing import Any

from virt.api import codec, kinds, v1
from virt.api.jsonpatch import Operation, add, pointer, remove, test
from virt.api.kinds import Kind
from virt.api.status import invalid
from virt.api.subresources import AddVolumeOptions, RemoveVolumeOptions
from virt.api.validate import hotplug as rules
from virt.apiserver import preconditions
from virt.apiserver.refusal import bad_request, conflict, not_implemented
from virt.apiserver.runstate import Write
from virt.kube.http import RefusedError

_OWNER = "VirtualMachine"
_TEMPLATE = ("spec", "template", "spec")


def add_to_machine(vm: v1.VirtualMachine, options: AddVolumeOptions) -> tuple[Write, ...]:
    """Raises :class:`RefusedError`. A wrong bus is the template's affair: the VM says so in its condition Failure."""
    claim = _claim(options)
    spec = vm.spec.template.spec if vm.spec.template is not None else v1.VirtualMachineInstanceSpec()
    _refuse(kinds.VM, vm.metadata.name, rules.why_not_added(spec.volumes, options.name, claim.claim_name))
    return (_added(kinds.VM, vm.metadata.resource_version, _TEMPLATE, spec, options),)


def remove_from_machine(vm: v1.VirtualMachine, options: RemoveVolumeOptions) -> tuple[Write, ...]:
    """Raises :class:`RefusedError`."""
    _named(options.name, "RemoveVolumeOptions")
    spec = vm.spec.template.spec if vm.spec.template is not None else v1.VirtualMachineInstanceSpec()
    _refuse(kinds.VM, vm.metadata.name, rules.why_not_removed(spec.volumes, options.name))
    return (_removed(kinds.VM, vm.metadata.resource_version, _TEMPLATE, spec, options.name),)


def add_to_instance(vmi: v1.VirtualMachineInstance, options: AddVolumeOptions) -> tuple[Write, ...]:
    """Raises :class:`RefusedError`."""
    claim = _claim(options)
    _own(vmi)
    _refuse(kinds.VMI, vmi.metadata.name, rules.why_not_added(vmi.spec.volumes, options.name, claim.claim_name))
    assert options.disk is not None
    causes = tuple(rules.disk_cause(f"spec.domain.devices.disks[{len(vmi.spec.domain.devices.disks)}]", options.disk))
    if causes:
        raise RefusedError(invalid(causes))
    return (_added(kinds.VMI, vmi.metadata.resource_version, ("spec",), vmi.spec, options),)


def remove_from_instance(vmi: v1.VirtualMachineInstance, options: RemoveVolumeOptions) -> tuple[Write, ...]:
    """Raises :class:`RefusedError`."""
    _named(options.name, "RemoveVolumeOptions")
    _own(vmi)
    _refuse(kinds.VMI, vmi.metadata.name, rules.why_not_removed(vmi.spec.volumes, options.name))
    return (_removed(kinds.VMI, vmi.metadata.resource_version, ("spec",), vmi.spec, options.name),)


def _claim(options: AddVolumeOptions) -> v1.PersistentVolumeClaimVolumeSource:
    _named(options.name, "AddVolumeOptions")
    if options.disk is None:
        raise bad_request("AddVolumeOptions requires disk to not be nil")
    source = options.volume_source
    if source is None or (source.persistent_volume_claim is None and source.data_volume is None):
        raise bad_request("AddVolumeOptions requires VolumeSource to not be nil")
    if source.persistent_volume_claim is None:
        raise not_implemented("addvolume of a DataVolume")
    if not source.persistent_volume_claim.claim_name:
        raise bad_request("AddVolumeOptions requires volumeSource.persistentVolumeClaim.claimName to be set")
    return source.persistent_volume_claim


def _named(name: str, options: str) -> None:
    if not name:
        raise bad_request(f"{options} requires name to be set")


def _own(vmi: v1.VirtualMachineInstance) -> None:
    """Whether the instance may be changed by itself."""
    preconditions.running(vmi)
    owner = next((owner.name for owner in vmi.metadata.owner_references if owner.kind == _OWNER), "")
    if owner:
        raise bad_request(
            f"VirtualMachineInstance {vmi.metadata.namespace}/{vmi.metadata.name} is owned by a VM: change the volumes "
            f"of VirtualMachine {owner}, and its guest follows")


def _refuse(kind: Kind[Any], name: str, why: str) -> None:
    if why:
        raise conflict(kind, name, why)


def _added(
    kind: Kind[Any], version: str, at: Sequence[str], spec: v1.VirtualMachineInstanceSpec, options: AddVolumeOptions
) -> Write:
    assert options.disk is not None
    disk = {**codec.to_json(options.disk), "name": options.name}
    source = options.volume_source and options.volume_source.persistent_volume_claim
    volume = {"name": options.name, "persistentVolumeClaim": {**codec.to_json(source), "hotpluggable": True}}
    return Write(kind, (
        _unchanged(version),
        _appended((*at, "domain", "devices", "disks"), spec.domain.devices.disks, disk),
        _appended((*at, "volumes"), spec.volumes, volume),
    ))


def _removed(
    kind: Kind[Any], version: str, at: Sequence[str], spec: v1.VirtualMachineInstanceSpec, name: str
) -> Write:
    disks = [index for index, disk in enumerate(spec.domain.devices.disks) if disk.name == name]
    volumes = [index for index, volume in enumerate(spec.volumes) if volume.name == name]
    return Write(kind, (
        _unchanged(version),
        *(remove(pointer(*at, "domain", "devices", "disks", index)) for index in reversed(disks)),
        *(remove(pointer(*at, "volumes", index)) for index in reversed(volumes)),
    ))


def _unchanged(version: str) -> Operation:
    """The places in the patch are those of the object that was read."""
    return test(pointer("metadata", "resourceVersion"), version)


def _appended(place: Sequence[str], known: Sequence[object], entry: dict[str, Any]) -> Operation:
    """Fields of the others that this program does not know stay."""
    return add(pointer(*place, "-"), entry) if known else add(pointer(*place), [entry])
