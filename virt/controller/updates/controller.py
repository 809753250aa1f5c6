"""The loop over VMIs whose volumes are to be changed under their guests."""

from virt.api import core, names, v1
from virt.api.kinds import VMIM
from virt.base.clock import Clock
from virt.controller import writes
from virt.controller.migration.automatic import Automatic
from virt.controller.migration.controller import MIGRATIONS_BY_VMI, Migration
from virt.controller.updates.plan import plan
from virt.controller.vmi.controller import Caches
from virt.controller.vmi.pod.naming import bounded
from virt.kube.client import Client
from virt.kube.controller import DONE, Result
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer


class UpdateReconciler:
    """Keys are those of VMIs."""

    def __init__(
        self, client: Client, caches: Caches, migrations: Informer[Migration], recorder: EventRecorder, *, clock: Clock,
    ) -> None:
        self._client = client
        self._caches = caches
        self._migrations = migrations
        self._automatic = Automatic(client, migrations, recorder)
        self._recorder = recorder
        self._clock = clock

    async def reconcile(self, key: str) -> Result:
        vmi = self._caches.vmis.store.get(key)
        if vmi is None:
            return DONE
        todo = plan(vmi, self._migrations.store.by_index(MIGRATIONS_BY_VMI, key), self._clock.now())
        for migration in todo.abort:
            if await writes.delete(self._client, VMIM, migration):
                self._recorder.event(
                    vmi, "Normal", "SuccessfulDelete",
                    f"Deleted Migration {migration.metadata.name}: the change of volumes was taken back")
        if todo.backs_off_s:
            self._recorder.event(
                vmi, "Warning", "MigrationBackoff",
                "the last migrations to the new volumes failed, so the next one waits")
        if todo.migrate:
            await self._migrate(vmi)
        return Result(todo.backs_off_s or None)

    async def _migrate(self, vmi: v1.VirtualMachineInstance) -> None:
        migration = v1.VirtualMachineInstanceMigration(
            metadata=core.ObjectMeta(
                generate_name="kubevirt-workload-update-",
                labels={names.VOLUME_UPDATE_LABEL: bounded(vmi.metadata.name)},
                annotations={names.WORKLOAD_UPDATE_ANNOTATION: ""},
            ),
            spec=v1.VirtualMachineInstanceMigrationSpec(vmi_name=vmi.metadata.name, priority="system-maintenance"),
        )
        await self._automatic.migrate(vmi, migration, "for automated workload update")
