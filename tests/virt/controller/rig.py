"""The controllers on a fake API server, with the parts of kubelet, handler and webhook that a test plays itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from msgspec.structs import replace

from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from tests.waits import HANG_S
from virt.api import conditions, core, defaults, names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.kinds import POD, VM, VMI, Kind
from virt.controller.app import Controllers

T = TypeVar("T")

NAMESPACE = "default"
IMAGE = "registry:5000/virt-launcher:1"


def virtual_machine(name: str = "vm1", *, volumes: tuple[v1.Volume, ...] = (), **spec: object) -> v1.VirtualMachine:
    template = v1.VirtualMachineInstanceTemplateSpec(
        metadata=core.ObjectMeta(labels={"app": "x"}),
        spec=v1.VirtualMachineInstanceSpec(
            domain=v1.DomainSpec(
                memory=v1.Memory(guest="128Mi"), firmware=v1.Firmware(uuid="0f2c2f5e-2a41-4c3c-9a43-2f2b8f9f8c11")),
            volumes=volumes,
        ),
    )
    return v1.VirtualMachine(
        metadata=core.ObjectMeta(name=name, namespace=NAMESPACE, generation=1),
        spec=v1.VirtualMachineSpec(template=template, **spec),  # type: ignore[arg-type]
    )


def instance(name: str = "vmi1", *, uid: str = "", volumes: tuple[v1.Volume, ...] = ()) -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        metadata=core.ObjectMeta(name=name, namespace=NAMESPACE, uid=uid, finalizers=(names.VMI_FINALIZER,)),
        spec=v1.VirtualMachineInstanceSpec(
            domain=v1.DomainSpec(memory=v1.Memory(guest="128Mi")), volumes=volumes),
        status=v1.VirtualMachineInstanceStatus(phase="Pending"),
    )


class AdmittingKube(FakeKube):
    """With the part of the webhook that these tests stand on: a VMI is Pending and held from the beginning."""

    async def create(self, kind: Kind[T], obj: T, namespace: str | None = None, *, dry_run: bool = False) -> T:
        if isinstance(obj, v1.VirtualMachineInstance):
            obj = defaults.instance(obj, ClusterConfig(), now="2026-01-01T00:00:00Z", uuid="u")  # type: ignore[assignment]
        return await super().create(kind, obj, namespace, dry_run=dry_run)


class Rig:
    def __init__(self, kube: FakeKube, clock: FakeClock) -> None:
        self.kube = kube
        self.clock = clock
        self.controllers = Controllers(
            kube, namespace="kubevirt", launcher_image=IMAGE, clock=clock, chance=lambda: 0.0)

    def vm(self, name: str = "vm1") -> v1.VirtualMachine | None:
        return self.kube.peek(VM, name, NAMESPACE)

    def vmi(self, name: str = "vm1") -> v1.VirtualMachineInstance | None:
        return self.kube.peek(VMI, name, NAMESPACE)

    async def pod(self) -> core.Pod | None:
        found = (await self.kube.list(POD, NAMESPACE)).items
        return found[0] if found else None

    async def until(self, look: Callable[[], T | None]) -> T:
        """Wait for a truthy answer. The fake clock stands still meanwhile, real time passes a little."""
        async with asyncio.timeout(HANG_S):
            while True:
                found = look()
                if found:
                    return found
                await asyncio.sleep(0.001)

    async def phase(self, phase: str, name: str = "vm1") -> v1.VirtualMachineInstance:
        def look() -> v1.VirtualMachineInstance | None:
            vmi = self.vmi(name)
            return vmi if vmi is not None and vmi.status.phase == phase else None

        return await self.until(look)

    async def trouble(self) -> v1.Condition:
        """The VMI's condition Synchronized, which is there while its pod cannot be made."""

        def look() -> v1.Condition | None:
            vmi = self.vmi()
            return conditions.find(vmi.status.conditions, "Synchronized") if vmi is not None else None

        return await self.until(look)

    async def printable(self, word: str) -> v1.VirtualMachine:
        def look() -> v1.VirtualMachine | None:
            vm = self.vm()
            return vm if vm is not None and vm.status.printable_status == word else None

        return await self.until(look)

    async def launcher(self) -> core.Pod:
        async with asyncio.timeout(HANG_S):
            while True:
                pod = await self.pod()
                if pod is not None and pod.metadata.deletion_timestamp is None:
                    return pod
                await asyncio.sleep(0.001)

    async def pods_deleted(self) -> None:
        """The controller has asked for the end of a pod."""
        await self.until(lambda: any(call.verb == "delete" and call.plural == "pods" for call in self.kube.writes))

    async def settle(self) -> None:
        """Let everything that is in flight come to rest."""
        writes = -1
        while writes != len(self.kube.writes):
            writes = len(self.kube.writes)
            for _ in range(12):             # many turns for everybody, also where the machine stands still in one
                await asyncio.sleep(0.01)

    def place(self, pod: core.Pod, node: str = "node1") -> None:
        """The scheduler finds a node."""
        known = self.kube.peek(POD, pod.metadata.name, NAMESPACE) or pod
        self.kube.put(POD, replace(known, spec=replace(known.spec, node_name=node)))

    def runs(self, pod: core.Pod, node: str = "node1") -> core.Pod:
        """The scheduler and the kubelet bring the pod up."""
        statuses = tuple(
            core.ContainerStatus(name=container.name, ready=True,
                                 state=core.ContainerState(running=core.ContainerStateRunning()))
            for container in pod.spec.containers
        )
        ready = core.Condition(type="Ready", status="True")
        known = self.kube.peek(POD, pod.metadata.name, NAMESPACE) or pod
        return self.kube.put(POD, replace(
            known,
            spec=replace(known.spec, node_name=node),
            status=core.PodStatus(phase="Running", qos_class="Burstable", container_statuses=statuses,
                                  conditions=(ready,)),
        ))

    def guest(self, phase: str, name: str = "vm1") -> None:
        """The handler reports the guest."""
        vmi = self.vmi(name)
        assert vmi is not None
        entry = v1.PhaseTransitionTimestamp(phase=phase, phase_transition_timestamp="2026-01-01T00:00:00Z")
        self.kube.put(VMI, replace(vmi, status=replace(
            vmi.status, phase=phase,
            phase_transition_timestamps=(*vmi.status.phase_transition_timestamps, entry),
        )))

    async def boot(self, name: str = "vm1") -> core.Pod:
        pod = await self.launcher()
        self.runs(pod)
        await self.phase("Scheduled", name)
        self.guest("Running", name)
        return pod

    def gone(self, pod: core.Pod) -> None:
        self.kube.kubelet_stopped(POD, NAMESPACE, pod.metadata.name)

    async def without_its_pod(self) -> None:
        """A guest that ran, whose pod somebody has deleted, and of which the handler has said nothing yet."""
        self.kube.put(VMI, instance("vm1"))
        pod = await self.boot()
        await self.kube.delete(POD, pod.metadata.name, NAMESPACE)
        self.gone(pod)
        await self.settle()


@asynccontextmanager
async def running(kube: FakeKube | None = None) -> AsyncIterator[Rig]:
    clock = FakeClock()
    rig = Rig(kube or AdmittingKube(clock=clock), clock)
    runs = (*rig.controllers.followers().values(), rig.controllers.lead)
    tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(run()) for run in runs]
    try:
        yield rig
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [result for result in results if isinstance(result, Exception)]
        assert not failed, failed
