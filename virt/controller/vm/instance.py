"""The VMI that a VirtualMachine starts, and the revision that remembers what it was started with. Pure."""

import uuid
from typing import Final

from msgspec.structs import replace

from virt.api import codec, core, names, v1
from virt.api.kinds import VM
from virt.controller import owners
from virt.controller.vmi.pod.naming import bounded
from virt.controller.vmi.status import revision_name

# VMs from before admission gave every VM a firmware UUID have the one that KubeVirt derives from their name.
_UUID_SPACE: Final = uuid.UUID("6a1a24a1-4061-4607-8bf4-a3963d0c5895")


def made_from(vm: v1.VirtualMachine, *, paused: bool) -> v1.VirtualMachineInstance:
    """Named as its VM, owned by it, and held by its finalizer until the VM has seen how it ended."""
    template = vm.spec.template or v1.VirtualMachineInstanceTemplateSpec()
    spec = template.spec
    firmware = spec.domain.firmware or v1.Firmware()
    if not firmware.uuid:
        firmware = replace(firmware, uuid=str(uuid.uuid5(_UUID_SPACE, vm.metadata.name)))
        spec = replace(spec, domain=replace(spec.domain, firmware=firmware))
    if paused:
        spec = replace(spec, start_strategy="Paused")
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(
            name=vm.metadata.name,
            namespace=vm.metadata.namespace,
            labels=template.metadata.labels,
            annotations={
                **template.metadata.annotations, names.VM_GENERATION_ANNOTATION: str(vm.metadata.generation),
            },
            owner_references=(owners.reference(VM, vm.metadata),),
            finalizers=(names.VM_CONTROLLER_FINALIZER,),
        ),
        spec=spec,
    )


def revision_of(vm: v1.VirtualMachine) -> core.ControllerRevision:
    return core.ControllerRevision(
        metadata=core.ObjectMeta(
            name=revision_name(vm.metadata.uid, vm.metadata.generation),
            namespace=vm.metadata.namespace,
            labels=revision_labels(vm),
            owner_references=(owners.reference(VM, vm.metadata),),
        ),
        data={"spec": codec.to_json(vm.spec)},
        revision=vm.metadata.generation,
    )


def revision_labels(vm: v1.VirtualMachine) -> dict[str, str]:
    """By which the revisions of a VM are found."""
    return {names.VM_NAME_LABEL: bounded(vm.metadata.name)}
