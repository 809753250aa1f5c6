"""Secondary networks of pods: reads what a network's definition asks for, and gives the pod its card.

Where multus and the CNI plugin ``bridge`` run, they do this: the pod has its card before the launcher starts, and
nothing is left to do here.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from virt.api.kinds import NETWORK_ATTACHMENT
from virt.base import log
from virt.base.errors import VirtError
from virt.handler.net import bridges
from virt.handler.net.attachment import AttachmentError, Card, attachment, card
from virt.handler.net.model import GuestNic
from virt.handler.net.netns import load_rules, on_node
from virt.handler.net.nftables import own_mac_only
from virt.handler.net.plan import guest_tap, pod_link_name
from virt.kube.client import Client, NotFoundError

SWEEP_S = 5.0

_logger = log.get("virt.handler.net")


class Bridges(Protocol):
    """The node's side, see :mod:`virt.handler.net.bridges`. All raise OSError too."""

    async def prepare(self, card: Card) -> None: ...

    async def hand_over(self, card: Card, pod_netns: int) -> None: ...

    async def sweep(self) -> int: ...


class NodeBridges:
    """:class:`Bridges` in the network namespace of the node's first process."""

    async def prepare(self, card: Card) -> None:
        await on_node(lambda: bridges.prepare(card))

    async def hand_over(self, card: Card, pod_netns: int) -> None:
        await on_node(lambda: bridges.hand_over(card, pod_netns))

    async def sweep(self) -> int:
        return await on_node(bridges.sweep)


class SecondaryNetworks:
    """Gives pods of this node their cards, and removes bridges that nobody uses."""

    def __init__(self, client: Client, node: Bridges, *, sweep_s: float = SWEEP_S) -> None:
        self._client = client
        self._node = node
        self._sweep_s = sweep_s
        self._lock = asyncio.Lock()             # what is being attached is not swept away
        self._used = asyncio.Event()
        self._used.set()                        # an earlier handler may have left something

    async def attach(self, pod_uid: str, netns_fd: int, nics: Sequence[GuestNic]) -> None:
        """Give the pod behind ``netns_fd`` a card for each of ``nics``, which it does not have. They are down.

        Raises AttachmentError, ApiError, OSError, RunError.
        """
        for nic in nics:
            wanted = await self._card(pod_uid, nic)
            async with self._lock:
                self._used.set()
                await self._node.prepare(wanted)
                if wanted.attachment.spoof_check:
                    await load_rules(netns_fd, own_mac_only(guest_tap(wanted.name), wanted.mac))
                await self._node.hand_over(wanted, netns_fd)
            _logger.info("card attached", pod=pod_uid, interface=nic.name, bridge=wanted.attachment.bridge)

    async def run(self) -> None:
        """Remove bridges that were made here once no pod uses them; until cancelled."""
        while True:
            await self._used.wait()
            self._used.clear()
            while await self._swept():
                await asyncio.sleep(self._sweep_s)

    async def _swept(self) -> bool:
        """One sweep; whether another one is due."""
        async with self._lock:
            try:
                return await self._node.sweep() > 0
            except (VirtError, OSError) as error:
                _logger.warning("the node's bridges cannot be looked at", error=str(error))
                return True

    async def _card(self, pod_uid: str, nic: GuestNic) -> Card:
        namespace, _, name = nic.definition.partition("/")
        try:
            definition = await self._client.get(NETWORK_ATTACHMENT, name, namespace)
        except NotFoundError as error:
            raise AttachmentError(
                f"failed to locate network attachment definition {nic.definition} of interface {nic.name}") from error
        return card(attachment(definition, nic.name), pod_link_name(nic.network), nic.mac, pod_uid)
