"""The loop over VMIs whose guests have to move so that they get what their VMs ask for."""

from collections.abc import Callable

from virt.api import core, names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.kinds import VMIM
from virt.base.clock import Clock
from virt.controller import writes
from virt.controller.migration.automatic import Automatic
from virt.controller.migration.controller import MIGRATIONS_BY_VMI, Migration
from virt.controller.updates.plan import changes_volumes, plan
from virt.controller.vmi.controller import Caches
from virt.controller.vmi.pod.naming import bounded
from virt.kube.client import Client
from virt.kube.controller import DONE, Result
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer

WHY = "for automated workload update"


class UpdateReconciler:
    """Keys are those of VMIs."""

    def __init__(
        self, client: Client, caches: Caches, migrations: Informer[Migration], recorder: EventRecorder,
        config: Callable[[], ClusterConfig], *, clock: Clock,
    ) -> None:
        self._client = client
        self._caches = caches
        self._migrations = migrations
        self._automatic = Automatic(client, migrations, recorder)
        self._recorder = recorder
        self._config = config
        self._clock = clock

    async def reconcile(self, key: str) -> Result:
        vmi = self._caches.vmis.store.get(key)
        if vmi is None:
            return DONE
        todo = plan(
            vmi, self._migrations.store.by_index(MIGRATIONS_BY_VMI, key), self._clock.now(),
            methods=self._config().workload_update_methods)
        for migration in todo.abort:
            if await writes.delete(self._client, VMIM, migration):
                self._recorder.event(
                    vmi, "Normal", "SuccessfulDelete",
                    f"Deleted Migration {migration.metadata.name}: nobody asks for what it is to bring any more")
        if todo.backs_off_s:
            self._recorder.event(
                vmi, "Warning", "MigrationBackoff",
                "the last migrations for a change of the VM failed, so the next one waits")
        if todo.migrate:
            await self._automatic.migrate(vmi, update_of(vmi), WHY)
        return Result(todo.backs_off_s or None)


def update_of(vmi: v1.VirtualMachineInstance) -> Migration:
    """A migration that brings the guest up to date."""
    labels = {names.VOLUME_UPDATE_LABEL: bounded(vmi.metadata.name)} if changes_volumes(vmi) else {}
    return v1.VirtualMachineInstanceMigration(
        metadata=core.ObjectMeta(
            generate_name="kubevirt-workload-update-", labels=labels,
            annotations={names.WORKLOAD_UPDATE_ANNOTATION: ""},
        ),
        spec=v1.VirtualMachineInstanceMigrationSpec(vmi_name=vmi.metadata.name, priority="system-maintenance"),
    )
