"""Has the domain of a VMI drafted by a process that ends with it (virt.launcher.drafting).

That work loads the API's types, the design and an XML library: more memory than the rest of the launcher, and useless
while the guest runs. The process is started before it is needed, while libvirt starts, and waits on its standard input.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from typing import Protocol

import msgspec

from virt.api import codec
from virt.base import exec as process
from virt.launcher.disks.container import ContainerFiles, HeldFile
from virt.launcher.outline import Outline
from virt.rpc.errors import RequestFailed
from virt.rpc.messages import DiskTarget, SyncVmi

_DEADLINE_S = 120.0                     # an ISO, qcow2 files and a claim's disk.img may be made
DEVICE_VARIABLES = ("PCI_RESOURCE_", "MDEV_PCI_RESOURCE_", "USB_RESOURCE_")      # KubeVirt's, of device plugins
_ARGV = (sys.executable, "-m", "virt.launcher.drafting")


class Order(msgspec.Struct, frozen=True):
    """``files``: what disk containers gave, by volume and role. ``devices``: what device plugins gave, by variable.
    ``placed``: the domain as libvirt defined it from an earlier draft. ``plug``: a volume whose disk alone is wanted,
    for a guest that runs, and ``taken`` the device names that it has."""

    sync: SyncVmi
    files: Mapping[str, Mapping[str, HeldFile]] = {}
    devices: Mapping[str, str] = {}
    placed: str = ""
    plug: str = ""
    taken: tuple[str, ...] = ()


class Draft(msgspec.Struct, frozen=True, tag=True):
    """``xml``: of the domain, or of the one disk that was ordered. ``disks``: device names and sizes by volume, in the
    order of the spec. ``functions``: libvirt's description of each virtual function, by the interface's name.
    ``tells_places``: the guest is told where libvirt places its devices, so the draft is to be made again with that."""

    xml: str
    disks: tuple[DiskTarget, ...] = ()
    functions: Mapping[str, str] = {}
    tells_places: bool = False


class Refusal(msgspec.Struct, frozen=True, tag=True):
    """As :class:`virt.rpc.messages.Failed`."""

    code: str
    message: str


class Drafts(Protocol):
    async def draft(self, sync: SyncVmi, outline: Outline, *, placed: str = "") -> Draft:
        """Make the VMI's disks ready and its domain, which is ``placed`` where libvirt has defined it already.

        Raises RequestFailed, DiskError or RunError.
        """
        ...

    async def plug(self, sync: SyncVmi, volume: str, taken: tuple[str, ...]) -> Draft:
        """Make the disk of a hot-plugged volume ready, for a guest that runs and has these device names.

        Raises RequestFailed or RunError.
        """
        ...


class DraftingProcess:
    """Drafts in a process apart, one for each draft."""

    def __init__(self, containers: ContainerFiles) -> None:
        self._containers = containers
        self._spare: process.Begun | None = None

    async def warm_up(self) -> None:
        """Start the process for the first draft. Raises RunError."""
        self._spare = await _begin()

    async def draft(self, sync: SyncVmi, outline: Outline, *, placed: str = "") -> Draft:
        volumes = outline.container_volumes
        files = await asyncio.gather(*(self._containers.files(volume) for volume in volumes))
        devices = {name: value for name, value in os.environ.items() if name.startswith(DEVICE_VARIABLES)}
        return await self._drafted(Order(sync, dict(zip(volumes, files, strict=True)), devices, placed))

    async def plug(self, sync: SyncVmi, volume: str, taken: tuple[str, ...]) -> Draft:
        return await self._drafted(Order(sync, plug=volume, taken=taken))

    async def _drafted(self, order: Order) -> Draft:
        begun, self._spare = self._spare or await _begin(), None
        result = await begun.finish(codec.encode(order), deadline_s=_DEADLINE_S)
        sys.stderr.write(result.stderr)
        answer = msgspec.json.decode(result.stdout, type=Draft | Refusal)
        if isinstance(answer, Refusal):
            raise RequestFailed(answer.code, answer.message)
        return answer

    async def close(self) -> None:
        if self._spare is not None:
            await self._spare.abandon()


async def _begin() -> process.Begun:
    return await process.begin(_ARGV, env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
