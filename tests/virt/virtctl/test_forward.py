"""virtctl port-forward, against a served virt-api and a guest that is a port of this machine."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.virt.apiserver.stand import Stand, stand
from tests.virt.virtctl.test_main import connected, free_port, kubeconfig_of
from tests.waits import HANG_S
from virt.api import core, kinds, v1
from virt.virtctl import forward, kubeconfig, main
from virt.virtctl.errors import CommandError
from virt.virtctl.forward import Port
from virt.virtctl.kubeconfig import Flags
from virt.virtctl.server import Server

VMI = v1.VirtualMachineInstance(
    metadata=core.ObjectMeta(name="vm1", namespace="ns"),
    spec=v1.VirtualMachineInstanceSpec(networks=(v1.Network(name="default", pod=v1.PodNetwork()),)),
    status=v1.VirtualMachineInstanceStatus(
        phase="Running", node_name="node1",
        interfaces=(v1.VirtualMachineInstanceNetworkInterface(name="default", ip_address="127.0.0.1"),)),
)


@asynccontextmanager
async def guest() -> AsyncIterator[int]:
    """A port that says hello, repeats what it hears, and hangs up after a line."""
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello\n")
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield int(server.sockets[0].getsockname()[1])


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Stand]:
    async with stand(tmp_path, (kinds.VMI, VMI)) as served:
        yield served


def server_of(api: Stand) -> Server:
    return Server(kubeconfig.load(Flags(kubeconfig=kubeconfig_of(api)), {}))


def action_of(server: Server) -> str:
    return server.subresource("virtualmachineinstances", "vm1", "portforward")


async def test_a_local_port_leads_into_the_guest_until_ctrl_c(
    api: Stand, capfd: pytest.CaptureFixture[str]
) -> None:
    server, local, nobody = server_of(api), free_port(), free_port()
    async with guest() as remote, asyncio.timeout(HANG_S):
        ports = (Port(local, remote), Port(0, nobody))
        serving = asyncio.create_task(forward.listening(server, action_of(server), ports, "127.0.0.1"))
        for _ in range(2):
            reader, writer = await connected(local)
            writer.write(b"ping\n")
            assert await reader.read() == b"hello\nping\n"
            writer.close()
        told = capfd.readouterr().out.splitlines()               # the served virt-api's log is among it
        first, second = (line for line in told if line.startswith("Forwarding"))
        assert first == f"Forwarding 127.0.0.1:{local} to {remote}"
        closed = int(second.split()[1].partition(":")[2])
        reader, writer = await connected(closed)
        assert await reader.read() == b""                    # nobody listens there in the guest
        writer.close()
        assert "dialing VM" in capfd.readouterr().err
        signal.raise_signal(signal.SIGINT)
        assert await serving == 0
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", local)


async def test_one_port_on_standard_input_and_output(api: Stand) -> None:
    server = server_of(api)
    source, typed = os.pipe()
    shown, sink = os.pipe()
    try:
        async with guest() as remote, asyncio.timeout(HANG_S):
            os.write(typed, b"ping\n")
            assert await forward.piped(server, f"{action_of(server)}/{remote}/tcp", source, sink) == 0
        assert os.read(shown, 100) == b"hello\nping\n"
    finally:
        for descriptor in (typed, source, shown, sink):
            os.close(descriptor)


async def test_a_port_that_is_taken_is_told(api: Stand) -> None:
    server = server_of(api)
    async with guest() as taken:
        with pytest.raises(CommandError, match=f"cannot listen on 127.0.0.1:{taken}"):
            await forward.listening(server, action_of(server), (Port(taken, 22),), "127.0.0.1")


@pytest.mark.parametrize(("text", "expected"), [
    ("22", Port(22, 22)), ("2222:22", Port(2222, 22)), ("tcp/0:22", Port(0, 22)), ("TCP/80", Port(80, 80)),
])
def test_ports(text: str, expected: Port) -> None:
    assert forward.port(text) == expected


def test_targets() -> None:
    assert forward.target("vm/a.b") == ("virtualmachines", "a.b", "")
    assert forward.target("VMIs/a/ns") == ("virtualmachineinstances", "a", "ns")


@pytest.mark.parametrize(("words", "named"), [
    (["a", "22"], "target must contain type and name separated by '/'"), (["pod/a", "22"], "unsupported resource type"),
    (["vm/", "22"], "'vm/' is not KIND/NAME"), (["vm/a/b/c", "22"], "'vm/a/b/c' is not"), (["vm/a/", "22"], "'vm/a/'"),
    (["vm/a", "udp/53"], "only tcp"), (["vm/a", "ssh"], "'ssh' is not LOCAL"), (["vm/a", "0"], "'0' is not LOCAL"),
    (["vm/a", "1:70000"], "'1:70000'"), (["vm/a", ":22"], "':22'"), (["vm/a", "22:"], "'22:'"),
    (["vm/a", "22", "23", "--stdio"], "only one port"), (["vm/a"], "LOCAL"),
])
def test_wrong_use_is_told(words: list[str], named: str) -> None:
    with pytest.raises(CommandError) as caught:
        main.run(["-s", "http://127.0.0.1:1", "port-forward", *words], "virtctl")
    assert named in str(caught.value)
