"""Which cards go to which node. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster_up.cards import Card
from cluster_up.errors import ConfigError
from cluster_up.state import LentCard

UNUSED = "unused"


def busy(links: Iterable[Mapping[str, Any]]) -> Mapping[str, str]:
    """Why this machine needs a link, by its name. ``links``: what ``ip -json address show`` says."""
    found = {}
    for link in links:
        addresses = [each["local"] for each in link.get("addr_info", ()) if each.get("scope") == "global"]
        if addresses:
            found[link["ifname"]] = f"it has the address {addresses[0]}"
        elif link.get("master"):
            found[link["ifname"]] = f"it is part of {link['master']}"
    return found


def chosen(
    setting: str, cards: Sequence[Card], needed: Mapping[str, str], lent: Sequence[LentCard]
) -> tuple[LentCard, ...]:
    """The cards that ``setting`` names, without a node unless they are lent already.

    ``setting``: "" for none, "unused" for all that this machine does not need itself, or names with commas.
    ``needed``: as :func:`busy` tells. Raises ConfigError with all faults at once.
    """
    known = {card.name: card for card in lent}
    here = {card.name: card for card in cards if card.name}
    if setting == UNUSED:
        fit = [name for name, card in here.items() if not _unfit(card) and name not in needed]
        return tuple(known.get(name) or _to_lend(here[name]) for name in dict.fromkeys((*known, *fit)))
    faults, found = [], []
    for name in dict.fromkeys(filter(None, (each.strip() for each in setting.split(",")))):
        card = here.get(name)
        if name in known:
            found.append(known[name])
        elif card is None:
            there = ", ".join(sorted(here)) or "none"
            faults.append(f"cards: {name!r} is no network card with virtual functions; there are: {there}")
        elif fault := _unfit(card) or needed.get(name, ""):
            faults.append(f"cards: {name!r} cannot be lent to a node: {fault}")
        else:
            found.append(_to_lend(card))
    if faults:
        raise ConfigError(faults)
    return tuple(found)


def placed(cards: Sequence[LentCard], workers: Sequence[str]) -> tuple[LentCard, ...]:
    """Each card with its node: the one that it has, else the worker with the fewest. Without workers none is placed."""
    count = dict.fromkeys(workers, 0)
    for card in cards:
        if card.node in count:
            count[card.node] += 1
    found = []
    for card in cards:
        node = card.node
        if node not in count and count:
            node = min(count, key=lambda name: count[name])
            count[node] += 1
        if node in count:
            found.append(card.at(node))
    return tuple(found)


def _unfit(card: Card) -> str:
    if not card.most:
        return "its firmware allows no virtual functions"
    return "" if card.is_apart else "this machine has no IOMMU that is switched on"


def _to_lend(card: Card) -> LentCard:
    return LentCard(
        address=card.address, name=card.name, most=card.most, functions=card.functions, is_up=card.is_up)
