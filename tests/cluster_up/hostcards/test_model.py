"""Which cards are lent, and to whom."""

from typing import Any

import pytest

from cluster_up.cards import Card
from cluster_up.errors import ConfigError
from cluster_up.hostcards.model import busy, chosen, placed
from cluster_up.state import LentCard

FIRST = Card("0000:01:00.0", "eth1", 7, True, functions=2, is_up=True)
SECOND = Card("0000:02:00.0", "eth2", 64, True)
LENT = LentCard(address="0000:01:00.0", name="eth1", most=7, functions=2, is_up=True)
OTHER = LentCard(address="0000:02:00.0", name="eth2", most=64)


def test_a_link_with_an_address_or_a_master_is_needed_here() -> None:
    links: list[dict[str, Any]] = [
        {"ifname": "eth0", "addr_info": [{"local": "192.0.2.7", "scope": "global"}]},
        {"ifname": "eth1", "addr_info": [{"local": "fe80::1", "scope": "link"}]},
        {"ifname": "eth2", "master": "bond0", "addr_info": []},
        {"ifname": "eth3"},
    ]
    assert busy(links) == {"eth0": "it has the address 192.0.2.7", "eth2": "it is part of bond0"}


def test_nothing_is_lent_unless_it_is_asked_for() -> None:
    assert chosen("", (FIRST, SECOND), {}, ()) == ()


def test_a_card_is_remembered_as_it_was() -> None:
    assert chosen("eth1,eth2", (FIRST, SECOND), {}, ()) == (LENT, OTHER)


def test_unused_are_all_that_nobody_needs() -> None:
    cards = (FIRST, SECOND, Card("0000:03:00.0", "eth3", 0, True), Card("0000:04:00.0", "eth4", 7, False))
    assert chosen("unused", cards, {"eth2": "it has the address 192.0.2.7"}, ()) == (LENT,)


def test_a_card_that_is_lent_stays_what_it_was_before() -> None:
    """It is not to be seen on the machine meanwhile, or it is back as its node left it."""
    away, back = Card("0000:01:00.0", "", 7, True), Card("0000:01:00.0", "eth1", 7, True, functions=7)
    lent = (LENT.at("dev-worker"),)
    for setting in ("eth1", "unused"):
        assert chosen(setting, (away,), {}, lent) == lent
        assert chosen(setting, (back,), {}, lent) == lent


def test_all_faults_are_told_at_once() -> None:
    cards = (FIRST, Card("0000:03:00.0", "eth3", 0, True), Card("0000:04:00.0", "eth4", 7, False))
    with pytest.raises(ConfigError) as caught:
        chosen("eth1,eth3,eth4,eth9", cards, {"eth1": "it has the address 192.0.2.7"}, ())
    assert caught.value.faults == (
        "cards: 'eth1' cannot be lent to a node: it has the address 192.0.2.7",
        "cards: 'eth3' cannot be lent to a node: its firmware allows no virtual functions",
        "cards: 'eth4' cannot be lent to a node: this machine has no IOMMU that is switched on",
        "cards: 'eth9' is no network card with virtual functions; there are: eth1, eth3, eth4",
    )


def test_cards_are_dealt_out_and_stay_where_they_are() -> None:
    third = LentCard(address="0000:03:00.0", name="eth3", most=7)
    found = placed((LENT.at("b"), OTHER, third), ("a", "b"))
    assert [card.node for card in found] == ["b", "a", "a"]
    assert [card.node for card in placed((LENT.at("gone"),), ("a",))] == ["a"]
    assert placed((LENT,), ()) == ()
