"""The device plugins against a kubelet of our own: registration, answers, and a kubelet that restarts."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.waits import HANG_S, until
from virt.handler.devices import plugin as plugin_module
from virt.handler.devices.files import copy_helpers, make_nodes
from virt.handler.devices.plugin import Plugin, allocation, endpoint
from virt.handler.devices.proto import deviceplugin_pb2 as pb
from virt.handler.devices.proto import deviceplugin_pb2_grpc as pb_grpc
from virt.handler.devices.resources import CharacterDevice, Device, DeviceGoneError, Given, resources

NODE_DIR = Path("/var/run/kubevirt")


def by_name(*, kvm: bool = True) -> dict[str, object]:
    return {resource.name: allocation(resource.given(())) for resource in resources(NODE_DIR, kvm=kvm)}


def test_tun_gives_the_device_and_the_handlers_socket() -> None:
    assert by_name()["tun"] == pb.ContainerAllocateResponse(
        mounts=[
            pb.Mount(
                host_path="/var/run/kubevirt/launcher", container_path="/var/run/kubevirt-handler", read_only=True
            )
        ],
        devices=[
            pb.DeviceSpec(
                host_path="/var/run/kubevirt/devices/tun", container_path="/dev/net/tun", permissions="rw"
            )
        ],
    )


def test_container_disk_gives_the_helper_and_no_device() -> None:
    assert by_name()["container-disk"] == pb.ContainerAllocateResponse(
        mounts=[
            pb.Mount(host_path="/var/run/kubevirt/bin", container_path="/usr/lib/virt/bin", read_only=True)
        ]
    )


def test_kvm_is_offered_only_where_it_is_usable() -> None:
    assert "kvm" in by_name(kvm=True)
    assert "kvm" not in by_name(kvm=False)


class Kubelet(pb_grpc.RegistrationServicer):  # type: ignore[misc]  # generated code has no types
    """What a kubelet does with a plugin: takes the registration, then watches the plugin's list."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.registered: asyncio.Queue[pb.RegisterRequest] = asyncio.Queue()

    async def Register(self, request: pb.RegisterRequest, context: object) -> pb.Empty:
        self.registered.put_nowait(request)
        return pb.Empty()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        socket, hidden = self._folder / "kubelet.sock", self._folder / "kubelet.hidden"
        for old in self._folder.iterdir():      # a starting kubelet empties the folder
            old.unlink(missing_ok=True)         # gRPC removes its own sockets, a moment after a server ended
        server = grpc.aio.server()
        pb_grpc.add_RegistrationServicer_to_server(self, server)
        server.add_insecure_port(f"unix:{hidden}")
        await server.start()
        hidden.rename(socket)                   # a file that nobody listens at yet would be tried, and given up
        try:
            yield
        finally:
            await server.stop(grace=None)

    @asynccontextmanager
    async def plugin(self, request: pb.RegisterRequest) -> AsyncIterator[pb_grpc.DevicePluginStub]:
        async with grpc.aio.insecure_channel(f"unix:{self._folder / request.endpoint}") as channel:
            yield pb_grpc.DevicePluginStub(channel)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_module, "WATCH_PERIOD_S", 0.02)


@pytest.fixture
async def plugin(tmp_path: Path, quick: None) -> AsyncIterator[Plugin]:
    plugin = Plugin(resources(NODE_DIR, kvm=False)[0], tmp_path)
    task = asyncio.create_task(plugin.run())
    yield plugin
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_plugin_waits_for_the_kubelet_and_answers_it(tmp_path: Path, plugin: Plugin) -> None:
    await asyncio.sleep(0.1)                    # the plugin runs before its kubelet
    kubelet = Kubelet(tmp_path)
    async with kubelet.serving():
        request = await asyncio.wait_for(kubelet.registered.get(), HANG_S)
        assert (request.version, request.resource_name) == ("v1beta1", "devices.kubevirt.io/tun")
        async with kubelet.plugin(request) as stub:
            listing = await stub.ListAndWatch(pb.Empty()).read()
            assert len(listing.devices) == 1000
            assert {device.health for device in listing.devices} == {"Healthy"}
            assert plugin.is_in_use
            asked = pb.AllocateRequest(
                container_requests=[
                    pb.ContainerAllocateRequest(devicesIDs=["tun0"]),
                    pb.ContainerAllocateRequest(devicesIDs=["tun1"]),
                ]
            )
            assert len((await stub.Allocate(asked)).container_responses) == 2


async def test_plugin_registers_again_with_a_new_kubelet(tmp_path: Path, plugin: Plugin) -> None:
    kubelet = Kubelet(tmp_path)
    async with kubelet.serving():
        await asyncio.wait_for(kubelet.registered.get(), HANG_S)
    async with kubelet.serving():
        request = await asyncio.wait_for(kubelet.registered.get(), HANG_S)
        async with kubelet.plugin(request) as stub:
            # The socket that the first server of the plugin removes late may be the second's; then it makes another.
            assert (await stub.ListAndWatch(pb.Empty(), wait_for_ready=True, timeout=HANG_S).read()).devices


async def test_a_socket_that_cannot_be_made_is_tried_again(
    tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubelet, folder, tries, server = Kubelet(tmp_path), tmp_path / "gone", [], grpc.aio.server

    def counted() -> grpc.aio.Server:
        tries.append(folder.exists())
        return server()

    async with kubelet.serving():
        monkeypatch.setattr(grpc.aio, "server", counted)
        plugin = Plugin(resources(NODE_DIR, kvm=False)[0], tmp_path)
        monkeypatch.setattr(plugin, "_endpoint", folder / "kubevirt-tun.sock")
        serving = asyncio.create_task(plugin.run())
        await until(lambda: len(tries) == 2 or serving.done())
        assert not serving.done(), serving.exception()
        folder.mkdir()
        assert await asyncio.wait_for(kubelet.registered.get(), HANG_S)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@dataclass(frozen=True)
class Cards:
    """An offer of things that there are only once."""

    listed: tuple[Device, ...]
    full_name: str = "example.com/card"

    def given(self, ids: Collection[str]) -> Given:
        for name in ids:
            if Device(name, True, 1) not in self.listed:
                raise DeviceGoneError(f"{name} is gone")
        return Given(env={"CARDS": ",".join(ids)})


async def test_the_kubelet_is_told_what_changes(tmp_path: Path, quick: None) -> None:
    plugin = Plugin(Cards((Device("a", True, 1), Device("b"))), tmp_path)
    kubelet = Kubelet(tmp_path)
    task = asyncio.create_task(plugin.run())
    try:
        async with kubelet.serving():
            request = await asyncio.wait_for(kubelet.registered.get(), HANG_S)
            assert (request.resource_name, request.endpoint) == (
                "example.com/card", "kubevirt-example.com_card.sock")
            async with kubelet.plugin(request) as stub:
                listing = stub.ListAndWatch(pb.Empty())
                first = await listing.read()
                assert [(device.ID, device.health) for device in first.devices] == [("a", "Healthy"), ("b", "Healthy")]
                assert [node.ID for node in first.devices[0].topology.nodes] == [1]
                assert not first.devices[1].HasField("topology")
                plugin.change(Cards((Device("a", True, 1), Device("b", False))))
                second = await asyncio.wait_for(listing.read(), HANG_S)
                assert [device.health for device in second.devices] == ["Healthy", "Unhealthy"]

                async def allocate(name: str) -> pb.AllocateResponse:
                    return await stub.Allocate(pb.AllocateRequest(
                        container_requests=[pb.ContainerAllocateRequest(devicesIDs=[name])]))

                assert (await allocate("a")).container_responses[0].envs == {"CARDS": "a"}
                with pytest.raises(grpc.RpcError) as raised:
                    await allocate("b")
                assert raised.value.details() == "b is gone"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not (tmp_path / "kubevirt-example.com_card.sock").exists(), "nothing is left of a resource that is gone"


@pytest.mark.parametrize("name", ["devices.kubevirt.io/tun", f"{'d' * 200}/{'n' * 63}"])
def test_a_plugins_socket_has_a_path_that_fits(name: str) -> None:
    assert len(f"/var/lib/kubelet/device-plugins/{endpoint(name)}") < 108
    assert endpoint(name) != endpoint(f"{name}x")


@pytest.mark.skipif(os.geteuid() != 0, reason="device nodes are made by root only")
def test_device_node_is_made_once_and_repaired(tmp_path: Path) -> None:
    tun = CharacterDevice(tmp_path / "devices" / "tun", 10, 200)
    make_nodes([tun])
    first = tun.path.stat()
    make_nodes([tun])
    assert tun.path.stat().st_ino == first.st_ino
    assert stat.S_IMODE(first.st_mode) == 0o666
    assert first.st_rdev == os.makedev(10, 200)
    tun.path.chmod(0o600)
    make_nodes([tun])
    assert stat.S_IMODE(tun.path.stat().st_mode) == 0o666


def test_helper_is_replaced_while_it_is_open(tmp_path: Path) -> None:
    source, target = tmp_path / "image", tmp_path / "bin"
    source.mkdir()
    (source / "container-disk").write_text("old")
    assert copy_helpers(source, target) == ("container-disk",)
    with (target / "container-disk").open() as old:
        (source / "container-disk").write_text("new")
        copy_helpers(source, target)
        assert old.read() == "old"
    assert (target / "container-disk").read_text() == "new"
    assert stat.S_IMODE((target / "container-disk").stat().st_mode) == 0o755
    assert [path.name for path in target.iterdir()] == ["container-disk"]


def test_an_image_without_helpers_is_no_error(tmp_path: Path) -> None:
    assert copy_helpers(tmp_path / "missing", tmp_path / "bin") == ()
