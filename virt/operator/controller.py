"""The reconcile loop of the KubeVirt object: install, update, repair, renew certificates, remove.

Level-triggered: each pass looks at what exists and goes as far as it can; any change of anything owned starts the next.
So it may be killed at any moment.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from virt.api import clusterconfig, codec, v1
from virt.api.kinds import KUBEVIRT, LEASE, NODE
from virt.api.names import OPERATOR_FINALIZER
from virt.base import log
from virt.base.clock import Clock, RealClock, rfc3339
from virt.base.errors import VirtError
from virt.kube.client import ApiError, ConflictError, MergePatch, NotFoundError
from virt.kube.controller import DONE, Controller, Result
from virt.kube.events import EventRecorder
from virt.kube.objects import key_of
from virt.operator import rollout, status, uninstall
from virt.operator.certificates import plan as certificates
from virt.operator.certificates.renewal import Renewal, renewal
from virt.operator.readiness import FailedUpdateError
from virt.operator.resources import CONFIG_MAP, SECRET, Wanted
from virt.operator.strategy import Strategy, strategy
from virt.operator.strategy.certificates import Material
from virt.operator.strategy.workloads import CONTROLLER
from virt.operator.target import Environment, Target, target
from virt.operator.world import World

_SHORTEST_WAIT_S = 1.0
_LONGEST_WAIT_S = 600.0         # timers stand still with a machine that sleeps; certificates grow old meanwhile

_logger = log.get("virt.operator")

GenerationKey = tuple[str, str, str, str]


class _GoneError(Exception):
    """The KubeVirt object is gone."""


class Installer:
    """``reconcile(key)`` for the KubeVirt object of ``world.namespace``.

    ``environment`` says what to install, None while that is another operator's work.
    """

    def __init__(
        self, world: World, environment: Callable[[], Environment | None], events: EventRecorder, *,
        clock: Clock | None = None,
    ) -> None:
        self._world = world
        self._environment = environment
        self._events = events
        self._clock = clock or RealClock()
        self._lacked = ""                   # what the log said last
        self._made: tuple[Target, Material, Strategy] | None = None

    def controller(self) -> Controller:
        """The loop; every change of anything owned starts a pass."""
        loop = Controller("kubevirt", self.reconcile)
        loop.watches(self._world.kubevirts, lambda cr: [key_of(cr)])
        for name, informer in self._world.informers.items():
            if name not in (KUBEVIRT.plural, NODE.plural):
                loop.watches(informer, lambda _: [key_of(cr) for cr in self._world.kubevirts.store])
        loop.watches(self._world.nodes, lambda _: ())
        self._world.nodes.on_change(lambda before, after: self._node_changed(loop, before, after))
        return loop

    def _node_changed(self, loop: Controller, before: object, after: object) -> None:
        """Only the number of nodes matters; their heartbeats do not."""
        if before is None or after is None:
            for cr in self._world.kubevirts.store:
                loop.queue.add(key_of(cr))

    async def reconcile(self, key: str) -> Result:
        try:
            return await self._reconcile(key)
        except _GoneError:
            return DONE                 # removed already, and the cache does not know yet

    async def _reconcile(self, key: str) -> Result:
        cr = self._world.kubevirts.store.get(key)
        if cr is None:
            return DONE
        if OPERATOR_FINALIZER not in cr.metadata.finalizers:
            if cr.metadata.deletion_timestamp:
                return DONE
            other = self._installed_other_than(cr)
            if other or cr.metadata.namespace != self._world.namespace:
                error = other or f"this operator installs into namespace {self._world.namespace}"
                await self._write(cr, status.apply(cr.status, status.EXISTS_ALREADY, self._now(), error=error))
                return DONE
            cr = await self._hold(cr)
        if cr.metadata.deletion_timestamp:
            return await self._remove(cr)
        return await self._install(cr)

    # --- install, update, repair ---

    async def _install(self, cr: v1.KubeVirt) -> Result:
        environment = self._environment()
        if environment is None:
            _logger.info("nothing to install: the settings are missing, or another operator's")
            return DONE
        aim = target(environment, cr, len(self._world.nodes.store))
        cr = await self._write(cr, status.begun(cr.status, aim, clusterconfig.own_architecture(), self._now()))
        generations = {_generation_key(entry): entry.last_generation for entry in cr.status.generations}
        after = cr.status
        try:
            renewed = self._renewal(cr)
            made = self._strategy(aim, renewed.material)
            lacks = await self._roll_out(cr, aim, made, generations)
        except ConflictError:
            raise                       # a lost race is no failure of the deployment
        except (VirtError, ValueError) as error:
            if isinstance(error, FailedUpdateError):
                self._events.event(cr, "Warning", "FailedUpdate", str(error))
            await self._write(cr, _recorded(status.failed(after, str(error), self._now()), generations))
            raise
        if all(self._world.find(wanted.kind, wanted.key) for wanted in made.objects):
            after = status.created(after, self._now())
        if lacks:
            after = status.in_progress(after, aim, self._now())
        else:
            after = status.ready(after, aim, self._now())
        if lacks != self._lacked:
            _logger.info("waiting" if lacks else "all ready", lacks=lacks)
            self._lacked = lacks
        await self._write(cr, _recorded(after, generations))
        due_s = (renewed.wake_at - self._clock.now()).total_seconds()
        return Result(requeue_after_s=min(max(_SHORTEST_WAIT_S, due_s), _LONGEST_WAIT_S))

    async def _roll_out(
        self, cr: v1.KubeVirt, aim: Target, made: Strategy, generations: dict[GenerationKey, int]
    ) -> str:
        """One pass over the steps; returns what still has to become ready."""
        in_order = cr.status.observed_deployment_id != aim.id
        for step in rollout.steps(made, cr.status.observed_kube_virt_version, aim.version):
            wanted = [rollout.adjusted(wanted, self._world, made) for wanted in step.objects]
            outcomes = await asyncio.gather(
                *(self._put(one, generations) for one in wanted), return_exceptions=True
            )
            for error in outcomes:
                if error is not None:
                    raise error
            lacks = step.gate(self._world) if in_order else ""
            if lacks:
                return lacks
        lacks = rollout.lacking(made, self._world)
        if not lacks:
            for removal in uninstall.left_over(self._world.existing, made.objects):
                await self._world.remove(removal)
        return lacks

    async def _put(self, wanted: Wanted, generations: dict[GenerationKey, int]) -> None:
        key = (wanted.kind.group, wanted.kind.plural, wanted.namespace or "", wanted.name)
        if self._world.is_current(wanted, generations.get(key, 0)):
            return
        try:
            made = await self._world.put(wanted)
        except ConflictError:
            raise
        except ApiError as error:
            raise ApiError(error.code, error.reason, f"{wanted}: {error.message}") from error
        generation = made["metadata"].get("generation", 0)
        if generation:
            generations[key] = generation

    def _renewal(self, cr: v1.KubeVirt) -> Renewal:
        namespace = cr.metadata.namespace
        secrets = {
            name: self._world.find(SECRET, f"{namespace}/{name}") for name in (certificates.CA, *certificates.LEAVES)
        }
        settings = certificates.settings(cr.spec.certificate_rotate_strategy)
        published = self._world.find(CONFIG_MAP, f"{namespace}/{certificates.CA}")
        found = renewal(secrets, published, namespace, settings, self._clock.now())
        if found.issued:
            _logger.info("certificates issued", secrets=found.issued)
        return found

    def _strategy(self, aim: Target, material: Material) -> Strategy:
        if self._made is None or self._made[:2] != (aim, material):
            self._made = (aim, material, strategy(aim, material))
        return self._made[2]

    # --- removal ---

    async def _remove(self, cr: v1.KubeVirt) -> Result:
        cr = await self._write(cr, status.removing(cr.status, self._now()))
        try:
            plan = uninstall.plan(self._world.existing)
            for removal in plan.removals:
                await self._world.remove(removal)
            if plan.kind is not None:
                return DONE             # the deletions are events
            await self._clean_nodes()
            await self._world.client.delete(LEASE, CONTROLLER, cr.metadata.namespace)
        except ConflictError:
            raise
        except ApiError as error:
            await self._write(cr, status.apply(cr.status, status.REMOVAL_FAILED, self._now(), error=str(error)))
            raise
        cr = await self._write(cr, status.removed(cr.status))
        await self._patch_finalizers(cr, tuple(name for name in cr.metadata.finalizers if name != OPERATOR_FINALIZER))
        _logger.info("removed")
        return DONE

    async def _clean_nodes(self) -> None:
        for node in self._world.nodes.store:
            patch = uninstall.node_cleaning(node)
            if patch is not None:
                await self._world.client.patch(NODE, node.metadata.name, patch)

    # --- the KubeVirt object itself ---

    def _installed_other_than(self, cr: v1.KubeVirt) -> str:
        for other in self._world.kubevirts.store:
            if other.metadata.uid != cr.metadata.uid and OPERATOR_FINALIZER in other.metadata.finalizers:
                return key_of(other)
        return ""

    async def _hold(self, cr: v1.KubeVirt) -> v1.KubeVirt:
        return await self._patch_finalizers(cr, (*cr.metadata.finalizers, OPERATOR_FINALIZER))

    async def _patch_finalizers(self, cr: v1.KubeVirt, finalizers: tuple[str, ...]) -> v1.KubeVirt:
        meta = cr.metadata
        patch = MergePatch({
            "metadata": {"finalizers": list(finalizers), "resourceVersion": meta.resource_version}
        })
        return await self._patch(cr, patch)

    async def _write(self, cr: v1.KubeVirt, wanted: v1.KubeVirtStatus) -> v1.KubeVirt:
        """Write the status if it differs. Nobody else writes it but for one field, so there is no race to lose."""
        if wanted == cr.status:
            return cr
        document = codec.to_json(wanted)
        document.pop("outdatedVirtualMachineInstanceWorkloads", None)       # the controller's: it may know a newer one
        return await self._patch(cr, MergePatch({"status": document}), "status")

    async def _patch(self, cr: v1.KubeVirt, patch: MergePatch, subresource: str = "") -> v1.KubeVirt:
        meta = cr.metadata
        try:
            after = await self._world.client.patch(
                KUBEVIRT, meta.name, patch, namespace=meta.namespace, subresource=subresource
            )
        except NotFoundError as error:
            raise _GoneError from error
        self._world.kubevirts.learn(after)
        return after

    def _now(self) -> str:
        return rfc3339(self._clock.now())


def _generation_key(entry: v1.GenerationStatus) -> GenerationKey:
    return entry.group, entry.resource, entry.namespace, entry.name


def _recorded(status: v1.KubeVirtStatus, generations: Mapping[GenerationKey, int]) -> v1.KubeVirtStatus:
    entries = tuple(
        v1.GenerationStatus(group=group, resource=resource, namespace=namespace, name=name, last_generation=number)
        for (group, resource, namespace, name), number in sorted(generations.items())
    )
    return msgspec.structs.replace(status, generations=entries)
