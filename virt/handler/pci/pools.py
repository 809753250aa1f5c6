"""Virtual functions of network cards: what the configuration asks for -> what to do, and what is offered. Pure.

The configuration is that of the SR-IOV network device plugin (``resourceList`` with ``selectors``), which people have,
and ``numVfs``: how many virtual functions each chosen card gets. It stands in the ConfigMap ``sriovdp-config`` beside
the KubeVirt object, key ``config.json``. ``pfNames`` and ``rootDevices`` choose physical functions; ``vendors`` and
``devices`` those of their virtual ones that count.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from virt.api import names
from virt.base.errors import VirtError
from virt.handler.devices import pieces
from virt.handler.pci.model import VFIO_DRIVER, PciDevice
from virt.handler.pci.offers import PassedThrough, functions, with_gone

CONFIG_MAP, CONFIG_KEY = "sriovdp-config", "config.json"
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_DOWN = ("down", "lowerlayerdown", "notpresent")


class SriovConfigError(VirtError):
    """The configuration of virtual functions cannot be used; what was in force stays so."""

    reference = "sriov-config"
    hint = f"correct key {CONFIG_KEY} of ConfigMap {CONFIG_MAP} in the namespace of the KubeVirt object"


class _Part(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What is not known here is refused: it would be ignored in silence."""


class Selectors(_Part, frozen=True):
    """Each list that is not empty has to hold the device's value."""

    pf_names: tuple[str, ...] = ()
    root_devices: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()


class Pool(_Part, frozen=True):
    """A resource. ``num_vfs`` None leaves the number as it is."""

    resource_name: str
    selectors: Selectors = Selectors()
    resource_prefix: str = "intel.com"
    num_vfs: int | None = None

    @property
    def full_name(self) -> str:
        return f"{self.resource_prefix}/{self.resource_name}"


class Config(_Part, frozen=True):
    resource_list: tuple[Pool, ...] = ()


def parsed(text: str) -> Config:
    """The configuration that ``text`` (JSON) holds. Raises SriovConfigError with the place and the value."""
    try:
        config = msgspec.json.decode(text, type=Config)
    except msgspec.MsgspecError as error:
        raise SriovConfigError(f"{CONFIG_KEY}: {error}") from error
    for index, pool in enumerate(config.resource_list):
        _check(f"{CONFIG_KEY}: resourceList[{index}]", pool)
    names = [pool.full_name for pool in config.resource_list]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise SriovConfigError(f"{CONFIG_KEY}: resourceList[{index}].resourceName {name!r} stands there twice")
    return config


def _check(path: str, pool: Pool) -> None:
    chosen = pool.selectors
    if _NAME.fullmatch(pool.resource_name) is None:
        raise SriovConfigError(f"{path}.resourceName {pool.resource_name!r} is no name of a resource")
    if _PREFIX.fullmatch(pool.resource_prefix) is None or pool.resource_prefix.endswith("kubernetes.io"):
        raise SriovConfigError(f"{path}.resourcePrefix {pool.resource_prefix!r} is no domain of an own resource")
    if pool.resource_prefix == "devices.kubevirt.io":
        raise SriovConfigError(f"{path}.resourcePrefix {pool.resource_prefix!r} is of the node agent's own devices")
    if chosen.drivers and VFIO_DRIVER not in chosen.drivers:
        raise SriovConfigError(f"{path}.selectors.drivers {list(chosen.drivers)} lacks {VFIO_DRIVER}, the only one "
                               "that gives a function to a guest")
    if pool.num_vfs is None:
        return
    if pool.num_vfs < 0:
        raise SriovConfigError(f"{path}.numVfs {pool.num_vfs} is less than 0")
    if not chosen.pf_names and not chosen.root_devices:
        raise SriovConfigError(f"{path}.numVfs is set, and selectors name no card by pfNames or rootDevices: all cards "
                               "of all nodes would be changed")


@dataclass(frozen=True)
class SetCount:
    """Give the physical function at ``address`` so many virtual ones."""

    address: str
    count: int


@dataclass(frozen=True)
class Bind:
    """Give a virtual function to vfio-pci."""

    address: str


Step = SetCount | Bind


def steps(config: Config, found: Sequence[PciDevice], in_use: Collection[str]) -> tuple[Step, ...]:
    """What to do now; virtual functions that are yet to be made are bound at the next look.

    ``in_use``: addresses that pods have. Their cards keep their number, since another one would take all functions
    away; nor is their driver changed.
    """
    devices = {device.address: device for device in found}
    todo: list[Step] = []
    for pool in config.resource_list:
        for card in _cards(pool, found):
            if pool.num_vfs is None:
                continue                # somebody else makes and binds them
            count = min(pool.num_vfs, card.most_virtual)
            if count != len(card.virtual) and not any(address in in_use for address in card.virtual):
                todo.append(SetCount(card.address, count))
                continue
            todo += [
                Bind(address) for address in card.virtual
                if address in devices and address not in in_use and not devices[address].is_for_guests
                and _counts(pool, devices[address])
            ]
    return tuple(dict.fromkeys(todo))


def problems(config: Config, found: Sequence[PciDevice], in_use: Collection[str]) -> tuple[str, ...]:
    """What keeps the configuration from being met on this node, for people."""
    said = []
    for pool in config.resource_list:
        for card in _cards(pool, found):
            if pool.num_vfs is None:
                continue
            if pool.num_vfs > card.most_virtual:
                said.append(f"{pool.full_name} asks for {pool.num_vfs} virtual functions of {_called(card)}, which can "
                            f"have {card.most_virtual}")
            used = sorted(set(card.virtual) & set(in_use))
            if min(pool.num_vfs, card.most_virtual) != len(card.virtual) and used:
                said.append(f"{_called(card)} keeps its {len(card.virtual)} virtual functions instead of "
                            f"{pool.num_vfs} for {pool.full_name}: pods have {', '.join(used)}")
    return tuple(said)


def resources(
    config: Config, found: Sequence[PciDevice], before: Mapping[str, PassedThrough], node_dir: Path, *,
    holders: Mapping[str, str],
) -> tuple[PassedThrough, ...]:
    """What is offered: functions on vfio-pci whose card is up. As in :func:`virt.handler.pci.offers.permitted`, also
    ``holders``: a pool that is called otherwise now would give the functions of living guests a second time."""
    offers = []
    taken: set[str] = set()
    states = {card.address: card_trouble(card) for card in found if card.most_virtual}
    for pool in config.resource_list:
        known = before.get(pool.full_name)
        listed = known.addresses if known is not None else frozenset()
        members = [
            device for device in members_of(pool, found)
            if device.address not in taken and (device.is_for_guests or device.address in listed)
        ]
        taken.update(device.address for device in members)
        now = {
            each.address: replace(each, trouble=(
                each.trouble or states[device.physical]
                or pieces.held(holders.get(each.address, pool.full_name), pool.full_name)))
            for each, device in zip(functions(members, found), members, strict=True)
        }
        variable = names.device_variable(names.NETWORK_VARIABLE, pool.full_name)
        offers.append(PassedThrough(pool.full_name, variable, with_gone(now, known, found), node_dir))
    return tuple(offer for offer in offers if offer.functions)


def members_of(pool: Pool, found: Sequence[PciDevice]) -> tuple[PciDevice, ...]:
    """The virtual functions that belong to ``pool``."""
    chosen = {address for card in _cards(pool, found) for address in card.virtual}
    return tuple(device for device in found if device.address in chosen and _counts(pool, device))


def _cards(pool: Pool, found: Iterable[PciDevice]) -> tuple[PciDevice, ...]:
    """Physical functions that the pool's selectors name."""
    wanted = pool.selectors
    return tuple(
        device for device in found
        if device.most_virtual and (not wanted.root_devices or device.address in wanted.root_devices)
        and (not wanted.pf_names or any(name in wanted.pf_names for name, _ in device.cards))
    )


def _counts(pool: Pool, function: PciDevice) -> bool:
    wanted = pool.selectors
    return (not wanted.vendors or function.vendor in wanted.vendors) and (
        not wanted.devices or function.device in wanted.devices)


def card_trouble(card: PciDevice) -> str:
    """Why the functions of this card reach nobody; "" when they do."""
    if not card.cards:
        return f"its physical function {card.address} has no network card on this node"
    name, state = card.cards[0]
    return f"its network card {name} is {state}" if state in _DOWN else ""


def _called(card: PciDevice) -> str:
    return f"{card.card or 'card'} ({card.address})"
