"""Makes and removes mediated devices as ``mediatedDevicesConfiguration`` of the KubeVirt CR says for this node.

It looks every few seconds, and at once when the CR changes. Without any configuration it does nothing.
"""

import asyncio
import uuid
from collections.abc import Callable, Collection
from pathlib import Path

from virt.api import v1
from virt.api.kinds import NODE
from virt.base import log
from virt.base.errors import VirtError
from virt.handler.devices.permitted import holders
from virt.handler.devices.poller import Poller
from virt.handler.launchers.process import pods_with_processes
from virt.handler.mdev import making, sysfs
from virt.handler.pci import allocations
from virt.handler.sysfiles import NODE_SYSFS
from virt.kube.client import Client

_logger = log.get("virt.handler.devices")


class MediatedMaker:
    """``asked``: what the KubeVirt CR says now; ``tell`` gets what people should know, each thing once while it
    lasts."""

    def __init__(
        self, client: Client, node: str, kubelet_dir: Path, *, asked: Callable[[], v1.MediatedDevicesConfiguration],
        tell: Callable[[str], None], root: Path = NODE_SYSFS,
        living_pods: Callable[[], Collection[str]] = pods_with_processes,
    ) -> None:
        self._client = client
        self._node = node
        self._kubelet_dir = kubelet_dir
        self._asked = asked
        self._tell = tell
        self._root = root
        self._living_pods = living_pods
        self._told = ""
        self.poller = Poller(self.look, lambda: making.is_wanted(self._asked()))

    async def look(self) -> None:
        """One look. What goes wrong is told; the next look tries again."""
        asked, trouble = self._asked(), ""
        if making.is_wanted(asked):
            try:
                labels = (await self._client.get(NODE, self._node)).metadata.labels
                await asyncio.to_thread(self._work, making.wanted_types(asked, labels))
            except (VirtError, OSError) as error:
                trouble = f"mediated devices cannot be made or removed: {error}"
        if trouble and trouble != self._told:
            self._tell(trouble)
        self._told = trouble

    def _work(self, types: tuple[str, ...]) -> None:
        held = holders(allocations.read(self._kubelet_dir), self._living_pods)
        for step in making.steps(types, sysfs.makeable(self._root), sysfs.devices(self._root), held):
            match step:
                case making.Remove(name):
                    _logger.info("mediated device removed", uuid=name)
                    sysfs.remove(name, self._root)
                case making.Make(kind):
                    for _ in range(kind.available):
                        name = str(uuid.uuid4())
                        _logger.info("mediated device made", uuid=name, type=kind.type, parent=kind.parent)
                        sysfs.make(kind, name, self._root)
