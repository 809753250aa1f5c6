"""The loop of migrations: gather the world, plan, act, store the outcome, tell of it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from virt.api import conditions, core, names, v1
from virt.api.clusterconfig import ClusterConfig, Migrations
from virt.api.kinds import VMIM
from virt.api.migrationstate import ABORTED
from virt.api.resize import is_pending
from virt.base.clock import Clock, RealClock, rfc3339
from virt.controller import writes
from virt.controller.migration import hostmodel, plan, queue, status
from virt.controller.migration.apply import Writer
from virt.controller.migration.metrics import age_at
from virt.controller.migration.plan import FAILED, FINAL, PENDING, SCHEDULED, SUCCEEDED, Plan, World
from virt.controller.migration.pod import lacks
from virt.controller.vmi import hotplug
from virt.controller.vmi.controller import Caches
from virt.controller.vmi.pod import volumes
from virt.controller.vmi.pod.template import Context
from virt.kube.client import Client
from virt.kube.controller import DONE, Result
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer
from virt.kube.objects import key_for, key_of

MIGRATIONS_BY_VMI = "vmi"         # index of migrations: namespace/name of the VMI
KEPT_PER_VMI = 5

Migration = v1.VirtualMachineInstanceMigration
PhaseEntered = Callable[[str, float], None]


def key_of_vmi(migration: Migration) -> Iterable[str]:
    return (key_for(migration.metadata.namespace, migration.spec.vmi_name),)


class MigrationReconciler:
    def __init__(
        self, client: Client, caches: Caches, migrations: Informer[Migration], recorder: EventRecorder,
        config: Callable[[], ClusterConfig], *,
        settings: Callable[[v1.VirtualMachineInstance], tuple[str, Migrations]], launcher_image: str,
        clock: Clock | None = None, phase_entered: PhaseEntered = lambda _phase, _seconds: None,
    ) -> None:
        self._client = client
        self._caches = caches
        self._migrations = migrations
        self._recorder = recorder
        self._config = config
        self._launcher_image = launcher_image
        self._clock = clock or RealClock()
        self._phase_entered = phase_entered
        self._writer = Writer(client, caches, recorder, settings)
        self._gate = asyncio.Lock()         # two that wait must not both take the last free place

    async def reconcile(self, key: str) -> Result:
        migration = self._migrations.store.get(key)
        if migration is None:
            return DONE
        if migration.status.phase in ("", PENDING):
            async with self._gate:
                return await self._pass(key)
        return await self._pass(key)

    async def _pass(self, key: str) -> Result:
        migration = self._migrations.store.get(key)
        if migration is None:
            return DONE
        world = self._world(migration)
        now = self._clock.now()
        todo = plan.plan(world, now)
        outcome = await self._writer.carry_out(todo, world, self._context, rfc3339(now))
        stored = await self._store(migration, status.updated(world, outcome, rfc3339(now)))
        self._tell(world, outcome)
        if stored is not None and outcome.phase != migration.status.phase:
            age_s = age_at(stored, outcome.phase)
            if age_s is not None:
                self._phase_entered(outcome.phase, age_s)
        if outcome.phase in FINAL and stored is not None:
            await self._finish(stored)
        return Result(outcome.again_s)

    # --- what wakes which migration ---

    def keys_of_migration(self, migration: Migration) -> Iterable[str]:
        """Its own, and those that wait: a place may be free."""
        yield key_of(migration)
        if migration.status.phase in FINAL or migration.metadata.deletion_timestamp is not None:
            yield from (key_of(other) for other in self._migrations.store if other.status.phase in ("", PENDING))

    def keys_of_vmi(self, vmi: v1.VirtualMachineInstance) -> Iterable[str]:
        return (key_of(migration) for migration in self._migrations.store.by_index(MIGRATIONS_BY_VMI, key_of(vmi)))

    def keys_of_pod(self, pod: core.Pod) -> Iterable[str]:
        name = pod.metadata.annotations.get(names.MIGRATION_JOB_NAME_ANNOTATION, "")
        return (key_for(pod.metadata.namespace, name),) if name else ()

    # --- the world ---

    def _world(self, migration: Migration) -> World:
        meta = migration.metadata
        vmi = self._caches.vmis.store.find(meta.namespace, migration.spec.vmi_name)
        pod = None if vmi is None else next(
            (pod for pod in self._caches.launchers(vmi)
             if pod.metadata.labels.get(names.MIGRATION_JOB_UID_LABEL) == meta.uid), None)
        of_vmi = self._migrations.store.by_index(
            MIGRATIONS_BY_VMI, key_for(meta.namespace, migration.spec.vmi_name))
        too_little = ""
        if vmi is not None and pod is not None and migration.status.phase == SCHEDULED and is_pending(vmi):
            too_little = lacks(pod, vmi, self._context(vmi))
        return World(
            migration=migration, vmi=vmi, pod=pod, lacks=too_little,
            source=None if vmi is None else self._caches.pod(vmi),
            attachment=None if vmi is None or pod is None else hotplug.attachment_for(
                vmi, pod, self._caches.attachments(vmi)),
            others=tuple(other for other in of_vmi if other.metadata.uid != meta.uid),
            may_start=migration.status.phase == PENDING and meta.uid in self._startable(),
            missing_claims=() if vmi is None else tuple(
                name for name in volumes.needed_claims(vmi.spec)
                if self._caches.claims.store.find(meta.namespace, name) is None),
        )

    def _startable(self) -> frozenset[str]:
        entries = [self._entry(migration) for migration in self._migrations.store
                   if migration.status.phase not in FINAL]
        return queue.startable(entries, self._config().migrations)

    def _entry(self, migration: Migration) -> queue.Entry:
        vmi = self._caches.vmis.store.find(migration.metadata.namespace, migration.spec.vmi_name)
        return queue.Entry(
            uid=migration.metadata.uid, source=vmi.status.node_name if vmi is not None else "",
            since=migration.metadata.creation_timestamp or "", priority=migration.spec.priority or "",
            is_waiting=migration.status.phase in ("", PENDING),
            is_blocked=vmi is None or vmi.status.phase != "Running"
            or conditions.is_true(migration.status.conditions, plan.REJECTED),
        )

    def _context(self, vmi: v1.VirtualMachineInstance) -> Context:
        return self._caches.context(vmi, self._config(), self._launcher_image)

    # --- the outcome ---

    async def _store(self, old: Migration, new: Migration) -> Migration | None:
        """As stored afterwards; None when it is gone."""
        patch = writes.between(old, new, "status")
        if patch is None:
            return old
        return await writes.patched(self._client, self._migrations, old, patch, subresource="status")

    def _tell(self, world: World, outcome: Plan) -> None:
        migration = world.migration
        if outcome.is_unschedulable:
            self._recorder.event(
                migration, "Warning", "migrationTargetPodUnschedulable",
                f"no node takes the target's pod {world.pod.metadata.name if world.pod is not None else ''} now")
            self._tell_of_cpus(world)
        if outcome.phase == migration.status.phase:
            return
        if outcome.phase == SUCCEEDED:
            self._recorder.event(
                migration, "Normal", "SuccessfulMigration",
                f"Source node reported migration succeeded, the guest is on {world.vmi.status.node_name}"
                if world.vmi is not None else "the guest has moved")
        if outcome.phase == FAILED:
            state = world.state
            if migration.metadata.deletion_timestamp is not None and outcome.why == ABORTED:
                self._recorder.event(migration, "Normal", "SuccessfulAbortMigration", "Migration has been aborted.")
            else:
                about = f" to node {state.target_node}" if state is not None and state.target_node else ""
                self._recorder.event(
                    migration, "Warning", "FailedMigration", f"The migration{about} failed: {outcome.why}")

    def _tell_of_cpus(self, world: World) -> None:
        """Tell of a host-model guest for whose CPU no other node is fit: more than room is missing."""
        vmi, pod = world.vmi, world.pod
        if vmi is None or pod is None or not hostmodel.has_host_model(vmi):
            return
        asked = hostmodel.nobody_fits(pod, self._caches.nodes.store, vmi.status.node_name)
        if asked:
            self._recorder.event(
                vmi, "Warning", "NoSuitableNodesForHostModelMigration",
                f"Migration cannot proceed since no node is suitable to run the required CPU model: {asked}")

    async def _finish(self, migration: Migration) -> None:
        """Clean up after one that is over: its finalizer, and the oldest of those that are over."""
        if migration.status.phase not in FINAL or not plan.is_clean(self._world(migration)):
            return                          # a later pass does it
        if names.MIGRATION_FINALIZER in migration.metadata.finalizers:
            patch = writes.between(migration, status.released(migration), "metadata")
            assert patch is not None
            await writes.patched(self._client, self._migrations, migration, patch)
        for other in self._superfluous(migration):
            await writes.delete(self._client, VMIM, other)

    def _superfluous(self, migration: Migration) -> Sequence[Migration]:
        """Migrations that nobody needs: all those of a VMI that is gone, else all but the last few."""
        namespace, vmi_name = migration.metadata.namespace, migration.spec.vmi_name
        of_vmi = self._migrations.store.by_index(MIGRATIONS_BY_VMI, key_for(namespace, vmi_name))
        over = sorted(
            (other for other in of_vmi
             if other.status.phase in FINAL and other.metadata.deletion_timestamp is None),
            key=lambda other: (other.metadata.creation_timestamp or "", other.metadata.uid))
        vmi = self._caches.vmis.store.find(namespace, vmi_name)
        is_going = vmi is None or vmi.metadata.deletion_timestamp is not None
        return over if is_going else over[:-KEPT_PER_VMI]
