"""The device plugins that this node serves now: tun and container-disk always, kvm where guests run on it, userfaultfd
where the kernel has it, and what is passed through to guests (:mod:`virt.handler.pci`)."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from virt.base import log
from virt.handler.devices import files, resources
from virt.handler.devices.plugin import Plugin
from virt.handler.devices.resources import Offer

_logger = log.get("virt.handler.devices")


class DevicePlugins:
    """``node_dir`` is /var/run/kubevirt, the same path on the node; ``kubelet_dir`` the kubelet's plugin folder.

    ``passed_through()`` is what else to serve. Call :meth:`reconsider` when that, or ``kvm()``, may change.
    ``userfaultfd``: the device's minor number.
    """

    def __init__(
        self, node_dir: Path, kubelet_dir: Path, helpers: Path, kvm: Callable[[], bool],
        passed_through: Callable[[], tuple[Offer, ...]] = tuple, *, userfaultfd: int | None = None,
    ) -> None:
        self._node_dir = node_dir
        self._kubelet_dir = kubelet_dir
        self._helpers = helpers
        self._kvm = kvm
        self._passed_through = passed_through
        self._userfaultfd = userfaultfd
        self._again = asyncio.Event()
        self._plugins: dict[str, Plugin] = {}

    @property
    def is_ready(self) -> bool:
        """Whether the kubelet listens to all that every guest needs."""
        needed = [plugin for name, plugin in self._plugins.items() if name.startswith(f"{resources.DOMAIN}/")]
        return bool(needed) and all(plugin.is_in_use for plugin in needed)

    def reconsider(self) -> None:
        self._again.set()

    async def run(self) -> None:
        """Serve until cancelled. Raises OSError where files of the node cannot be made."""
        copied = files.copy_helpers(self._helpers, self._node_dir / "bin")
        _logger.info("helpers copied", names=list(copied))
        running: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                self._again.clear()
                self._adjust(running, kvm=self._kvm())
                again = asyncio.create_task(self._again.wait())
                try:
                    done, _ = await asyncio.wait({again, *running.values()}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    again.cancel()
                for task in done - {again}:
                    task.result()           # a plugin runs for ever; what ended it ends the handler
        finally:
            for task in running.values():
                task.cancel()
            await asyncio.gather(*running.values(), return_exceptions=True)

    def _adjust(self, running: dict[str, asyncio.Task[None]], *, kvm: bool) -> None:
        files.make_nodes(resources.character_devices(self._node_dir, kvm=kvm, userfaultfd=self._userfaultfd))
        own = resources.resources(self._node_dir, kvm=kvm, userfaultfd=self._userfaultfd)
        # Our own last: nobody takes their names away.
        wanted: dict[str, Offer] = {offer.full_name: offer for offer in (*self._passed_through(), *own)}
        for name in [name for name in running if name not in wanted]:
            running.pop(name).cancel()
            del self._plugins[name]
        for name, offer in wanted.items():
            if name in running:
                self._plugins[name].change(offer)
            else:
                plugin = self._plugins[name] = Plugin(offer, self._kubelet_dir)
                running[name] = asyncio.create_task(plugin.run(), name=f"device plugin {name}")
