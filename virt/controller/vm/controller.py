"""The loop of VirtualMachines: gather the world, plan, act, store the outcome."""

import random
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from virt.api import core, names, v1
from virt.api.clusterconfig import LIVE_UPDATE, ClusterConfig
from virt.base.clock import Clock, RealClock, rfc3339
from virt.controller import owners, writes
from virt.controller.vm import liveupdate, plan, status
from virt.controller.vm.apply import InstanceWriter, Outcome
from virt.controller.vm.plan import World
from virt.controller.vm.revisions import Revisions
from virt.controller.vmi.controller import Caches
from virt.controller.vmi.pod import volumes
from virt.kube.client import Client
from virt.kube.controller import Result
from virt.kube.events import EventRecorder
from virt.kube.objects import key_for

VMS_BY_CLAIM = "claim"            # index of VMs: namespace/name of a PVC of the template


def claims_of(vm: v1.VirtualMachine) -> Iterable[str]:
    template = vm.spec.template
    found = volumes.claim_names(template.spec) if template is not None else ()
    return (key_for(vm.metadata.namespace, name) for name in found)


def key_of_vmi(vmi: v1.VirtualMachineInstance) -> Iterable[str]:
    """By name, not by owner: a VM also waits for a stranger of its name to go away."""
    return (key_for(vmi.metadata.namespace, vmi.metadata.name),)


class MachineReconciler:
    def __init__(
        self, client: Client, caches: Caches, recorder: EventRecorder, config: Callable[[], ClusterConfig], *,
        clock: Clock | None = None, chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._caches = caches
        self._config = config
        self._clock = clock or RealClock()
        self._chance = chance
        self._instances = InstanceWriter(client, caches.vmis, recorder)
        self._revisions = Revisions(client)

    async def reconcile(self, key: str) -> Result:
        vm = self._caches.vms.store.get(key)
        if vm is None:
            return Result()
        world = self._world(vm)
        stored = await self._keep_finalizers(world)
        if stored is None:
            return Result()
        world = replace_vm(world, stored)
        now = self._clock.now()
        chosen = plan.plan(world, now)
        outcome = await self._instances.carry_out(chosen.actions, stored)
        if plan.SetRunning() in chosen.actions:
            return _after_change(outcome)
        reason, world = await self._compare(world, is_live=self._config().rollout_strategy == LIVE_UPDATE)
        after = after_actions(world, outcome, rfc3339(now))
        changed = liveupdate.update(
            stored, after.vmi, world.claims, self._config(), restart=reason, now=rfc3339(now))
        new = status.updated(
            after, chosen, outcome.fault or changed.fault, now=now, chance=self._chance(),
            restart_required=changed.restart, moved=changed.moved)
        await self._store(stored, replace(stored, status=new))
        if changed.vmi is not None and after.vmi is not None:
            # Only now: a guest that ends on its way to other claims must not start from them by itself.
            await self._instances.change(after.vmi, changed.vmi)
        if world.vmi is not None and plan.lets_go(world.vmi):
            # Only now: how it ended counts for the back-off, and nobody can read it once the VMI is gone.
            await self._instances.release(world.vmi)
        if outcome.error is not None:
            raise outcome.error
        return Result(requeue_after_s=None if chosen.wait_s is None else chosen.wait_s + 0.1)

    def keys_of_claim(self, claim: core.PersistentVolumeClaim) -> Iterable[str]:
        meta = claim.metadata
        found = self._caches.vms.store.by_index(VMS_BY_CLAIM, key_for(meta.namespace, meta.name))
        return (key_for(vm.metadata.namespace, vm.metadata.name) for vm in found)

    def _world(self, vm: v1.VirtualMachine) -> World:
        namespace = vm.metadata.namespace
        vmi = self._caches.vmis.store.find(namespace, vm.metadata.name)
        if vmi is not None and not owners.is_controlled_by(vmi.metadata, vm.metadata.uid):
            vmi = None
        found = volumes.claim_names(vm.spec.template.spec) if vm.spec.template is not None else ()
        return World(vm, vmi, {name: self._caches.claims.store.find(namespace, name) for name in found})

    async def _keep_finalizers(self, world: World) -> v1.VirtualMachine | None:
        """The VM as stored afterwards; None when that was the last thing that kept it."""
        vm, finalizers = world.vm, plan.kept_finalizers(world)
        new = replace(vm, metadata=replace(vm.metadata, finalizers=finalizers))
        patch = writes.between(vm, new, "metadata")
        if patch is None:
            return vm
        return await writes.patched(self._client, self._caches.vms, vm, patch)

    async def _compare(self, world: World, *, is_live: bool) -> tuple[str, World]:
        """Why a restart is needed, "". Notes on the way that a changed VM leaves its running VMI as it is."""
        vm, vmi = world.vm, world.vmi
        if vmi is None or vm.metadata.deletion_timestamp is not None or plan.is_leaving(vmi) or plan.is_final(vmi):
            return "", world
        if vmi.metadata.annotations.get(names.VM_GENERATION_ANNOTATION) == str(vm.metadata.generation):
            return "", world
        then = await self._revisions.started_with(vmi)
        if liveupdate.same_template(then, vm.spec, vmi.spec):
            return "", World(vm, await self._instances.note_generation(vm, vmi), world.claims)
        return liveupdate.needs_restart(then, vm.spec, vmi.spec, is_live=is_live), world

    async def _store(self, old: v1.VirtualMachine, new: v1.VirtualMachine) -> None:
        patch = writes.between(old, new, "status")
        if patch is not None:
            await writes.patched(self._client, self._caches.vms, old, patch, subresource="status")


def _after_change(outcome: Outcome) -> Result:
    """The VM itself was changed: the next pass, with the changed one, does the rest."""
    if outcome.error is not None:
        raise outcome.error
    return Result()


def replace_vm(world: World, vm: v1.VirtualMachine) -> World:
    return World(vm, world.vmi, world.claims)


def after_actions(world: World, outcome: Outcome, now: str) -> World:
    """The world with the VMI made, or marked for deletion."""
    vmi = outcome.created or world.vmi
    if vmi is not None and outcome.deleted and vmi.metadata.deletion_timestamp is None:
        vmi = replace(vmi, metadata=replace(vmi.metadata, deletion_timestamp=now))
    return World(world.vm, vmi, world.claims)
