"""The loop over the KubeVirt object that brings guests to launchers of its image, and counts those that are not."""

from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from virt.api import v1
from virt.api.clusterconfig import ClusterConfig
from virt.base.clock import Clock
from virt.controller import writes
from virt.controller.migration.automatic import Automatic
from virt.controller.migration.controller import MIGRATIONS_BY_VMI, Migration
from virt.controller.migration.plan import FINAL
from virt.controller.updates.controller import WHY, update_of
from virt.controller.updates.outdated import Plan, World, is_outdated, is_settled, plan
from virt.controller.vmi.controller import Caches
from virt.kube.client import ApiError, Client, MergePatch
from virt.kube.controller import DONE, Result
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer
from virt.kube.objects import key_of

THROTTLE_S = 5.0                # between two passes: each looks at all VMIs


class FleetReconciler:
    """Keys are those of KubeVirt objects."""

    def __init__(
        self, client: Client, caches: Caches, kubevirts: Informer[v1.KubeVirt], migrations: Informer[Migration],
        recorder: EventRecorder, config: Callable[[], ClusterConfig], *, clock: Clock,
    ) -> None:
        self._client = client
        self._caches = caches
        self._kubevirts = kubevirts
        self._migrations = migrations
        self._automatic = Automatic(client, migrations, recorder)
        self._recorder = recorder
        self._config = config
        self._clock = clock
        self._looked_at: datetime | None = None
        self._evicted_at: datetime | None = None

    async def reconcile(self, key: str) -> Result:
        kubevirt = self._kubevirts.store.get(key)
        if kubevirt is None or kubevirt.metadata.deletion_timestamp is not None:
            return DONE
        now = self._clock.now()
        if self._looked_at is not None and (left := THROTTLE_S - (now - self._looked_at).total_seconds()) > 0:
            return Result(left)
        self._looked_at = now
        vmis = [vmi for vmi in self._caches.vmis.store if is_outdated(vmi)]
        await self._count(kubevirt, len(vmis))
        if not vmis or not is_settled(kubevirt):
            return DONE
        todo = plan(self._world(vmis), self._config(), now)
        for vmi in todo.migrate:
            await self._automatic.migrate(vmi, update_of(vmi), WHY)
        await self._evict(todo, now)
        return Result(todo.again_s)

    def _world(self, vmis: list[v1.VirtualMachineInstance]) -> World:
        return World(
            vmis=sorted(vmis, key=key_of),
            migrations={
                vmi.metadata.uid: self._migrations.store.by_index(MIGRATIONS_BY_VMI, key_of(vmi)) for vmi in vmis},
            under_way=sum(migration.status.phase not in FINAL for migration in self._migrations.store),
            evicted_at=self._evicted_at,
        )

    async def _count(self, kubevirt: v1.KubeVirt, outdated: int) -> None:
        """Beside the operator's status: each of the two writes its own fields only."""
        if kubevirt.status.outdated_virtual_machine_instance_workloads == outdated:
            return
        patch = MergePatch({"status": {"outdatedVirtualMachineInstanceWorkloads": outdated}})
        await writes.patched(self._client, self._kubevirts, kubevirt, patch, subresource="status")

    async def _evict(self, todo: Plan, now: datetime) -> None:
        if todo.evict:
            self._evicted_at = now
        for vmi in todo.evict:
            pod = self._caches.pod(vmi)
            if pod is None:
                continue
            about = replace(vmi, metadata=replace(vmi.metadata, resource_version=""))
            try:
                await self._client.evict(pod.metadata.name, pod.metadata.namespace or "", pod.metadata.uid)
            except ApiError as error:
                self._recorder.event(
                    about, "Warning", "FailedEvict",
                    f"Failed to evict pod {pod.metadata.name} for automated workload update: {error.message}")
            else:
                self._recorder.event(
                    about, "Normal", "SuccessfulEvict",
                    f"Evicted pod {pod.metadata.name} for automated workload update")
