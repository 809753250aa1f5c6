"""The VMI as it should be stored after a pass: phase, conditions, labels, finalizers. Pure.

The phases and who moves them on: docs/architecture.md, "Life of a VMI".
"""

from collections.abc import Mapping

from msgspec.structs import replace

from virt.api import core, hotplug, links, names, phases, v1
from virt.api.wire import Quantity
from virt.controller import owners
from virt.controller.vmi import attachments, conditions
from virt.controller.vmi.conditions import Fault
from virt.controller.vmi.plan import LIVE_PHASES, World, has_ended, is_final, is_up

NODE_UNRESPONSIVE = "NodeUnresponsive"
_MULTUS = "multus-status"


def updated(
    world: World, fault: Fault | None, now: str, *, memory_overhead: Quantity | None = None, launcher_image: str = ""
) -> v1.VirtualMachineInstance:
    """``world``: as it is after the actions of this pass; ``now``: RFC 3339; ``memory_overhead``: what a pod made now
    asks for beyond the guest's memory; ``launcher_image``: of pods that are made now, "" where that does not matter."""
    vmi = world.vmi
    phase = next_phase(world)
    status = replace(
        vmi.status,
        phase=phase,
        active_pods={pod.metadata.uid: pod.spec.node_name for pod in world.pods},
        conditions=conditions.updated(world, fault, phase, now),
        virtual_machine_revision_name=vmi.status.virtual_machine_revision_name or _revision(vmi),
    )
    metadata = vmi.metadata
    if phase != vmi.status.phase:
        if phase == "Failed" and world.node_lost:
            status = replace(status, reason=NODE_UNRESPONSIVE)
        status = replace(
            status, phase_transition_timestamps=phases.entering(status.phase_transition_timestamps, phase, now))
        if phase == "Scheduled" and world.pod is not None:
            status = _scheduled(status, world.pod)
    if phase == "Scheduling" and status.memory is not None and status.memory.memory_overhead is None:
        status = replace(status, memory=replace(status.memory, memory_overhead=memory_overhead))
    if phase in ("Scheduling", "Scheduled") and world.pod is not None and world.pod.spec.node_name:
        # The node's handler starts the domain while the kubelet still looks at its containers.
        status = _placed(status, vmi.spec, world.claims, attachments.reported(world.pod))
        metadata = replace(metadata, labels={**metadata.labels, names.NODE_NAME_LABEL: world.pod.spec.node_name})
    if phase == "Running" and world.pod is not None and launcher_image:
        # It may have come to another launcher, and what new ones are made of may be another image.
        image = _image(world.pod)
        status = replace(status, launcher_container_image_version=image)
        labels = {key: value for key, value in metadata.labels.items() if key != names.OUTDATED_LABEL}
        if image != launcher_image:
            labels[names.OUTDATED_LABEL] = ""
        if labels != metadata.labels:
            metadata = replace(metadata, labels=labels)
    finalizers = kept_finalizers(world)
    if finalizers != metadata.finalizers:
        metadata = replace(metadata, finalizers=finalizers)
    return replace(vmi, metadata=metadata, status=status)


def next_phase(world: World) -> str:
    vmi, pod = world.vmi, world.pod
    phase = vmi.status.phase or "Pending"
    deleted = vmi.metadata.deletion_timestamp is not None
    if is_final(vmi):
        return phase
    if phase == "Pending":
        if pod is not None:
            return "Scheduling"
        return "Failed" if deleted else phase
    if phase == "Scheduling":
        if pod is None or has_ended(pod):
            return "Failed"
        stays = deleted or pod.metadata.deletion_timestamp is not None
        return "Scheduled" if is_up(pod) and not stays else phase
    # The handler knows better what became of the guest; without a handler, the pod has to do.
    if phase in LIVE_PHASES:
        if pod is None and (world.unheard or world.node_lost):
            return "Failed"
        if pod is not None and world.node_lost and has_ended(pod):
            return "Failed"
    return phase


def kept_finalizers(world: World) -> tuple[str, ...]:
    """A final phase is stored before the last finalizer goes, so that whoever watches sees how it ended.

    Ours goes last: when the VM has let go (or there is none) and no pod is left.
    """
    vmi = world.vmi
    finalizers = vmi.metadata.finalizers
    if vmi.metadata.deletion_timestamp is None or not is_final(vmi):
        return finalizers
    if not world.owned:
        finalizers = tuple(name for name in finalizers if name != names.VM_CONTROLLER_FINALIZER)
    if not world.pods and names.VM_CONTROLLER_FINALIZER not in finalizers:
        finalizers = tuple(name for name in finalizers if name != names.VMI_FINALIZER)
    return finalizers


def revision_name(vm_uid: str, generation: int | str) -> str:
    """The ControllerRevision with the VM's spec that a VMI was started with."""
    return f"revision-start-vm-{vm_uid}-{generation}"


def _revision(vmi: v1.VirtualMachineInstance) -> str:
    owner = owners.controller_of(vmi.metadata)
    generation = vmi.metadata.annotations.get(names.VM_GENERATION_ANNOTATION, "")
    from_vm = owner is not None and owner.kind == "VirtualMachine" and generation
    return revision_name(owner.uid, generation) if owner is not None and from_vm else ""


def _placed(
    status: v1.VirtualMachineInstanceStatus, spec: v1.VirtualMachineInstanceSpec,
    claims: Mapping[str, core.PersistentVolumeClaim | None], reported: frozenset[str],
) -> v1.VirtualMachineInstanceStatus:
    """What the domain's start needs to know. ``reported``: cards of the pod of which multus tells."""
    return replace(
        status,
        volume_status=_volumes(status.volume_status, spec, claims),
        interfaces=tuple(_sourced(entry, reported) for entry in status.interfaces or _interfaces(spec)),
    )


def _scheduled(status: v1.VirtualMachineInstanceStatus, pod: core.Pod) -> v1.VirtualMachineInstanceStatus:
    return replace(
        status,
        node_name=pod.spec.node_name,
        qos_class=pod.status.qos_class or status.qos_class,
        migration_transport="Unix",
        launcher_container_image_version=_image(pod),
    )


def _image(pod: core.Pod) -> str:
    """That its launcher is of."""
    return next((found.image for found in pod.spec.containers if found.name == names.COMPUTE_CONTAINER), "")


def _volumes(
    known: tuple[v1.VolumeStatus, ...], spec: v1.VirtualMachineInstanceSpec,
    claims: Mapping[str, core.PersistentVolumeClaim | None],
) -> tuple[v1.VolumeStatus, ...]:
    """With all that the guest starts with. What is hot-plugged tells for itself."""
    there = {entry.name for entry in known}
    return (*known, *(_volume(volume, claims) for volume in hotplug.without(spec).volumes if volume.name not in there))


def _volume(volume: v1.Volume, claims: Mapping[str, core.PersistentVolumeClaim | None]) -> v1.VolumeStatus:
    """The target ("vda") is the handler's to fill in: libvirt chooses it."""
    name = volume.claim
    claim = claims.get(name) if name else None
    if claim is None:
        return v1.VolumeStatus(name=volume.name)
    return v1.VolumeStatus(name=volume.name, persistent_volume_claim_info=claim_info(name, claim))


def claim_info(name: str, claim: core.PersistentVolumeClaim | None) -> v1.PersistentVolumeClaimInfo:
    """What a VMI tells of a claim; of one that is missing only its name is known."""
    if claim is None:
        return v1.PersistentVolumeClaimInfo(claim_name=name)
    return v1.PersistentVolumeClaimInfo(
        claim_name=name,
        access_modes=claim.spec.access_modes,
        volume_mode=claim.spec.volume_mode or "Filesystem",
        capacity=claim.status.capacity,
        requests=claim.spec.resources.requests,
    )


def _sourced(
    entry: v1.VirtualMachineInstanceNetworkInterface, reported: frozenset[str]
) -> v1.VirtualMachineInstanceNetworkInterface:
    """``entry`` as the node's handler goes on with it: the other sources are its own to name."""
    if not entry.name or links.secondary_link(entry.name) not in reported or _MULTUS in entry.info_source:
        return entry
    return replace(entry, info_source=f"{entry.info_source}, {_MULTUS}" if entry.info_source else _MULTUS)


def _interfaces(spec: v1.VirtualMachineInstanceSpec) -> tuple[v1.VirtualMachineInstanceNetworkInterface, ...]:
    on_pod_network = {network.name for network in spec.networks if network.pod is not None}
    return tuple(
        v1.VirtualMachineInstanceNetworkInterface(
            name=interface.name, pod_interface_name="eth0" if interface.name in on_pod_network else "")
        for interface in spec.domain.devices.interfaces
    )
