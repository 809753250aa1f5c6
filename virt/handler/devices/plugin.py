"""One gRPC server per resource, registered with the kubelet for as long as the node offers it.

The kubelet forgets its plugins when it restarts: it empties the folder and makes a new socket. So the plugin looks
once a second whether the kubelet's socket is another file or its own is gone, and then starts over.
https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc

from virt.base import log
from virt.handler.devices.proto import deviceplugin_pb2 as pb
from virt.handler.devices.proto import deviceplugin_pb2_grpc as pb_grpc
from virt.handler.devices.resources import DOMAIN, Device, DeviceGoneError, Given, Offer

API_VERSION = "v1beta1"
KUBELET_SOCKET = "kubelet.sock"
WATCH_PERIOD_S = 1.0
REGISTER_DEADLINE_S = 10.0
_LONGEST_NAME = 48

_logger = log.get("virt.handler.devices")
_FileId = tuple[int, int, int]


def allocation(given: Given) -> pb.ContainerAllocateResponse:
    """What one container gets, as the kubelet reads it."""
    return pb.ContainerAllocateResponse(
        envs=given.env,
        mounts=[
            pb.Mount(host_path=str(mount.host_path), container_path=str(mount.container_path), read_only=True)
            for mount in given.mounts
        ],
        devices=[
            pb.DeviceSpec(host_path=str(node.host_path), container_path=str(node.container_path), permissions="rw")
            for node in given.nodes
        ],
    )


def listed(device: Device) -> pb.Device:
    near = None if device.numa_node is None else pb.TopologyInfo(nodes=[pb.NUMANode(ID=device.numa_node)])
    return pb.Device(ID=device.id, health="Healthy" if device.is_healthy else "Unhealthy", topology=near)


def endpoint(full_name: str) -> str:
    """The file name of a plugin's socket. A path of more than 107 bytes is no address of a socket."""
    name = full_name.removeprefix(f"{DOMAIN}/").replace("/", "_")
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME - 9]}-{hashlib.sha256(full_name.encode()).hexdigest()[:8]}"
    return f"kubevirt-{name}.sock"


class Plugin:
    """Serves ``offer`` from ``folder`` (/var/lib/kubelet/device-plugins). ``news`` is set when there is another one."""

    def __init__(self, offer: Offer, folder: Path) -> None:
        self.offer = offer
        self.news = asyncio.Event()
        self._kubelet = folder / KUBELET_SOCKET
        self._endpoint = folder / endpoint(offer.full_name)
        self._streams = 0

    def change(self, offer: Offer) -> None:
        """From now on serve this one, of the same name; the kubelet is told at once."""
        if offer != self.offer:
            self.offer = offer
            self._wake()

    def _wake(self) -> None:
        news, self.news = self.news, asyncio.Event()
        news.set()

    @property
    def is_in_use(self) -> bool:
        """Whether the kubelet listens to this plugin now, so that pods which ask for the resource fit on the node."""
        return self._streams > 0

    async def run(self) -> None:
        """Serve until cancelled. A kubelet that is away or refuses is tried again every second."""
        while True:
            try:
                await self._serve_one_kubelet()
            except (grpc.RpcError, OSError) as error:
                _logger.warning("device plugin not registered", resource=self.offer.full_name, error=str(error))
            await asyncio.sleep(WATCH_PERIOD_S)

    async def _serve_one_kubelet(self) -> None:
        kubelet = _file_id(self._kubelet)
        if kubelet is None:
            return
        self._endpoint.unlink(missing_ok=True)
        stop = asyncio.Event()
        server = grpc.aio.server()
        pb_grpc.add_DevicePluginServicer_to_server(_Servicer(self, stop), server)
        try:
            server.add_insecure_port(f"unix:{self._endpoint}")
        except RuntimeError as error:       # so grpc calls a socket that cannot be made: the disk may be full
            raise OSError(str(error)) from error
        await server.start()
        own = _file_id(self._endpoint)
        try:
            await self._register()
            _logger.info("device plugin registered", resource=self.offer.full_name)
            while _file_id(self._kubelet) == kubelet and _file_id(self._endpoint) == own:
                await asyncio.sleep(WATCH_PERIOD_S)
            _logger.info("kubelet restarted", resource=self.offer.full_name)
        finally:
            stop.set()
            self._wake()
            await server.stop(grace=1)
            if own is not None and _file_id(self._endpoint) == own:
                self._endpoint.unlink(missing_ok=True)      # a resource that is no longer offered leaves nothing

    async def _register(self) -> None:
        async with grpc.aio.insecure_channel(f"unix:{self._kubelet}") as channel:
            await pb_grpc.RegistrationStub(channel).Register(
                pb.RegisterRequest(
                    version=API_VERSION,
                    endpoint=self._endpoint.name,
                    resource_name=self.offer.full_name,
                    options=pb.DevicePluginOptions(),
                ),
                timeout=REGISTER_DEADLINE_S,
            )

    def watched(self, change: int) -> None:
        """Count the kubelet's open ListAndWatch streams."""
        self._streams += change


class _Servicer(pb_grpc.DevicePluginServicer):  # type: ignore[misc]  # generated code has no types
    """The kubelet's questions. Method names are the interface's."""

    def __init__(self, plugin: Plugin, stop: asyncio.Event) -> None:
        self._plugin = plugin
        self._stop = stop

    async def GetDevicePluginOptions(
        self, request: pb.Empty, context: grpc.aio.ServicerContext[pb.Empty, pb.DevicePluginOptions]
    ) -> pb.DevicePluginOptions:
        return pb.DevicePluginOptions()

    async def ListAndWatch(
        self, request: pb.Empty, context: grpc.aio.ServicerContext[pb.Empty, pb.ListAndWatchResponse]
    ) -> AsyncIterator[pb.ListAndWatchResponse]:
        self._plugin.watched(+1)
        try:
            while not self._stop.is_set():      # the end of the stream means "unhealthy"
                news = self._plugin.news
                yield pb.ListAndWatchResponse(devices=[listed(device) for device in self._plugin.offer.listed])
                await news.wait()
        finally:
            self._plugin.watched(-1)

    async def Allocate(
        self, request: pb.AllocateRequest, context: grpc.aio.ServicerContext[pb.AllocateRequest, pb.AllocateResponse]
    ) -> pb.AllocateResponse:
        try:
            given = [self._plugin.offer.given(tuple(asked.devicesIDs)) for asked in request.container_requests]
        except DeviceGoneError as gone:
            # The pod fails with these words, and the kubelet does not choose the device again.
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(gone))
        return pb.AllocateResponse(container_responses=[allocation(each) for each in given])


def _file_id(path: Path) -> _FileId | None:
    """Identity of a file: numbers that differ when it is made again; None when it does not exist."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino, found.st_ctime_ns)
