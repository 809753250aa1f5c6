"""The target's pod: like the VMI's first one, but kept off the node where the guest runs. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec.structs import replace

from virt.api import core, names, quantity, v1
from virt.controller.vmi.pod import naming, resources
from virt.controller.vmi.pod.template import Context, launcher_pod

_HOSTNAME = "kubernetes.io/hostname"


def target_pod(
    vmi: v1.VirtualMachineInstance, migration: v1.VirtualMachineInstanceMigration, source: core.Pod, context: Context,
    *, post_copy: bool = False, cpu: Mapping[str, str] = MappingProxyType({}),
) -> core.Pod:
    """Its name is the same for the same migration, so that no two controllers can make two. ``post_copy``: its QEMU may
    have to fetch memory while the guest runs. ``cpu``: labels of nodes on which a guest with the CPU of its node can
    go on."""
    pod = launcher_pod(vmi, context)
    meta, spec = pod.metadata, pod.spec
    return replace(
        pod,
        metadata=replace(
            meta,
            name=naming.named(vmi, migration.metadata.uid),
            labels={**meta.labels, names.MIGRATION_JOB_UID_LABEL: migration.metadata.uid},
            annotations={**meta.annotations, names.MIGRATION_JOB_NAME_ANNOTATION: migration.metadata.name},
        ),
        spec=replace(
            spec,
            containers=tuple(
                _equipped(_other_image(_pinned(container, digests(source)), migration), post_copy=post_copy)
                for container in spec.containers),
            node_selector={**migration.spec.added_node_selector, **spec.node_selector, **cpu},
            affinity=_apart(spec.affinity, vmi.metadata.uid),
        ),
    )


def lacks(pod: core.Pod, vmi: v1.VirtualMachineInstance, context: Context) -> str:
    """Of what the pod asked its node for less than one that were made now; "" where it has as much."""
    given = next((each.resources.requests for each in pod.spec.containers if each.name == names.COMPUTE_CONTAINER), {})
    wanted = resources.compute(vmi.spec, context.config, limited=context.limited).requests
    return ", ".join(
        f"{name} {given.get(name, 0)} of {wanted[name]}" for name in ("cpu", "memory")
        if quantity.parse(given.get(name, 0)) < quantity.parse(wanted[name]))


def digests(source: core.Pod) -> Mapping[str, str]:
    """Container -> the very image that it runs, for those that can be pulled by what the runtime tells."""
    asked = {container.name: container.image for container in source.spec.containers}
    known = {
        status.name: status.image_id.removeprefix("docker-pullable://") for status in source.status.container_statuses
    }
    return {
        name: image for name, image in known.items()
        if "@sha256:" in image and image.partition("@")[0] == _repository(asked.get(name, ""))
    }


def _repository(image: str) -> str:
    """
    >>> _repository("localhost:5001/tiny:1"), _repository("tiny@sha256:12")
    ('localhost:5001/tiny', 'tiny')
    """
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def _pinned(container: core.Container, images: Mapping[str, str]) -> core.Container:
    """A disk has to be the same on both sides: a tag may mean another image by now. The launcher is ours."""
    if container.command[:1] != (names.CONTAINER_DISK_HELPER,):
        return container
    return replace(container, image=images.get(container.name, container.image))


def _other_image(container: core.Container, migration: v1.VirtualMachineInstanceMigration) -> core.Container:
    image = migration.metadata.annotations.get(names.TARGET_IMAGE_ANNOTATION, "")
    return replace(container, image=image) if image and container.name == names.COMPUTE_CONTAINER else container


def _equipped(container: core.Container, *, post_copy: bool) -> core.Container:
    """userfaultfd lets a program hold the kernel up, so only those that need it get it."""
    if not post_copy or container.name != names.COMPUTE_CONTAINER:
        return container
    limits = {**container.resources.limits, names.USERFAULTFD_RESOURCE: "1"}
    return replace(container, resources=replace(container.resources, limits=limits))


def _apart(given: core.Affinity | None, vmi_uid: str) -> core.Affinity:
    """On no node where a live pod of this VMI is."""
    term = core.PodAffinityTerm(
        label_selector=core.LabelSelector(match_labels={names.CREATED_BY_LABEL: vmi_uid}), topology_key=_HOSTNAME)
    affinity = given or core.Affinity()
    anti = affinity.pod_anti_affinity or core.PodAntiAffinity()
    required = (*anti.required_during_scheduling_ignored_during_execution, term)
    return replace(
        affinity, pod_anti_affinity=replace(anti, required_during_scheduling_ignored_during_execution=required))
