"""One gRPC server per resource, registered with the kubelet for as long as the handler lives.

The kubelet forgets its plugins when it restarts: it empties the folder and makes its socket anew. So the plugin looks
once a second whether the kubelet's socket is another file or its own is gone, and then starts over.
https://kubernetes.io/docs/concepts/extend-kubernetes/compute-storage-net/device-plugins/
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import structlog

from virt.handler.devices.proto import deviceplugin_pb2 as pb
from virt.handler.devices.proto import deviceplugin_pb2_grpc as pb_grpc
from virt.handler.devices.resources import Resource

API_VERSION = "v1beta1"
KUBELET_SOCKET = "kubelet.sock"
WATCH_PERIOD_S = 1.0
REGISTER_DEADLINE_S = 10.0

_log = structlog.get_logger()
_FileId = tuple[int, int, int]


def allocation(resource: Resource) -> pb.ContainerAllocateResponse:
    """What one container gets, whatever the number of devices it asked for."""
    return pb.ContainerAllocateResponse(
        mounts=[
            pb.Mount(host_path=str(mount.host_path), container_path=str(mount.container_path), read_only=True)
            for mount in resource.mounts
        ],
        devices=[
            pb.DeviceSpec(host_path=str(node.host_path), container_path=str(node.container_path), permissions="rw")
            for node in resource.nodes
        ],
    )


class Plugin:
    """Serves ``resource`` from ``folder`` (/var/lib/kubelet/device-plugins)."""

    def __init__(self, resource: Resource, folder: Path) -> None:
        self.resource = resource
        self._kubelet = folder / KUBELET_SOCKET
        self._endpoint = folder / f"kubevirt-{resource.name}.sock"
        self._streams = 0

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
                _log.warning("device plugin not registered", resource=self.resource.full_name, error=str(error))
            await asyncio.sleep(WATCH_PERIOD_S)

    async def _serve_one_kubelet(self) -> None:
        kubelet = _file_id(self._kubelet)
        if kubelet is None:
            return
        self._endpoint.unlink(missing_ok=True)
        stop = asyncio.Event()
        server = grpc.aio.server()
        pb_grpc.add_DevicePluginServicer_to_server(_Servicer(self, stop), server)
        server.add_insecure_port(f"unix:{self._endpoint}")
        await server.start()
        try:
            await self._register()
            _log.info("device plugin registered", resource=self.resource.full_name)
            own = _file_id(self._endpoint)
            while _file_id(self._kubelet) == kubelet and _file_id(self._endpoint) == own:
                await asyncio.sleep(WATCH_PERIOD_S)
            _log.info("kubelet restarted", resource=self.resource.full_name)
        finally:
            stop.set()
            await server.stop(grace=1)

    async def _register(self) -> None:
        async with grpc.aio.insecure_channel(f"unix:{self._kubelet}") as channel:
            await pb_grpc.RegistrationStub(channel).Register(
                pb.RegisterRequest(
                    version=API_VERSION,
                    endpoint=self._endpoint.name,
                    resource_name=self.resource.full_name,
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
            yield pb.ListAndWatchResponse(
                devices=[pb.Device(ID=name, health="Healthy") for name in self._plugin.resource.device_ids]
            )
            await self._stop.wait()     # the list never changes; the end of the stream means "unhealthy"
        finally:
            self._plugin.watched(-1)

    async def Allocate(
        self, request: pb.AllocateRequest, context: grpc.aio.ServicerContext[pb.AllocateRequest, pb.AllocateResponse]
    ) -> pb.AllocateResponse:
        answer = allocation(self._plugin.resource)
        return pb.AllocateResponse(container_responses=[answer for _ in request.container_requests])


def _file_id(path: Path) -> _FileId | None:
    """Who a file is: numbers that change when it is made anew, None when it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino, found.st_ctime_ns)
