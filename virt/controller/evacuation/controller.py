"""The loop over VMIs whose node is to be left."""

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from virt.api import conditions, core, names, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.validate.eviction import is_drained
from virt.base.clock import Clock, rfc3339
from virt.controller import writes
from virt.controller.evacuation.plan import EVICTION_REQUESTED, Plan, World, plan
from virt.controller.migration.automatic import Automatic
from virt.controller.migration.controller import MIGRATIONS_BY_VMI, Migration
from virt.controller.vmi.controller import VMIS_BY_NODE, Caches
from virt.kube.client import Client, MergePatch
from virt.kube.controller import DONE, Result
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer
from virt.kube.objects import key_of

EVICTION_ANNOTATION = "descheduler.alpha.kubernetes.io/eviction-in-progress"


class EvacuationReconciler:
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
        config = self._config()
        world = World(
            vmi=vmi, node=self._caches.nodes.store.get(vmi.status.node_name) if vmi.status.node_name else None,
            migrations=self._migrations.store.by_index(MIGRATIONS_BY_VMI, key),
            taint=config.migrations.node_drain_taint_key, strategy=config.eviction_strategy,
        )
        todo = plan(world, self._clock.now())
        if todo.backs_off_s:
            self._recorder.event(
                vmi, "Warning", "MigrationBackoff",
                "the last migrations away from the node failed, so the next one waits")
        if todo.migrate:
            await self._migrate(vmi, todo.priority)
        await self._show(vmi, todo)
        return Result(todo.backs_off_s or None)

    def keys_of_node(self, node: core.Node) -> Iterable[str]:
        """Its VMIs, where it has the drain taint."""
        if not is_drained(node, self._config().migrations.node_drain_taint_key):
            return ()
        return (key_of(vmi) for vmi in self._caches.vmis.store.by_index(VMIS_BY_NODE, node.metadata.name))

    async def _migrate(self, vmi: v1.VirtualMachineInstance, priority: str) -> None:
        node = vmi.status.node_name
        migration = v1.VirtualMachineInstanceMigration(
            metadata=core.ObjectMeta(
                generate_name="kubevirt-evacuation-", annotations={names.EVACUATION_MIGRATION_ANNOTATION: node}),
            spec=v1.VirtualMachineInstanceMigrationSpec(vmi_name=vmi.metadata.name, priority=priority),
        )
        await self._automatic.migrate(vmi, migration, f"for evacuation from node {node}")

    async def _show(self, vmi: v1.VirtualMachineInstance, todo: Plan) -> None:
        """The condition on the VMI, and a word for the descheduler on the pod that is to go."""
        pod = self._caches.pod(vmi)
        if todo.is_requested:
            asked = v1.Condition(type=EVICTION_REQUESTED, status="True", message="eviction of its pod was asked for")
            found = conditions.with_condition(vmi.status.conditions, asked, rfc3339(self._clock.now()))
        else:
            found = conditions.without(vmi.status.conditions, EVICTION_REQUESTED)
        if pod is not None and (EVICTION_ANNOTATION in pod.metadata.annotations) != todo.is_requested:
            mark = {EVICTION_ANNOTATION: "kubevirt" if todo.is_requested else None}
            await writes.patched(
                self._client, self._caches.pods, pod, MergePatch({"metadata": {"annotations": mark}}))
        new = replace(vmi, status=replace(vmi.status, conditions=found))
        if (patch := writes.between(vmi, new, "status")) is not None:
            await writes.patched(self._client, self._caches.vmis, vmi, patch)
