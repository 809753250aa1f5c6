"""Bridges and cards made for real: one network namespace is the node, two are pods."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from tests.virt.handler.net.test_network import Netns, namespace, why_not
from tests.waits import HANG_S
from virt.base.exec import run
from virt.handler.net import bridges
from virt.handler.net.attachment import Attachment, AttachmentError, Card, card
from virt.handler.net.model import Binding, GuestNic
from virt.handler.net.network import PodNetworks
from virt.handler.net.nftables import own_mac_only

pytestmark = [pytest.mark.runs_processes, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]
NAME = "pod6c270ef2f25"
CARD = card(Attachment("br10", mtu=1300), NAME, "de:ad:00:00:be:ef", "uid-1")
WAITING = f"vpod{CARD.peer.removeprefix('veth')}"


@pytest.fixture
async def node() -> AsyncIterator[Netns]:
    async with namespace() as netns:
        yield netns


@pytest.fixture
async def pod() -> AsyncIterator[Netns]:
    async with namespace() as netns:
        yield netns


async def attach(node: Netns, pod: Netns, wanted: Card = CARD) -> None:
    await node.do(lambda: bridges.prepare(wanted))
    await node.do(lambda: bridges.hand_over(wanted, pod.fd))


async def test_a_pod_gets_a_card_on_a_bridge_of_the_node(node: Netns, pod: Netns) -> None:
    await attach(node, pod)
    here, there = await node.links(), await pod.links()
    assert (there[NAME]["mac"], there[NAME]["mtu"], there[NAME]["up"]) == ("de:ad:00:00:be:ef", 1300, False)
    assert (here["br10"]["kind"], here["br10"]["up"], here["br10"]["mtu"]) == ("bridge", True, 1300)
    assert (here[CARD.peer]["master"], here[CARD.peer]["up"]) == (here["br10"]["index"], True)
    assert WAITING not in here


async def test_neither_node_nor_pod_is_a_host_in_the_guests_network(node: Netns, pod: Netns, tmp_path: Path) -> None:
    """Steps: wire the pod; another host of the network asks for an address of the node and sends to it."""
    await attach(node, pod)
    nic = GuestNic("red", Binding.BRIDGE, network="net1")
    (await PodNetworks(tmp_path).wire("uid-1", pod.fd, [nic], "vm")).close()
    for where, bridge in ((node, "br10"), (pod, "k6t-6c270ef2f25")):
        for switch in ("ipv6/conf/{}/disable_ipv6", "ipv4/conf/{}/arp_ignore", "ipv4/conf/{}/rp_filter"):
            path = Path("/proc/sys/net", switch.format(bridge))
            assert await where.do(path.read_text) == "1\n", path
    async with namespace() as other:
        await attach(node, other, card(CARD.attachment, NAME, "", "uid-2"))
        await node.netlink(lambda netlink: netlink.addr("add", index=1, address="192.0.2.1", prefixlen=32))
        mac = (await node.links())["br10"]["mac"]

        def knowing(netlink: IPRoute) -> None:
            index = _index(netlink, NAME)
            netlink.link("set", index=index, state="up")
            netlink.addr("add", index=index, address="192.0.2.9", prefixlen=24)
            netlink.neigh("add", dst="192.0.2.1", lladdr=mac, ifindex=index, state=128)

        await other.netlink(knowing)

        def heard() -> socket.socket:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("192.0.2.1", 9))
            sock.setblocking(False)
            return sock

        listener = await node.do(heard)
        before = await node.do(lambda: _counter("TcpExt", "IPReversePathFilter"))
        sender = await other.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        async with asyncio.timeout(HANG_S):
            while await node.do(lambda: _counter("TcpExt", "IPReversePathFilter")) == before:
                sender.sendto(b"x", ("192.0.2.1", 9))       # until the ports have noticed their carriers
                await asyncio.sleep(0.05)
        with pytest.raises(BlockingIOError):
            listener.recv(1)
        sender.close()
        listener.close()


async def test_a_bridge_that_is_there_is_used_as_it_is(node: Netns, pod: Netns) -> None:
    await node.netlink(lambda netlink: netlink.link("add", ifname="br10", kind="bridge", mtu=1400))
    await attach(node, pod, replace(CARD, attachment=Attachment("br10")))
    assert (await pod.links())[NAME]["mtu"] == 1400
    async with namespace() as other:
        await node.netlink(lambda netlink: netlink.link("set", index=_index(netlink, CARD.peer), net_ns_fd=other.fd))
    assert await node.do(bridges.sweep) == 0
    assert "br10" in await node.links(), "it is an administrator's"


async def test_a_link_of_another_kind_is_not_taken_for_a_bridge(node: Netns) -> None:
    await node.netlink(lambda netlink: netlink.link("add", ifname="br10", kind="veth", peer={"ifname": "other"}))
    with pytest.raises(AttachmentError, match="link br10 of the node is no bridge but veth"):
        await node.do(lambda: bridges.prepare(CARD))


async def test_what_the_kernel_refuses_is_told_with_the_bridge(node: Netns, pod: Netns) -> None:
    tiny = replace(CARD, attachment=Attachment("br10", mtu=65535))
    await node.do(lambda: bridges.prepare(tiny))        # veth takes all of it
    await node.netlink(lambda netlink: netlink.link("del", index=_index(netlink, WAITING)))
    with pytest.raises(AttachmentError, match=f"the card {NAME} cannot be given to its pod"):
        await node.do(lambda: bridges.hand_over(CARD, pod.fd))


async def test_a_handler_that_died_halfway_starts_anew(node: Netns, pod: Netns) -> None:
    await node.do(lambda: bridges.prepare(CARD))
    assert WAITING in await node.links()
    await attach(node, pod)
    assert NAME in await pod.links()
    assert WAITING not in await node.links()


async def test_cards_and_bridges_go_with_the_last_pod(node: Netns) -> None:
    async with namespace() as first, namespace() as second:
        await attach(node, first)
        await attach(node, second, card(CARD.attachment, NAME, "", "uid-2"))
        assert await node.do(bridges.sweep) == 1
        await first.netlink(lambda netlink: netlink.link("del", index=_index(netlink, NAME)))
        assert await node.do(bridges.sweep) == 1, "another pod is on it"
        await second.netlink(lambda netlink: netlink.link("del", index=_index(netlink, NAME)))
        assert await node.do(bridges.sweep) == 0
    assert set(await node.links()) & {"br10", CARD.peer} == set()


async def test_a_card_that_no_pod_was_given_is_swept_away(node: Netns) -> None:
    await node.do(lambda: bridges.prepare(CARD))
    assert await node.do(bridges.sweep) == 0
    assert set(await node.links()) & {"br10", CARD.peer, WAITING} == set()


async def test_the_rules_against_foreign_macs_are_made_twice_and_are_the_same(pod: Netns) -> None:
    found = []
    for _ in range(2):
        rules = own_mac_only("tap6c270ef2f25", "de:ad:00:00:be:ef")
        await run(["nsenter", f"--net=/proc/{os.getpid()}/fd/{pod.fd}", "nft", "-f", "-"], input=rules,
                  deadline_s=HANG_S)
        found.append(await pod.nft())
    assert found[0] == found[1]
    assert 'iifname "tap6c270ef2f25" ether saddr != de:ad:00:00:be:ef counter drop' in found[0]


def _index(netlink: IPRoute, name: str) -> int | None:
    with contextlib.suppress(IndexError):
        return int(netlink.link_lookup(ifname=name)[0])
    return None


def _counter(group: str, name: str) -> int:
    lines = [line.split() for line in Path("/proc/thread-self/net/netstat").read_text().splitlines()]
    heads, values = (line for line in lines if line[0] == f"{group}:")
    return int(values[heads.index(name)])
