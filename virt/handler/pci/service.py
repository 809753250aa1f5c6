"""Keeps the node's PCI devices as they are asked for, and gives guests their own.

Every few seconds, or at once when something is new, sysfs is read, physical functions get their virtual ones, those are
bound to vfio-pci, functions that no pod has are reset, and the device plugins learn what there is. Where nothing is
asked for, nothing is read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from virt.api import core, v1
from virt.api.kinds import NETWORK_ATTACHMENT
from virt.base import log
from virt.base.errors import VirtError
from virt.handler.devices import files
from virt.handler.devices.permitted import Holders, holders
from virt.handler.devices.poller import Poller
from virt.handler.devices.resources import CharacterDevice
from virt.handler.launchers.launcher import Launcher
from virt.handler.launchers.process import pods_with_processes
from virt.handler.net import functions as netlink
from virt.handler.net.model import NEUTRAL, FunctionState
from virt.handler.net.netns import on_node
from virt.handler.pci import allocations, memlock, offers, pools
from virt.handler.pci.assignment import Assignment, FunctionError, assigned, references, twin, wish
from virt.handler.pci.lent import Lent
from virt.handler.pci.model import PciDevice
from virt.handler.pci.offers import PassedThrough
from virt.handler.pci.pools import Bind, Config, SetCount
from virt.handler.pci.sysfs import Sysfs
from virt.kube.client import Client, NotFoundError
from virt.rpc.messages import GivenFunction

T = TypeVar("T")

_logger = log.get("virt.handler.pci")


class Cards(Protocol):
    """Network cards of the node. Both raise CardError."""

    async def read(self, card: str) -> Mapping[int, FunctionState]: ...

    async def change(self, card: str, number: int, wanted: FunctionState, known: FunctionState) -> None: ...


class NodeCards:
    """:class:`Cards` in the network namespace of the node's first process."""

    async def read(self, card: str) -> Mapping[int, FunctionState]:
        return await _on_node(lambda: netlink.read(card))

    async def change(self, card: str, number: int, wanted: FunctionState, known: FunctionState) -> None:
        await _on_node(lambda: netlink.change(card, number, wanted, known))


@dataclass(frozen=True)
class Node:
    """What :class:`PciDevices` sees of its node and changes there. ``living_pods``: those with any process."""

    node_dir: Path
    kubelet_dir: Path
    sysfs: Sysfs
    cards: Cards
    living_pods: Callable[[], frozenset[str]] = pods_with_processes
    make_nodes: Callable[[Sequence[CharacterDevice]], None] = files.make_nodes
    remove_other_nodes: Callable[[Path, Collection[str]], None] = files.remove_others


class PciDevices:
    """``permitted`` is what the KubeVirt CR permits now; ``changed`` is called when :attr:`offered` is another;
    ``tell`` gets what people should know about the node, each thing once while it lasts."""

    def __init__(
        self, client: Client, node: Node, *, permitted: Callable[[], v1.PermittedHostDevices],
        changed: Callable[[], None], tell: Callable[[str], None],
    ) -> None:
        self._client = client
        self._node = node
        self._permitted = permitted
        self._changed = changed
        self._tell = tell
        self._pools = Config()
        self._told: frozenset[str] = frozenset()
        self.poller = Poller(self.look, lambda: self._is_wanted)
        self._setting = asyncio.Lock()          # of functions: one that is being given is not reset
        self._lent = Lent(node.node_dir)
        self.offered: tuple[PassedThrough, ...] = ()

    def configure(self, text: str) -> None:
        """``text``: the configuration of virtual functions, "" for none. A faulty one changes nothing but is told."""
        try:
            self._pools = pools.parsed(text) if text else Config()
        except pools.SriovConfigError as error:
            self._tell(str(error))
            return
        self.poller.poll_now()

    def reconsider(self) -> None:
        self.poller.poll_now()

    @property
    def _is_wanted(self) -> bool:
        """True also while a guest still has a function of a configuration that is gone."""
        return bool(self._pools.resource_list or self._permitted().pci_host_devices or self._lent.addresses)

    async def look(self) -> None:
        """One look, with all that follows from it. What goes wrong is told; the next look tries again."""
        config, permitted = self._pools, self._permitted()
        troubles: set[str] = set()
        if not self._is_wanted:
            if self.offered:
                self._make_nodes((), troubles)
            self._offer(())
            return
        async with self._setting:
            found, used = await self._arranged(config, troubles)
            if used is not None:                        # else who has what is not known: hands off
                await _noted(troubles, self._reset_all(found, used))
        before = {offer.full_name: offer for offer in self.offered}
        network = pools.resources(config, found, before, self._node.node_dir, holders=used or {})
        others = offers.permitted(
            permitted, found, before, self._node.node_dir, taken=_members(config, found),
            holders=await asyncio.to_thread(self._holders, troubles) if permitted.pci_host_devices else {})
        self._make_nodes((*network, *others), troubles)
        self._offer((*network, *others))
        for trouble in sorted(troubles - self._told):
            self._tell(trouble)
        self._told = frozenset(troubles)

    async def prepare(self, vmi: v1.VirtualMachineInstance, launcher: Launcher) -> tuple[GivenFunction, ...]:
        """Make the node ready for a guest that is to start: its memory may be locked, its functions are set.

        Raises FunctionError, CardError, AllocationsError, MemoryLockError, or ApiError.
        """
        functions = await self._functions(vmi, launcher)
        size = memlock.locked_bytes(vmi.spec, self._permitted())
        if size:
            try:
                await asyncio.to_thread(memlock.allow, launcher.process, size)
            except memlock.MemoryLockError as error:
                if memlock.is_certain(vmi.spec, self._permitted()):
                    raise
                _logger.warning("memory cannot be locked", vmi=launcher.key, error=str(error))
        return functions

    async def _functions(self, vmi: v1.VirtualMachineInstance, launcher: Launcher) -> tuple[GivenFunction, ...]:
        wanted = [wish(vmi, name, await self._definition(*where)) for name, where in references(vmi).items()]
        if not wanted:
            return ()
        given = allocations.read(self._node.kubelet_dir).get(launcher.pod_uid, {})
        assignments = assigned(wanted, given)
        async with self._setting:
            found, used = await asyncio.to_thread(self._seen, set())
            states: dict[str, dict[int, FunctionState]] = {}
            for each in assignments:
                card = _card_of(each, found)
                if card.address not in states:          # a former guest's MAC is no reason to refuse one
                    states[card.address] = await self._reset(card, found, used)
                await self._give(each, card, states[card.address])
        return tuple(
            GivenFunction(name=each.interface, address=each.address, mac=each.state.mac) for each in assignments)

    async def _arranged(
        self, config: Config, troubles: set[str]
    ) -> tuple[Sequence[PciDevice], Holders | None]:
        """Do what the configuration asks for; returns the devices after that, and the functions that pods have."""
        found, used = await asyncio.to_thread(self._seen, troubles)
        if used is None:
            return found, None
        troubles.update(pools.problems(config, found, used))
        for _ in (SetCount, Bind):                      # new functions are bound in the second round
            steps = pools.steps(config, found, used)
            for step in steps:
                match step:
                    case SetCount(address, count):
                        _logger.info("virtual functions set", device=address, count=count)
                        await _noted(troubles, asyncio.to_thread(self._node.sysfs.set_count, address, count))
                    case Bind(address):
                        await _noted(troubles, asyncio.to_thread(self._node.sysfs.bind, address))
            if steps:
                found = await asyncio.to_thread(self._node.sysfs.devices)
        return found, used

    def _seen(self, troubles: set[str]) -> tuple[Sequence[PciDevice], Holders | None]:
        """The devices, and those functions that pods have."""
        found = self._node.sysfs.devices()
        return found, self._in_use(found, troubles)

    def _in_use(self, found: Sequence[PciDevice], troubles: set[str]) -> Holders | None:
        """The functions that pods have; None where that is not known."""
        virtual = frozenset(address for card in found for address in card.virtual)
        try:
            known = allocations.read(self._node.kubelet_dir) if virtual else {}
        except allocations.AllocationsError as error:
            troubles.add(str(error))
            return None
        return allocations.in_use(known, virtual, self._node.living_pods)

    def _holders(self, troubles: set[str]) -> Holders:
        try:
            return holders(allocations.read(self._node.kubelet_dir), self._node.living_pods)
        except allocations.AllocationsError as error:
            troubles.add(str(error))
            return {}

    async def _reset_all(self, found: Sequence[PciDevice], used: Holders) -> None:
        ours = _members(self._pools, found) | self._lent.addresses
        for card in found:
            if card.card and ours & set(card.virtual) - used.keys():
                await self._reset(card, found, used)
        self._lent.keep([address for card in found for address in card.virtual])

    async def _reset(
        self, card: PciDevice, found: Sequence[PciDevice], used: Holders | None
    ) -> dict[int, FunctionState]:
        """Give functions that no pod has their original settings; returns the settings of all functions of the card."""
        states = dict(await self._node.cards.read(card.card))
        if used is None:
            return states
        ours = _members(self._pools, found) | self._lent.addresses
        for number, address in enumerate(card.virtual):
            if address not in ours or address in used:
                continue
            if states.get(number, NEUTRAL) != NEUTRAL:
                _logger.info("virtual function reset", device=address, was=str(states[number]))
                await self._node.cards.change(card.card, number, NEUTRAL, states[number])
                states[number] = NEUTRAL
            self._lent.discard(address)
        return states

    async def _give(self, each: Assignment, card: PciDevice, states: dict[int, FunctionState]) -> None:
        """Set a function up for its guest. ``states``: of all functions of the card, brought up to date."""
        number = card.virtual.index(each.address)
        other = twin(each.state, number, states)
        if other is not None:
            raise FunctionError(f"interface {each.interface}: MAC {each.state.mac} is that of function {other} of "
                                f"network card {card.card} already")
        self._lent.add(each.address)
        await self._node.cards.change(card.card, number, each.state, states.get(number, NEUTRAL))
        states[number] = each.state

    async def _definition(self, namespace: str, name: str) -> core.NetworkAttachmentDefinition:
        try:
            return await self._client.get(NETWORK_ATTACHMENT, name, namespace)
        except NotFoundError as error:
            raise FunctionError(f"network attachment definition {namespace}/{name} does not exist") from error

    def _make_nodes(self, offered: Sequence[PassedThrough], troubles: set[str]) -> None:
        sysfs, node_dir = self._node.sysfs, self._node.node_dir
        groups = {each.group for offer in offered for each in offer.functions if not each.trouble}
        numbers = {group: sysfs.group_number(group) for group in sorted(groups)}
        if groups:
            numbers["vfio"] = sysfs.control_number()
        try:
            self._node.make_nodes([
                CharacterDevice(offers.vfio_node(node_dir, name), number.major, number.minor)
                for name, number in numbers.items() if number is not None
            ])
            kept = {each.group for offer in offered for each in offer.functions}
            self._node.remove_other_nodes(offers.vfio_node(node_dir, "vfio").parent, {"vfio", *kept} if kept else ())
        except OSError as error:
            troubles.add(f"device nodes for VFIO cannot be made: {error}")

    def _offer(self, offered: tuple[PassedThrough, ...]) -> None:
        if offered != self.offered:
            self.offered = offered
            _logger.info("devices offered", **{
                offer.full_name: [each.address for each in offer.functions if not each.trouble] for offer in offered})
            self._changed()


def _card_of(each: Assignment, found: Sequence[PciDevice]) -> PciDevice:
    """The card of a function that a guest is to have. Raises FunctionError."""
    devices = {device.address: device for device in found}
    function = devices.get(each.address)
    card = devices.get(function.physical) if function is not None else None
    if card is None or each.address not in card.virtual:
        raise FunctionError(f"PCI device {each.address} of interface {each.interface} is no virtual function (any "
                            "more)")
    if trouble := pools.card_trouble(card):
        raise FunctionError(f"interface {each.interface} cannot use PCI device {each.address}: {trouble}")
    return card


def _members(config: Config, found: Sequence[PciDevice]) -> frozenset[str]:
    """Addresses of all functions that belong to a pool."""
    return frozenset(device.address for pool in config.resource_list for device in pools.members_of(pool, found))


async def _noted(troubles: set[str], work: Awaitable[None]) -> None:
    try:
        await work
    except VirtError as error:
        troubles.add(str(error))


async def _on_node(work: Callable[[], T]) -> T:
    try:
        return await on_node(work)
    except OSError as error:
        raise netlink.CardError(f"the node's network namespace cannot be looked into: {error}") from error
