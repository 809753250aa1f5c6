"""Definitions that are read for pods without a card, on a fake API server and a fake node."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fakes.kube import FakeKube
from tests.virt.handler.net.test_attachment import BRIDGE, definition
from tests.waits import HANG_S
from virt.api.kinds import NETWORK_ATTACHMENT
from virt.handler.net import links, network, secondary
from virt.handler.net.attachment import AttachmentError, Card
from virt.handler.net.model import Binding, GuestNic, PodLink
from virt.handler.net.network import PodNetworks
from virt.handler.net.secondary import SecondaryNetworks

NIC = GuestNic("fast", Binding.BRIDGE, network="fast", definition="ns/red", mac="de:ad:00:00:be:ef")


class FakeNode:
    """``ports``: answers of the sweeps to come; the last one repeats."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.cards: list[Card] = []
        self.ports: list[int | Exception] = [0]
        self.swept = asyncio.Event()

    async def prepare(self, card: Card) -> None:
        self.done.append("prepare")
        self.cards.append(card)

    async def hand_over(self, card: Card, pod_netns: int) -> None:
        self.done.append(f"hand over to {pod_netns}")

    async def sweep(self) -> int:
        self.done.append("sweep")
        answer = self.ports.pop(0) if len(self.ports) > 1 else self.ports[0]
        if answer == 0:
            self.swept.set()
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_definition_becomes_a_card_of_the_pod() -> None:
    node = FakeNode()
    await SecondaryNetworks(FakeKube((NETWORK_ATTACHMENT, definition(BRIDGE))), node).attach("uid-1", 7, [NIC])
    (found,) = node.cards
    assert (found.name, found.mac, found.attachment.bridge) == ("pod115dc3606fb", "de:ad:00:00:be:ef", "br10")
    assert node.done == ["prepare", "hand over to 7"]


async def test_foreign_macs_are_kept_out_before_the_pod_has_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    node = FakeNode()

    async def load_rules(_: int, rules: str) -> None:
        node.done.append(rules.splitlines()[-1])

    monkeypatch.setattr(secondary, "load_rules", load_rules)
    kube = FakeKube((NETWORK_ATTACHMENT, definition({**BRIDGE, "macspoofchk": True})))
    await SecondaryNetworks(kube, node).attach("uid-1", 7, [NIC])
    assert node.done == [
        "prepare",
        'add rule bridge macspoof-tap115dc3606fb prerouting iifname "tap115dc3606fb" ether saddr != de:ad:00:00:be:ef '
        "counter drop",
        "hand over to 7",
    ]


async def test_a_definition_that_is_not_there_is_named() -> None:
    with pytest.raises(AttachmentError, match="failed to locate network attachment definition ns/red of interface"):
        await SecondaryNetworks(FakeKube(), FakeNode()).attach("uid-1", 7, [NIC])


async def test_bridges_are_looked_at_as_long_as_one_is_used_and_after_the_next_pod() -> None:
    node = FakeNode()
    node.ports = [OSError("no way in"), 2, 1, 0]
    networks = SecondaryNetworks(FakeKube((NETWORK_ATTACHMENT, definition(BRIDGE))), node, sweep_s=0)
    task = asyncio.create_task(networks.run())
    try:
        async with asyncio.timeout(HANG_S):
            await node.swept.wait()
            assert node.done == ["sweep"] * 4
            node.swept.clear()
            await networks.attach("uid-1", 7, [NIC])
            await node.swept.wait()
        assert node.done[4:] == ["prepare", "hand over to 7", "sweep"]
    finally:
        task.cancel()


class FakeCards:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def attach(self, pod_uid: str, netns_fd: int, nics: Sequence[GuestNic]) -> None:
        self.asked += [nic.name for nic in nics]


@pytest.mark.parametrize("has_card", [True, False])
async def test_a_card_that_multus_has_made_is_left_alone(
    has_card: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps: wire a pod whose second card is there, or is not before it was attached."""
    cards = FakeCards()
    there = {"eth0": PodLink(name="eth0", mac="5a:fa:3c:fc:18:b1", mtu=1500)}
    second = PodLink(name="pod115dc3606fb", mac="02:00:00:00:00:01", mtu=1500)

    def read_link(name: str) -> PodLink | None:
        return {**there, **({second.name: second} if has_card or cards.asked else {})}.get(name)

    monkeypatch.setattr(links, "read_link", read_link)
    monkeypatch.setattr(links, "make", lambda wiring: None)
    fd = Path("/proc/self/ns/net").open("rb")  # noqa: SIM115  closed below
    with fd:
        monkeypatch.setattr(network, "inside", _here)
        pod = await PodNetworks(tmp_path, cards).wire(
            "uid-1", fd.fileno(), [GuestNic("default", Binding.BRIDGE), NIC], "vm")
    assert cards.asked == ([] if has_card else ["fast"])
    assert [each.tap for each in pod.interfaces] == ["tap0", "tap115dc3606fb"]
    assert pod.interfaces[1].mac == "de:ad:00:00:be:ef"
    assert pod.interfaces[1].lease is None


async def _here(fd: int, work: object) -> object:
    assert callable(work)
    return work()
