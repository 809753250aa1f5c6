"""Offers the USB and mediated devices that the KubeVirt CR permits, as they come and go.

It looks every few seconds, and at once when the CR changes; where nothing is permitted, it does not look.
PCI functions, which have to be set up too, have a service of their own (:mod:`virt.handler.pci.service`).
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from virt.api import v1
from virt.base import log
from virt.handler.devices import files
from virt.handler.devices.poller import Poller
from virt.handler.devices.resources import CharacterDevice, Offer
from virt.handler.launchers.process import pods_with_processes
from virt.handler.pci import allocations

_logger = log.get("virt.handler.devices")

Holders = Mapping[str, str]         # of devices that pods have: the resource's name by the kubelet's id of the device


@dataclass(frozen=True)
class Seen:
    """``nodes``: what the handler has to make, so that containers can be given it. ``troubles``: for people."""

    offers: tuple[Offer, ...] = ()
    nodes: tuple[CharacterDevice, ...] = ()
    troubles: tuple[str, ...] = ()


class Kind(Protocol):
    @property
    def folder(self) -> Path:
        """Where the nodes of its devices are, and nothing else."""
        ...

    def is_wanted(self, permitted: v1.PermittedHostDevices) -> bool: ...

    def look(self, permitted: v1.PermittedHostDevices, before: Mapping[str, Offer], holders: Holders) -> Seen:
        """Reads the node. ``before``: what was offered at the last look, by name."""
        ...


class PermittedDevices:
    """``permitted`` is what the KubeVirt CR permits now; ``changed`` is called when :attr:`offered` is another;
    ``tell`` gets what people should know about the node, each thing once while it lasts."""

    def __init__(
        self, kinds: Sequence[Kind], kubelet_dir: Path, *, permitted: Callable[[], v1.PermittedHostDevices],
        changed: Callable[[], None], tell: Callable[[str], None],
        living_pods: Callable[[], Collection[str]] = pods_with_processes,
        make_nodes: Callable[[Sequence[CharacterDevice]], None] = files.make_nodes,
        remove_other_nodes: Callable[[Path, Collection[str]], None] = files.remove_others,
    ) -> None:
        self._kinds = tuple(kinds)
        self._kubelet_dir = kubelet_dir
        self._permitted = permitted
        self._changed = changed
        self._tell = tell
        self._living_pods = living_pods
        self._make_nodes = make_nodes
        self._remove_other_nodes = remove_other_nodes
        self._told: frozenset[str] = frozenset()
        self.poller = Poller(
            self.look, lambda: any(kind.is_wanted(self._permitted()) for kind in self._kinds))
        self.offered: tuple[Offer, ...] = ()

    async def look(self) -> None:
        """One look, with all that follows from it. What goes wrong is told; the next look tries again."""
        permitted = self._permitted()
        troubles: set[str] = set()
        offered = await asyncio.to_thread(self._seen, permitted, troubles)
        for trouble in sorted(troubles - self._told):
            self._tell(trouble)
        self._told = frozenset(troubles)
        if offered is not None and offered != self.offered:
            self.offered = offered
            _logger.info("devices offered", **{
                offer.full_name: [device.id for device in offer.listed if device.is_healthy] for offer in offered})
            self._changed()

    def _seen(self, permitted: v1.PermittedHostDevices, troubles: set[str]) -> tuple[Offer, ...] | None:
        """None where that cannot be known: then all stays as it was."""
        before = {offer.full_name: offer for offer in self.offered}
        wanted = [kind for kind in self._kinds if kind.is_wanted(permitted)]
        try:
            held = holders(allocations.read(self._kubelet_dir), self._living_pods) if wanted else {}
            seen = [kind.look(permitted, before, held) for kind in wanted]
            troubles.update(trouble for each in seen for trouble in each.troubles)
            nodes = [node for each in seen for node in each.nodes]
            self._make_nodes(nodes)
            for kind in self._kinds:                # the numbers of a device that has gone may be another one's soon
                self._remove_other_nodes(
                    kind.folder, {node.path.name for node in nodes if node.path.parent == kind.folder})
        except (allocations.AllocationsError, OSError) as error:
            troubles.add(f"permitted devices of this node: {error}")
            return None
        return tuple(offer for each in seen for offer in each.offers)


def holders(known: allocations.Allocations, living: Callable[[], Collection[str]]) -> Holders:
    """What pods with a process have; the kubelet forgets the others only when it must."""
    others = {
        pod: {name: ids for name, ids in named.items() if not name.startswith("devices.kubevirt.io/")}
        for pod, named in known.items()
    }
    pods = living() if any(others.values()) else ()
    return {device: name for pod, named in others.items() if pod in pods for name, ids in named.items()
            for device in ids}
