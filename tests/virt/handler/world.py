"""A node without a node: the real informer, queue, launcher socket and reconciler, with fakes around them."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from tests.fakes.kube import FakeKube
from tests.fakes.launcher import FakeLauncher
from tests.waits import HANG_S, until
from virt.api import core, names, v1
from virt.api.kinds import EVENT, VMI
from virt.base.clock import RealClock
from virt.handler.launchers.launcher import Launcher
from virt.handler.launchers.process import Process
from virt.handler.launchers.server import POD_INDEX, Launchers, active_pods
from virt.handler.migration.ports import SourcePorts, TargetPorts
from virt.handler.migration.source import Source
from virt.handler.migration.target import Target
from virt.handler.net.model import GuestNic, PodLink
from virt.handler.net.network import WiredPod
from virt.handler.tunnel.server import Tunnel
from virt.handler.vmi.controller import Moves, Node, VmiReconciler
from virt.kube.client import Selector
from virt.kube.controller import Controller
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer
from virt.kube.objects import key_of
from virt.kube.workqueue import WorkQueue
from virt.rpc.messages import DhcpLease, GivenFunction, HostFacts, WiredInterface

NODE = "node1"
POD_UID = "0b8b2a3c-5f0e-4a5b-9d0c-1f2e3d4c5b6a"
POD_IP = "10.244.1.7"
MAC = "5a:fa:3c:fc:18:b1"
LEASE = DhcpLease(
    address="10.0.2.2", prefix_length=24, gateway="10.0.2.1", server="10.0.2.1", mtu=1500, hostname="vm"
)


SPEC = v1.VirtualMachineInstanceSpec(
    domain=v1.DomainSpec(devices=v1.Devices(
        interfaces=(v1.Interface(name="default", masquerade=v1.InterfaceMasquerade()),)
    )),
    networks=(v1.Network(name="default", pod=v1.PodNetwork()),),
)


def vmi(phase: str = "Scheduled", **spec: Any) -> v1.VirtualMachineInstance:
    """A VMI with one masquerade interface, as the controller hands it over."""
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(
            name="vm", namespace="ns", uid="vmi-uid", labels={names.NODE_NAME_LABEL: NODE},
            finalizers=(names.VMI_FINALIZER,),
        ),
        spec=replace(SPEC, **spec),
        status=v1.VirtualMachineInstanceStatus(
            phase=phase, node_name=NODE, active_pods={POD_UID: NODE},
            phase_transition_timestamps=(
                v1.PhaseTransitionTimestamp(phase=phase, phase_transition_timestamp="2026-01-01T00:00:00Z"),
            ),
        ),
    )


class FakeNetworks:
    """Pods wired on paper. ``error`` is raised by the next wiring."""

    def __init__(self) -> None:
        self.wired: list[str] = []
        self.forgotten: list[str] = []
        self.error: Exception | None = None

    async def wire(self, pod_uid: str, netns_fd: int, nics: Sequence[GuestNic], hostname: str) -> WiredPod:
        if self.error is not None:
            raise self.error
        self.wired.append(pod_uid)
        interfaces = tuple(
            WiredInterface(name=nic.name, tap="tap0", mac=MAC, mtu=1500, lease=LEASE) for nic in nics
        )
        return WiredPod(interfaces, tuple(socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in nics))

    async def links(self, pod_uid: str, netns_fd: int, nics: Sequence[GuestNic]) -> dict[str, PodLink]:
        return {"eth0": PodLink(name="eth0", mac=MAC, mtu=1500, addresses=("fd00::7/64", f"{POD_IP}/24"))}

    def forget(self, pod_uid: str) -> None:
        self.forgotten.append(pod_uid)


class FakeDevices:
    """``given`` to every guest. ``error`` is raised by the next ones."""

    def __init__(self) -> None:
        self.given: tuple[GivenFunction, ...] = ()
        self.error: Exception | None = None
        self.ended = 0

    async def prepare(self, vmi: v1.VirtualMachineInstance, launcher: Launcher) -> tuple[GivenFunction, ...]:
        if self.error is not None:
            raise self.error
        return self.given

    def reconsider(self) -> None:
        self.ended += 1


class AheadClock(RealClock):
    """A test puts it forward: what takes its time is over at once, on a slow machine too."""

    ahead_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.ahead_s)

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s


class Recorder(EventRecorder):
    """Knows whether all that was noted is written."""

    _notes = 0

    @property
    def is_done(self) -> bool:
        return self._notes == 0

    def event(self, obj: Any, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self._notes += 1
        super().event(obj, type_, reason, message)

    async def _write(self, event: core.Event) -> None:
        try:
            await super()._write(event)
        finally:
            self._notes -= 1


class World:
    """``pod`` is the pod that whoever dials is said to be in; ``kill`` ends the launcher's process. Give a second node
    the ``kube`` of the first one."""

    def __init__(
        self, folder: Path, *vmis: v1.VirtualMachineInstance, unknown_deadline_s: float = HANG_S, node: str = NODE,
        kube: FakeKube | None = None,
    ) -> None:
        self.kube = kube or FakeKube(*((VMI, each) for each in vmis))
        self.socket = folder / "launcher" / "handler.sock"
        self.networks = FakeNetworks()
        self.devices = FakeDevices()
        self.pod = POD_UID
        self.living_pods: frozenset[str] = frozenset({POD_UID})
        self._lives: list[int] = []
        self.recorder = Recorder(self.kube, "virt-handler", host=node)
        self.vmis = Informer(
            self.kube, VMI, selector=Selector(labels=f"{names.NODE_NAME_LABEL}={node}"),
            indexes={POD_INDEX: active_pods},
        )
        self.incoming = Informer(
            self.kube, VMI, selector=Selector(labels=f"{names.MIGRATION_TARGET_NODE_LABEL}={node}"),
            indexes={POD_INDEX: active_pods},
        )
        queue = WorkQueue(base_s=0.01)
        self.launchers = Launchers(
            self.vmis.store, queue.add, node=node, path=self.socket, incoming=self.incoming.store, who=self._identify,
            unknown_deadline_s=unknown_deadline_s,
        )
        self.clock = clock = AheadClock()
        self.source_ports, self.target_ports = SourcePorts(None), TargetPorts(None, host="127.0.0.1")
        moves = Moves(
            Source(self.source_ports, self.recorder, clock),
            Target(
                self.kube, self.incoming, self.networks, self.target_ports, self.recorder, address="127.0.0.1",
                facts=lambda: HostFacts(kvm=False), clock=clock, devices=self.devices),
            self.incoming,
        )
        reconciler = VmiReconciler(
            self.kube, self.vmis, self.launchers, self.networks, self.recorder, moves=moves,
            node=Node(node, lambda: HostFacts(kvm=False), lambda: self.living_pods, self.devices), clock=clock,
        )
        self.controller = Controller("vmi", reconciler.reconcile, workers=2, queue=queue)
        for informer in (self.vmis, self.incoming):
            informer.on_change(self.launchers.vmi_changed)
            self.controller.watches(informer, lambda each: [key_of(each)])
        self.tunnel = Tunnel(self.vmis.store, self.launchers, self.recorder, dials_within_s=1.0)
        self.fakes: list[FakeLauncher] = []

    def _identify(self, sock: socket.socket) -> Process:
        death, life = os.pipe()
        self._lives.append(life)
        return Process(4711, self.pod, os.open("/proc/self/ns/net", os.O_RDONLY), death)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["World"]:
        loops = (self.vmis.run, self.incoming.run, self.controller.run, self.launchers.run, self.recorder.run)
        tasks = [asyncio.create_task(loop()) for loop in loops]
        try:
            await self.until(self.socket.exists)
            yield self
        finally:
            for fake in self.fakes:
                await fake.hang_up()
                fake.close()
            self.source_ports.close()
            self.target_ports.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for life in self._lives:
                with contextlib.suppress(OSError):
                    os.close(life)

    async def launcher(self, fake: FakeLauncher | None = None) -> FakeLauncher:
        fake = fake or FakeLauncher()
        if fake not in self.fakes:
            self.fakes.append(fake)
        await fake.dial(self.socket)
        return fake

    def kill(self) -> None:
        """All processes that dialled end."""
        for life in self._lives:
            os.close(life)
        self._lives.clear()

    async def until(self, true: Callable[[], object], within_s: float = HANG_S) -> None:
        await until(true, within_s)

    async def phase(self, wanted: str) -> v1.VirtualMachineInstance:
        await self.until(lambda: self.stored.status.phase == wanted)
        return self.stored

    @property
    def stored(self) -> v1.VirtualMachineInstance:
        found = self.kube.peek(VMI, "vm", "ns")
        assert found is not None
        return found

    def change(self, **status: Any) -> None:
        """The controller writes into the VMI's status."""
        self.kube.put(VMI, replace(self.stored, status=replace(self.stored.status, **status)))

    async def delete(self) -> None:
        await self.kube.delete(VMI, "vm", "ns")

    async def events(self) -> list[tuple[str, str]]:
        """(type, reason), in the order they were told.

        A pass notes them after it has stored what the test has seen, and they are written later still.
        """
        await self.until(lambda: not self.controller.queue._processing and self.recorder.is_done)
        return [(event.type, event.reason) for event in (await self.kube.list(EVENT)).items]
