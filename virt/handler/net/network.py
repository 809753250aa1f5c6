"""The network of one launcher pod, from the CNI plugins' cards to the guest's taps."""

import contextlib
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from virt.handler.net import links
from virt.handler.net.model import GuestNic, NetworkPlanError, PodLink, Wiring
from virt.handler.net.netns import inside, load_rules
from virt.handler.net.plan import plan, pod_link_name, wired
from virt.handler.net.tap import dhcp_socket
from virt.rpc.messages import WiredInterface


@dataclass(frozen=True)
class WiredPod:
    """``sockets`` are the DHCP sockets, one per interface with a lease and in that order. The caller closes them."""

    interfaces: tuple[WiredInterface, ...]
    sockets: tuple[socket.socket, ...]

    def close(self) -> None:
        for each in self.sockets:
            each.close()


class Cards(Protocol):
    """:class:`virt.handler.net.secondary.SecondaryNetworks`."""

    async def attach(self, pod_uid: str, netns_fd: int, nics: Sequence[GuestNic]) -> None: ...


class PodNetworks:
    """Wires pods. ``memory`` is a folder of the node where the cards' first state is kept; ``cards`` gives pods those
    of secondary networks that nobody else has given them.

    A bridge binding takes the card's name, address and routes away, so what the CNI plugins had made is written down
    before the first change; a handler that starts again in the middle plans from the same facts.
    """

    def __init__(self, memory: Path, cards: Cards | None = None) -> None:
        self._memory = memory
        self._cards = cards
        memory.mkdir(parents=True, exist_ok=True)       # it is the handler's, not the first pod's that needs it

    async def wire(self, pod_uid: str, netns_fd: int, nics: Sequence[GuestNic], hostname: str) -> WiredPod:
        """Make everything for ``nics``, however far an earlier run came.

        Raises NetworkPlanError when the VMI cannot have this network, and AttachmentError, ApiError, OSError,
        NetlinkError or RunError where another try may help.
        """
        # A descriptor of our own: the launcher may end meanwhile, and the number be given out for another pod.
        own_fd = os.dup(netns_fd)
        try:
            known = await self.links(pod_uid, own_fd, nics)
            missing = tuple(nic for nic in nics if nic.network and pod_link_name(nic.network) not in known)
            if missing and self._cards is not None:
                await self._cards.attach(pod_uid, own_fd, missing)
                known = await self.links(pod_uid, own_fd, nics)
            wirings = plan(nics, known, hostname)
            await inside(own_fd, lambda: _make(wirings))
            if rules := "".join(wiring.ruleset for wiring in wirings):
                await load_rules(own_fd, rules)
            sockets = await inside(own_fd, lambda: _dhcp_sockets(wirings))
        finally:
            os.close(own_fd)
        return WiredPod(tuple(wired(wiring) for wiring in wirings), sockets)

    def forget(self, pod_uid: str) -> None:
        """The pod is gone; its namespace took everything else with it."""
        self._file(pod_uid).unlink(missing_ok=True)

    def forget_all_but(self, pod_uids: frozenset[str]) -> None:
        """Called at the start: pods may have ended while no handler was there."""
        with contextlib.suppress(FileNotFoundError):
            for file in self._memory.iterdir():
                if file.stem not in pod_uids:
                    file.unlink(missing_ok=True)

    async def links(self, pod_uid: str, netns_fd: int, nics: Sequence[GuestNic]) -> dict[str, PodLink]:
        """The pod's cards by name, as the CNI plugins made them. Changes nothing in the pod."""
        names = sorted({pod_link_name(nic.network) for nic in nics})
        file = self._file(pod_uid)
        known: dict[str, PodLink] = {}
        with contextlib.suppress(FileNotFoundError):
            known = msgspec.json.decode(file.read_bytes(), type=dict[str, PodLink])
        missing = [name for name in names if name not in known]
        if missing:
            found = await inside(netns_fd, lambda: [links.read_link(name) for name in missing])
            known |= {link.name: link for link in found if link is not None}
            _write(file, msgspec.json.encode(known))
        return known

    def _file(self, pod_uid: str) -> Path:
        if "/" in pod_uid or not pod_uid:
            raise NetworkPlanError(f"not a pod UID: {pod_uid!r}")
        return self._memory / f"{pod_uid}.json"


def _make(wirings: Sequence[Wiring]) -> None:
    for wiring in wirings:
        links.make(wiring)


def _dhcp_sockets(wirings: Sequence[Wiring]) -> tuple[socket.socket, ...]:
    with contextlib.ExitStack() as opened:
        sockets = tuple(
            opened.enter_context(dhcp_socket(wiring.bridge)) for wiring in wirings if wiring.lease is not None
        )
        opened.pop_all()        # all of them or none
        return sockets


def _write(path: Path, data: bytes) -> None:
    """All of it or nothing, also when the handler dies here."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.rename(path)
