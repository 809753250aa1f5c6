"""Which pod has which devices, as the kubelet wrote it down.

The kubelet keeps its decisions in a checkpoint in the folder of the plugins' sockets, and writes it before it starts
the containers. It is keyed by the pod's UID, which is how a launcher is known; the kubelet's gRPC interface about
pods' devices names pods by name only. Docs: decision 0090.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from virt.base.errors import VirtError

CHECKPOINT = "kubelet_internal_checkpoint"


class AllocationsError(VirtError):
    """The kubelet's checkpoint cannot be read."""

    reference = "device-allocations"
    hint = "look whether the kubelet of this node is of a version that is supported"


class _Entry(msgspec.Struct, frozen=True, rename="pascal"):
    pod_uid: str = msgspec.field(name="PodUID")
    container_name: str
    resource_name: str
    device_ids: Mapping[str, tuple[str, ...] | None] | None = msgspec.field(name="DeviceIDs", default=None)


class _Data(msgspec.Struct, frozen=True, rename="pascal"):
    pod_device_entries: tuple[_Entry, ...] | None


class _Checkpoint(msgspec.Struct, frozen=True, rename="pascal"):
    data: _Data


Allocations = Mapping[str, Mapping[str, tuple[str, ...]]]       # pod UID -> resource -> device ids, sorted


def parsed(text: bytes) -> Allocations:
    """Raises AllocationsError."""
    try:
        checkpoint = msgspec.json.decode(text, type=_Checkpoint)
    except msgspec.MsgspecError as error:
        raise AllocationsError(f"the kubelet's file {CHECKPOINT} is not what it should be: {error}") from error
    found: dict[str, dict[str, set[str]]] = {}
    for entry in checkpoint.data.pod_device_entries or ():
        ids = found.setdefault(entry.pod_uid, {}).setdefault(entry.resource_name, set())
        for chosen in (entry.device_ids or {}).values():      # by NUMA node
            ids.update(chosen or ())
    return {pod: {name: tuple(sorted(ids)) for name, ids in named.items()} for pod, named in found.items()}


def read(folder: Path) -> Allocations:
    """``folder``: /var/lib/kubelet/device-plugins. Without the file, nobody has anything. Raises AllocationsError."""
    try:
        return parsed((folder / CHECKPOINT).read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AllocationsError(f"the kubelet's file {CHECKPOINT} cannot be read: {error}") from error


def in_use(
    allocations: Allocations, addresses: Collection[str], living: Callable[[], Collection[str]]
) -> Mapping[str, str]:
    """The ``addresses`` that pods with a process have, each with the resource as which it was given. The kubelet lists
    ended pods until it has to forget them.

    ``living`` tells the pods with a process. It looks at every process, so it is asked only where that matters.
    """
    listed = [
        (pod, device, name) for pod, named in allocations.items() for name, ids in named.items() for device in ids
        if device in addresses
    ]
    pods = living() if listed else ()
    return {device: name for pod, device, name in listed if pod in pods}
