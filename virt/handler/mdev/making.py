"""Which mediated devices a node makes and removes for ``mediatedDevicesConfiguration``. Pure.

A parent, as a card of a GPU, makes devices of one type at a time; several types are dealt out to the parents that can
make them. KubeVirt: pkg/virt-handler/device-manager/mediated_devices_types.go.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from virt.api import v1
from virt.handler.mdev.sysfs import Makeable, MediatedDevice


@dataclass(frozen=True)
class Make:
    """As many as the parent can."""

    kind: Makeable


@dataclass(frozen=True)
class Remove:
    uuid: str


Step = Make | Remove


def wanted_types(asked: v1.MediatedDevicesConfiguration, labels: Mapping[str, str]) -> tuple[str, ...]:
    """The types for a node with these labels: those of all entries that fit it, else those of the cluster."""
    fitting = [
        each for each in asked.node_mediated_device_types
        if each.node_selector and all(labels.get(name) == value for name, value in each.node_selector.items())
    ]
    chosen: Sequence[v1.NodeMediatedDeviceTypes | v1.MediatedDevicesConfiguration] = fitting or (asked,)
    return tuple(dict.fromkeys(
        kind for each in chosen for kind in (*each.mediated_device_types, *each.mediated_devices_types)))


def is_wanted(asked: v1.MediatedDevicesConfiguration) -> bool:
    """Whether anything is said of any node. Where nothing is, devices are somebody else's work."""
    return bool(asked.mediated_device_types or asked.mediated_devices_types or asked.node_mediated_device_types)


def steps(
    types: Sequence[str], kinds: Sequence[Makeable], found: Sequence[MediatedDevice], in_use: Collection[str]
) -> tuple[Step, ...]:
    """``in_use``: devices that pods have, which stay, and so does what their parents make. Devices of other types go
    first; what they leave room for is seen at the next look."""
    here = [kind for wanted in types for kind in kinds if kind.is_called(wanted)]
    able = {kind.parent for kind in here}
    gone = [
        device.uuid for device in found
        if device.uuid not in in_use and not any(device.is_called(wanted) for wanted in types)
    ]
    if gone:
        return tuple(Remove(uuid) for uuid in gone)
    known = {device.parent: device.type for device in found}
    counts = dict.fromkeys((kind.type for kind in here), 0)
    for kind in known.values():
        counts[kind] = counts.get(kind, 0) + 1
    todo = []
    for parent in sorted(able):
        possible = [kind for kind in here if kind.parent == parent]
        if parent in known:
            chosen = next((kind for kind in possible if kind.type == known[parent]), None)
        else:
            chosen = min(possible, key=lambda kind: counts[kind.type])
            counts[chosen.type] += 1
        if chosen is not None and chosen.available > 0:
            todo.append(Make(chosen))
    return tuple(todo)
