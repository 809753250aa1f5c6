"""VirtualMachineInstances: the whole spec, metadata, and what an update may change."""

import re
from collections.abc import Mapping

from virt.api import names, unbuilt, v1, walk
from virt.api.clusterconfig import ClusterConfig
from virt.api.status import StatusCause
from virt.api.validate import disks, firmware, hostdevices, hotplug, network, placement, resources, volumes
from virt.api.validate.causes import Causes, invalid

# What XML 1.0 cannot hold, escaped or not; lone surrogates cannot even be stored.
_UNPRINTABLE = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_GUEST_DATA = (".userData", ".networkData")          # files for the guest, never part of a document of ours


def spec_causes(path: str, spec: v1.VirtualMachineInstanceSpec, config: ClusterConfig) -> Causes:
    """All rules for a VMI's spec with its defaults filled in. ``path``: "spec", or "spec.template.spec" in a VM."""
    yield from resources.causes(path, spec, config)
    yield from firmware.causes(f"{path}.domain", spec.domain)
    yield from placement.causes(path, spec)
    yield from disks.causes(path, spec)
    yield from volumes.causes(path, spec, config)
    yield from network.causes(path, spec, config)
    yield from hostdevices.causes(path, spec, config)
    yield from unbuilt.instance_spec(path, spec)
    yield from _characters(path, spec)


def create(
    vmi: v1.VirtualMachineInstance, config: ClusterConfig, *, by_component: bool = False
) -> tuple[StatusCause, ...]:
    """What is wrong with a new VMI, after its defaults. ``by_component``: it is our controller that creates it."""
    def causes() -> Causes:
        yield from spec_causes("spec", vmi.spec, config)
        yield from resources.memory_given(vmi.spec)
        yield from hotplug.disk_causes("spec", vmi.spec)        # a VM's template may hold what is told of later
        if not by_component:
            yield from reserved_labels("metadata.labels", {}, vmi.metadata.labels)
    return tuple(causes())


def update(old: v1.VirtualMachineInstance, new: v1.VirtualMachineInstance) -> tuple[StatusCause, ...]:
    """What a change of a VMI by others than our components may not contain: the spec, and the components' labels."""
    def causes() -> Causes:
        if old.spec != new.spec:
            yield invalid("spec", "update of VMI object is restricted")
        yield from reserved_labels("metadata.labels", old.metadata.labels, new.metadata.labels)
    return tuple(causes())


def reserved_labels(field: str, old: Mapping[str, str], new: Mapping[str, str]) -> Causes:
    """Refuses changes of labels by which the components know their own. ``field``: where the labels are."""
    for label in names.RESERVED_LABELS:
        if old.get(label) != new.get(label):
            yield invalid(field, f"modification of the following reserved {label} label on a VMI object is prohibited")


def _characters(path: str, spec: v1.VirtualMachineInstanceSpec) -> Causes:
    for place, text in walk.texts(spec, path):
        if _UNPRINTABLE.search(text) and not place.endswith(_GUEST_DATA):
            yield invalid(place, f"{place} has a control character: {text[:80]!r}")
