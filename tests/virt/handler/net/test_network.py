"""A pod's network made for real, with a network namespace in the guest's place behind the tap.

Three namespaces: ``world`` (the node and everything behind it), ``pod``, and ``guest``, whose card is a tap that a
relay joins to the pod's tap as QEMU would.
"""

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pyroute2 import IPRoute

from tests.waits import HANG_S
from virt.base.exec import run
from virt.handler.net import links, network
from virt.handler.net.model import Binding, GuestNic, PortRange
from virt.handler.net.netns import inside
from virt.handler.net.network import PodNetworks, WiredPod

T = TypeVar("T")
POD_IP, WORLD_IP = "10.244.9.5", "10.244.9.1"
POD_MAC = "5a:fa:3c:fc:18:b1"
POD = "00000000-0000-0000-0000-000000000001"


def why_not() -> str:
    if os.geteuid() != 0:
        return "needs root: makes network namespaces"
    missing = [name for name in ("nft", "nsenter") if shutil.which(name) is None]
    if missing or not Path("/dev/net/tun").exists():
        return f"this machine lacks {' '.join([*missing]) or '/dev/net/tun'}"
    return ""


pytestmark = [pytest.mark.runs_processes, pytest.mark.skipif(bool(why_not()), reason=why_not() or "-")]


class Netns:
    """A nameless network namespace; it goes away with the descriptor and what lives in it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    async def do(self, work: Callable[[], T]) -> T:
        return await inside(self.fd, work)

    async def netlink(self, work: Callable[[IPRoute], T]) -> T:
        def body() -> T:
            with IPRoute() as netlink:
                return work(netlink)

        return await self.do(body)

    async def links(self) -> dict[str, dict[str, Any]]:
        def read(netlink: IPRoute) -> dict[str, dict[str, Any]]:
            return {
                link.get("ifname"): {
                    "index": link["index"], "mac": link.get("address"), "mtu": link.get("mtu"),
                    "up": bool(link["flags"] & 1), "master": link.get("master"),
                    "kind": link.get(("linkinfo", "kind")),
                    "ips": [address.get("address") for address in netlink.get_addr(index=link["index"], family=2)],
                }
                for link in netlink.get_links()
            }

        return await self.netlink(read)

    async def nft(self) -> str:
        listing = await run(
            ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.fd}", "nft", "--stateless", "list", "ruleset"],
            deadline_s=HANG_S,
        )
        return listing.stdout


@contextlib.asynccontextmanager
async def namespace() -> AsyncIterator[Netns]:
    own = os.open("/proc/self/ns/net", os.O_RDONLY)

    def fresh() -> int:
        assert ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    try:
        fd = await inside(own, fresh)
    finally:
        os.close(own)
    netns = Netns(fd)
    await netns.netlink(lambda netlink: netlink.link("set", index=1, state="up"))
    try:
        yield netns
    finally:
        os.close(fd)


@pytest.fixture
async def world() -> AsyncIterator[Netns]:
    async with namespace() as netns:
        yield netns


@pytest.fixture
async def pod(world: Netns) -> AsyncIterator[Netns]:
    """A pod as a bridge-like CNI plugin leaves it: one card, an address, a default route."""
    async with namespace() as pod:

        def cable(netlink: IPRoute) -> None:
            peer = {"ifname": "eth0", "net_ns_fd": pod.fd, "address": POD_MAC}
            netlink.link("add", ifname="veth0", kind="veth", peer=peer)
            index = netlink.link_lookup(ifname="veth0")[0]
            netlink.addr("add", index=index, address=WORLD_IP, prefixlen=24)
            netlink.link("set", index=index, state="up", mtu=1400)

        def card(netlink: IPRoute) -> None:
            index = netlink.link_lookup(ifname="eth0")[0]
            netlink.link("set", index=index, state="up", mtu=1400)
            netlink.addr("add", index=index, address=POD_IP, prefixlen=24)
            netlink.route("add", dst="default", gateway=WORLD_IP)

        await world.netlink(cable)
        await pod.netlink(card)
        yield pod


@pytest.fixture
async def guest() -> AsyncIterator[Netns]:
    async with namespace() as netns:
        yield netns


def open_tap(name: str) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x0002 | 0x1000 | 0x4000))
    return fd


@contextlib.asynccontextmanager
async def plugged_in(pod: Netns, guest: Netns, mac: str, address: str, gateway: str) -> AsyncIterator[None]:
    """Join the pod's tap to a card of the guest with this MAC and address, frame by frame."""
    pod_tap, card = await pod.do(lambda: open_tap("tap0")), await guest.do(lambda: open_tap("eth0"))

    def configure(netlink: IPRoute) -> None:
        index = netlink.link_lookup(ifname="eth0")[0]
        netlink.link("set", index=index, address=mac)
        netlink.link("set", index=index, state="up")
        netlink.addr("add", index=index, address=address, prefixlen=24)
        netlink.route("add", dst="default", gateway=gateway)

    await guest.netlink(configure)
    loop = asyncio.get_running_loop()

    def relay(source: int, target: int) -> None:
        with contextlib.suppress(OSError):      # a full or sleeping tap drops the frame, as a cable would
            os.write(target, os.read(source, 70000))

    loop.add_reader(pod_tap, relay, pod_tap, card)
    loop.add_reader(card, relay, card, pod_tap)
    try:
        yield
    finally:
        for fd in (pod_tap, card):
            loop.remove_reader(fd)
            os.close(fd)


@contextlib.asynccontextmanager
async def server(netns: Netns, port: int) -> AsyncIterator[None]:
    """Tells every client which address it comes from."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(writer.get_extra_info("peername")[0].encode())
        writer.close()

    def listening() -> socket.socket:
        return socket.create_server(("0.0.0.0", port))

    async with await asyncio.start_server(answer, sock=await netns.do(listening)):
        yield


async def dial(netns: Netns, address: str, port: int) -> str:
    """The address under which the server saw us.

    Frames to and from the guest go through this process. While it stands still for three seconds nobody answers the
    kernel's ARP, and it calls the host unreachable: then it is asked again.
    """
    async with asyncio.timeout(HANG_S):
        while True:
            sock = await netns.do(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            sock.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(sock, (address, port))
                reader, writer = await asyncio.open_connection(sock=sock)
                seen = (await reader.read()).decode()
                writer.close()
                return seen
            except OSError as error:
                if error.errno != errno.EHOSTUNREACH:
                    raise
            finally:
                sock.close()


async def wire(networks: PodNetworks, pod: Netns, nic: GuestNic) -> WiredPod:
    return await networks.wire(POD, pod.fd, [nic], "guest")


@pytest.fixture
def networks(tmp_path: Path) -> PodNetworks:
    return PodNetworks(tmp_path / "network")


MASQUERADE = GuestNic("default", Binding.MASQUERADE, mac="02:11:22:33:44:55")
BRIDGE = GuestNic("default", Binding.BRIDGE)


async def test_masquerade_carries_every_direction(
    networks: PodNetworks, world: Netns, pod: Netns, guest: Netns
) -> None:
    wired = await wire(networks, pod, MASQUERADE)
    wired.close()
    found = await pod.links()
    assert (found["k6t-eth0"]["mac"], found["k6t-eth0"]["ips"]) == ("02:00:00:00:00:00", ["10.0.2.1"])
    assert found["tap0"]["master"] == found["k6t-eth0"]["index"]
    assert {found[name]["mtu"] for name in ("eth0", "k6t-eth0", "tap0")} == {1400}
    async with (
        plugged_in(pod, guest, MASQUERADE.mac, "10.0.2.2", "10.0.2.1"), server(guest, 8080), server(world, 9000)
    ):
        assert await dial(world, POD_IP, 8080) == WORLD_IP, "inbound keeps the client's address"
        assert await dial(guest, WORLD_IP, 9000) == POD_IP, "outbound comes from the pod"
        assert await dial(pod, "127.0.0.1", 8080) == "10.0.2.1", "loopback comes from the gateway"
        with pytest.raises(ConnectionRefusedError):
            await dial(world, POD_IP, 8081)


async def test_listed_ports_alone_reach_the_guest(
    networks: PodNetworks, world: Netns, pod: Netns, guest: Netns
) -> None:
    nic = GuestNic("default", Binding.MASQUERADE, mac=MASQUERADE.mac, ports=(PortRange("tcp", 8080, 8080),))
    (await wire(networks, pod, nic)).close()
    async with plugged_in(pod, guest, nic.mac, "10.0.2.2", "10.0.2.1"), server(guest, 8080), server(guest, 8081):
        assert await dial(world, POD_IP, 8080) == WORLD_IP
        with pytest.raises(ConnectionRefusedError):
            await dial(world, POD_IP, 8081)


async def test_bridge_gives_the_guest_the_pods_address(
    networks: PodNetworks, world: Netns, pod: Netns, guest: Netns
) -> None:
    wired = await wire(networks, pod, BRIDGE)
    wired.close()
    found = await pod.links()
    assert found["eth0-nic"]["master"] == found["k6t-eth0"]["index"]
    assert found["eth0-nic"]["ips"] == []
    assert found["eth0-nic"]["kind"] == "veth"
    assert (found["eth0"]["mac"], found["eth0"]["ips"], found["eth0"]["up"]) == (POD_MAC, [POD_IP], False)
    lease = wired.interfaces[0].lease
    assert lease is not None
    assert (lease.address, lease.prefix_length, lease.gateway) == (POD_IP, 24, WORLD_IP)
    async with plugged_in(pod, guest, POD_MAC, POD_IP, WORLD_IP), server(guest, 8080), server(world, 9000):
        assert await dial(world, POD_IP, 8080) == WORLD_IP
        assert await dial(guest, WORLD_IP, 9000) == POD_IP


@pytest.mark.parametrize("nic", [MASQUERADE, BRIDGE], ids=["masquerade", "bridge"])
async def test_second_run_changes_nothing_while_the_guest_runs(
    nic: GuestNic, networks: PodNetworks, pod: Netns, guest: Netns
) -> None:
    first = await wire(networks, pod, nic)
    before = (await pod.links(), await pod.nft())
    mac = first.interfaces[0].mac
    async with plugged_in(pod, guest, mac, "10.0.2.2", "10.0.2.1"):
        up = await pod.links()
        second = await wire(networks, pod, nic)
        assert await pod.links() == up
    assert (await pod.nft()) == before[1]
    assert second.interfaces == first.interfaces
    first.close()
    second.close()


@pytest.mark.parametrize("nic", [MASQUERADE, BRIDGE], ids=["masquerade", "bridge"])
@pytest.mark.parametrize(
    "step", ["_ensure_bridge", "_attach_card", "make_tap", "set_sysctl", "dhcp_socket", "load_rules"])
async def test_run_after_a_crash_gives_the_same_result(
    nic: GuestNic, step: str, networks: PodNetworks, pod: Netns, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CrashError(Exception):
        pass

    def crash(*args: object, **kwargs: object) -> None:
        raise CrashError(step)

    with monkeypatch.context() as patched:
        patched.setattr(links if hasattr(links, step) else network, step, crash)
        with contextlib.suppress(CrashError):       # some steps belong to the other binding
            (await wire(networks, pod, nic)).close()
    after_crash = await wire(networks, pod, nic)
    after_crash.close()
    found = await pod.links()
    assert {"eth0", "k6t-eth0", "tap0"} <= set(found)
    assert found["eth0"]["ips"] == [POD_IP]
    assert found["tap0"]["master"] == found["k6t-eth0"]["index"]
    lease = after_crash.interfaces[0].lease
    assert lease is not None
    assert lease.gateway == ("10.0.2.1" if nic is MASQUERADE else WORLD_IP)


async def test_dhcp_socket_hears_the_guest_and_reaches_it(networks: PodNetworks, pod: Netns, guest: Netns) -> None:
    wired = await wire(networks, pod, MASQUERADE)
    (dhcp,) = wired.sockets
    dhcp.setblocking(False)

    def client() -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        sock.bind(("", 68))
        sock.setblocking(False)
        return sock

    async with plugged_in(pod, guest, MASQUERADE.mac, "10.0.2.2", "10.0.2.1"), asyncio.timeout(HANG_S):
        sock = await guest.do(client)
        assert (await heard(dhcp, sock, b"discover", 67))[0] == b"discover"
        data, sender = await heard(sock, dhcp, b"offer", 68)
        assert (data, sender) == (b"offer", ("10.0.2.1", 67))
        sock.close()
    wired.close()


async def heard(listener: socket.socket, speaker: socket.socket, data: bytes, port: int) -> tuple[bytes, Any]:
    """What ``listener`` hears of a broadcast that is sent again and again, as DHCP's are: a port of a bridge lets
    nothing through until the kernel has noticed its carrier, on a busy machine a second later."""
    loop = asyncio.get_running_loop()
    hearing = asyncio.create_task(loop.sock_recvfrom(listener, 1500))
    while not hearing.done():
        await loop.sock_sendto(speaker, data, ("255.255.255.255", port))
        await asyncio.wait({hearing}, timeout=0.2)
    return hearing.result()


async def test_tap_belongs_to_the_launcher(networks: PodNetworks, pod: Netns) -> None:
    (await wire(networks, pod, MASQUERADE)).close()
    details = await run(
        ["nsenter", f"--net=/proc/{os.getpid()}/fd/{pod.fd}", "ip", "-d", "link", "show", "tap0"], deadline_s=HANG_S
    )
    words = " ".join(details.stdout.split())
    assert "type tap pi off vnet_hdr on persist on user 107 group 107" in words, words
