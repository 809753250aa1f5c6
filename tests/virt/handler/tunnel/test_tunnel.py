"""What virt-api meets at a node, over real HTTP and WebSockets to a launcher on a real socket."""

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, ClientWebSocketResponse, WSMsgType, WSServerHandshakeError, web
from aiohttp.test_utils import TestClient, TestServer

from tests.fakes.authority import Authority
from tests.fakes.launcher import FakeLauncher
from tests.sockets import probed_within_s
from tests.virt.handler.world import World, vmi
from tests.waits import HANG_S, until
from virt.api import names
from virt.kube import http
from virt.rpc.errors import RequestFailed
from virt.rpc.messages import DomainState, DomainStatus, Freeze, OpenSerial, Pause, Unpause

AT = "/v1/namespaces/ns/virtualmachineinstances/vm"
Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def node(folder: Path) -> AsyncIterator[tuple[World, FakeLauncher, Client]]:
    async with World(folder, vmi()).running() as world:
        fake = await world.launcher()
        await world.phase("Running")
        async with TestClient(TestServer(world.tunnel.app(check_client=False))) as client:
            yield world, fake, client


async def guest_end(fake: FakeLauncher, number: int) -> socket.socket:
    async with asyncio.timeout(HANG_S):
        while len(fake.guest_ends) <= number:
            await asyncio.sleep(0.005)
    end = fake.guest_ends[number]
    end.setblocking(False)
    return end


async def say(end: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(end, data)


async def hear(end: socket.socket) -> bytes:
    async with asyncio.timeout(HANG_S):
        return await asyncio.get_running_loop().sock_recv(end, 65536)


async def closed(ws: ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(HANG_S):
        while (await ws.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING):
            pass
    return ws.close_code


async def test_a_virt_api_that_is_gone_without_a_word_holds_no_session(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, _, client), client.ws_connect(f"{AT}/vnc?preserveSession=true"):
        await until(lambda: any(after <= 10 for after in probed_within_s()))
        assert [after for after in probed_within_s() if after <= 10], "its connection is not watched"


async def test_bytes_go_both_ways_and_text_frames_do_not_matter(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, fake, client), client.ws_connect(
        f"{AT}/console", protocols=("fantasy", "plain.kubevirt.io")
    ) as ws:
        assert ws.protocol == "plain.kubevirt.io"
        end = await guest_end(fake, 0)
        every_byte = bytes(range(256)) * 40
        await ws.send_str("nobody hears this")
        await ws.send_bytes(every_byte)
        got = b""
        while len(got) < len(every_byte):
            got += await hear(end)
        assert got == every_byte
        await say(end, b"login: \xff")
        assert (await ws.receive_bytes(timeout=HANG_S)) == b"login: \xff"
        end.close()
        assert await closed(ws) == 1000


async def test_all_that_a_talkative_guest_says_arrives(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, fake, client), client.ws_connect(f"{AT}/console") as ws:
        said = os.urandom(1 << 20)
        end = await guest_end(fake, 0)
        saying = asyncio.create_task(say(end, said))
        heard = bytearray()
        async with asyncio.timeout(HANG_S):
            while len(heard) < len(said):
                heard += await ws.receive_bytes()
        await saying
        assert heard == said


async def test_no_offer_is_served_without_an_echo(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, _fake, client):
        for protocols in ((), ("fantasy",)):
            async with client.ws_connect(f"{AT}/console", protocols=protocols) as ws:
                assert ws.protocol is None


async def test_a_second_console_ends_the_first_before_it_begins(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, fake, client), client.ws_connect(f"{AT}/console") as first:
        end = await guest_end(fake, 0)
        async with client.ws_connect(f"{AT}/console") as second:
            assert await hear(end) == b""           # the old stream had ended when the new one was opened
            assert await closed(first) == 1000
            await second.send_bytes(b"x")
            assert await hear(await guest_end(fake, 1)) == b"x"


async def test_of_many_consoles_at_once_one_is_left_and_nothing_leaks(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, fake, client):
        before = _descriptors()
        async with ClientSession() as session:
            url = client.make_url(f"{AT}/console")
            asked = await asyncio.gather(*(session.ws_connect(url) for _ in range(10)), return_exceptions=True)
            found = [ws for ws in asked if isinstance(ws, ClientWebSocketResponse)]
            assert {error.status for error in asked if isinstance(error, WSServerHandshakeError)} <= {503}
            closes = [asyncio.create_task(ws.receive()) for ws in found]
            await until(lambda: sum(not close.done() for close in closes) == 1)
            (living,) = (ws for ws, close in zip(found, closes, strict=True) if not close.done())
            await living.send_bytes(b"still here")
            heard = [await hear(await guest_end(fake, number)) for number in range(len(fake.guest_ends))]
            assert sorted(heard) == [b""] * (len(heard) - 1) + [b"still here"]
            for close in closes:
                close.cancel()
            await asyncio.gather(*closes, return_exceptions=True)
            for ws in found:
                await ws.close()
        for end in fake.guest_ends:
            end.close()
        fake.guest_ends.clear()
        await until(lambda: _descriptors() <= before)


async def test_vnc_with_preserve_session_is_refused_while_one_is_open(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, fake, client):
        async with client.ws_connect(f"{AT}/vnc") as first:
            refused = await client.get(f"{AT}/vnc", params={"preserveSession": "true"})
            assert refused.status == 503
            assert (await refused.json())["kind"] == "Status"
            await first.send_bytes(b"RFB")
            assert await hear(await guest_end(fake, 0)) == b"RFB"
        async with client.ws_connect(f"{AT}/vnc", params={"preserveSession": "true"}) as later:
            await later.send_bytes(b"RFB")
            assert await hear(await guest_end(fake, 1)) == b"RFB"


async def test_a_client_that_does_not_read_holds_up_the_guest_and_not_the_memory(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, fake, client), ClientSession() as session:
        ws = await session.ws_connect(client.make_url(f"{AT}/console"), max_msg_size=0)
        end = await guest_end(fake, 0)
        sent = 0
        try:
            async with asyncio.timeout(1):
                while sent < 256 << 20:
                    await say(end, b"x" * 65536)
                    sent += 65536
        except TimeoutError:
            pass
        assert sent < 32 << 20
        async with client.ws_connect(f"{AT}/console") as other:
            await other.send_bytes(b"next")
            assert await hear(await guest_end(fake, 1)) == b"next"
        await ws.close()


async def test_what_the_launcher_refuses_is_an_answer_and_no_upgrade(tmp_path: Path) -> None:
    async with node(tmp_path) as (_, fake, client):
        fake.refuse[OpenSerial] = RequestFailed("NoDevice", "No serial consoles are present.")
        answer = await client.get(f"{AT}/console")
        assert answer.status == 400
        assert (await answer.json())["message"] == "No serial consoles are present."
        missing = await client.get("/v1/namespaces/ns/virtualmachineinstances/other/console")
        assert missing.status == 404
        await fake.hang_up()
        assert (await client.put(f"{AT}/pause")).status == 503


@pytest.mark.parametrize("path", ["/", os.devnull])
async def test_what_a_launcher_passes_instead_of_a_console_is_closed(tmp_path: Path, path: str) -> None:
    async with node(tmp_path) as (_, fake, client):
        before = _descriptors()
        fake.passes = path
        answer = await client.get(f"{AT}/console", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
        assert answer.status == 500
        assert "no socket" in (await answer.json())["message"]
        fake.passes = ""
        async with client.ws_connect(f"{AT}/console"):
            await guest_end(fake, 0)
            await until(lambda: _descriptors() <= before + 4)       # the client's connection and the guest's end


async def test_an_action_waits_for_the_launcher_to_dial_again(tmp_path: Path) -> None:
    async with node(tmp_path) as (world, fake, client):
        world.tunnel._dials_within_s = HANG_S
        await fake.hang_up()
        asking = asyncio.create_task(client.put(f"{AT}/pause"))
        await asyncio.sleep(0.1)
        assert not asking.done()
        await world.launcher(fake)
        assert (await asking).status == 200
        assert isinstance(fake.asked[-1], Pause)


async def test_a_guest_that_has_just_moved_here_is_known_a_moment_later(tmp_path: Path) -> None:
    """virt-api asks the API server where it is; this node hears of it by a watch."""
    async with node(tmp_path) as (world, fake, client):
        world.tunnel._dials_within_s = HANG_S
        world.vmis.store.remove("ns/vm")
        asking = asyncio.create_task(client.put(f"{AT}/pause"))
        await asyncio.sleep(0.1)
        assert not asking.done()
        world.change(guest_os_info=None)
        assert (await asking).status == 200
        assert isinstance(fake.asked[-1], Pause)


async def test_actions_reach_the_guest_and_leave_an_event(tmp_path: Path) -> None:
    async with node(tmp_path) as (world, fake, client):
        assert (await client.put(f"{AT}/pause", data=b"{}")).status == 200
        assert (await client.put(f"{AT}/unpause")).status == 200
        assert [type(request) for request in fake.asked[1:]] == [Pause, Unpause]
        assert [reason for _, reason in await world.events()][-2:] == ["Paused", "Unpaused"]
        assert (await client.put(f"{AT}/explode")).status == 404


async def test_freeze_needs_a_time_and_an_agent(tmp_path: Path) -> None:
    async with node(tmp_path) as (world, fake, client):
        assert (await client.put(f"{AT}/freeze")).status == 400
        assert (await client.put(f"{AT}/freeze", json={"unfreezeTimeout": "5m0s"})).status == 200
        assert fake.asked[-1] == Freeze(timeout_s=300)
        fake.refuse[Freeze] = RequestFailed("NoAgent", "")
        answer = await client.put(f"{AT}/freeze", json={"unfreezeTimeout": "1s"})
        assert answer.status == 500
        assert "command Freeze failed" in (await answer.json())["message"]
        assert ("Warning", "FreezeError") in await world.events()


async def test_questions_to_the_agent(tmp_path: Path) -> None:
    async with node(tmp_path) as (world, fake, client):
        silent = await client.get(f"{AT}/guestosinfo")
        assert silent.status == 409
        assert "does not have guest agent connected" in (await silent.json())["message"]
        fake.guest_info = json.dumps({
            "guestAgentVersion": "7", "userList": [{"userName": "root", "loginTime": 1.5}],
            "fsInfo": {"disks": [{"diskName": "vda", "mountPoint": "/", "fileSystemType": "ext4"}]},
        }).encode()
        await fake.becomes(DomainStatus(state=DomainState.RUNNING, agent_connected=True))
        await world.until(lambda: world.launchers.of(world.stored).status.agent_connected)  # type: ignore[union-attr]
        assert (await (await client.get(f"{AT}/guestosinfo")).json())["guestAgentVersion"] == "7"
        assert (await (await client.get(f"{AT}/userlist")).json())["items"][0]["userName"] == "root"
        assert (await (await client.get(f"{AT}/filesystemlist")).json())["items"][0]["mountPoint"] == "/"
        picture = await client.get(f"{AT}/vnc/screenshot")
        assert picture.content_type == "image/png"


async def test_only_virt_apis_certificate_opens_the_door(tmp_path: Path) -> None:
    authority = Authority("kubevirt.io")
    bundle = tmp_path / "ca-bundle"
    bundle.write_text(authority.pem)
    server = authority.issue(tmp_path / "server", names.HANDLER_NAME)
    clients = {
        "api": authority.issue(tmp_path / "api", names.HANDLER_CLIENT_NAME),
        "controller": authority.issue(tmp_path / "controller", "virt-controller.kubevirt.pod.cluster.local"),
        "foreign": Authority("kubevirt.io").issue(tmp_path / "foreign", names.HANDLER_CLIENT_NAME),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with World(tmp_path / "node", vmi()).running() as world:
        await world.launcher()
        await world.phase("Running")
        certs = http.Certificates(server, client_ca=bundle)
        serving = asyncio.create_task(http.serve(world.tunnel.app(), port=port, certs=certs, host="127.0.0.1"))
        await until(lambda: _listens(port))
        try:
            async def status(context: ssl.SSLContext) -> int | None:
                try:
                    async with ClientSession() as session, session.put(
                        f"https://127.0.0.1:{port}{AT}/pause", ssl=context
                    ) as answer:
                        return answer.status
                except ClientError:
                    return None

            seen = {
                name: await status(http.Certificates(folder, client_ca=bundle).client)
                for name, folder in clients.items()
            }
            anonymous = ssl.create_default_context(cafile=str(bundle))
            anonymous.check_hostname = False
            seen["none"] = await status(anonymous)
            assert seen == {"api": 200, "controller": None, "foreign": None, "none": None}
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208
