"""Carries out what a migration's plan asks for: the target's pod, and what the VMI is to tell the nodes."""

import dataclasses
import functools
from collections.abc import Callable

from virt.api import conditions, names, passthrough, v1
from virt.api.clusterconfig import Migrations
from virt.api.kinds import POD
from virt.controller import owners, writes
from virt.controller.migration import hostmodel, plan, status
from virt.controller.migration.plan import (
    CreateTarget,
    DeleteTarget,
    GiveUp,
    HandOver,
    Plan,
    Release,
    RequestAbort,
    World,
)
from virt.controller.migration.pod import target_pod
from virt.controller.vmi import attachments
from virt.controller.vmi.controller import Caches
from virt.controller.vmi.hotplug import places
from virt.controller.vmi.pod.template import Context
from virt.kube.client import ApiError, Client, ConflictError, NotFoundError
from virt.kube.events import EventRecorder

_AGAIN_S = 5.0


class Writer:
    """``settings``: for a migration of a VMI, the name of its policy and what is in force."""

    def __init__(
        self, client: Client, caches: Caches, recorder: EventRecorder,
        settings: Callable[[v1.VirtualMachineInstance], tuple[str, Migrations]],
    ) -> None:
        self._client = client
        self._caches = caches
        self._recorder = recorder
        self._settings = settings

    async def carry_out(
        self, todo: Plan, world: World, context: Callable[[v1.VirtualMachineInstance], Context], now: str
    ) -> Plan:
        """The plan as it turned out. Raises ApiError for what another try may mend."""
        for action in todo.actions:
            match action:
                case CreateTarget():
                    assert world.vmi is not None
                    todo = await self._create(todo, world, context(world.vmi))
                case DeleteTarget(why):
                    await self._delete(world, why)
                case HandOver():
                    await self._hand_over(world)
                case GiveUp(why):
                    await self._change(world, functools.partial(status.given_up, why=why, now=now))
                case RequestAbort():
                    await self._change(world, status.aborting)
                case Release():
                    await self._change(world, status.without_target)
        return todo

    async def _create(self, todo: Plan, world: World, context: Context) -> Plan:
        vmi, source = world.vmi, world.source
        assert vmi is not None
        if source is None:
            return dataclasses.replace(todo, phase=plan.PENDING, again_s=_AGAIN_S)
        _, settings = self._settings(vmi)
        post_copy = (
            settings.allow_post_copy and settings.allow_workload_disruption and not passthrough.has_any(vmi.spec)
            and self._has_userfaultfd())
        try:
            context = dataclasses.replace(context, functions=await attachments.functions(self._client, vmi))
        except NotFoundError as error:
            return Plan(plan.FAILED, why=f"no pod for the target: {error.message}")
        cpu = hostmodel.selector(vmi, source, self._caches.nodes.store.get(vmi.status.node_name))
        pod = target_pod(vmi, world.migration, source, context, post_copy=post_copy, cpu=cpu)
        pod = places.within(pod, await places.selectors(self._client, vmi, context.claims))
        meta = pod.metadata
        try:
            created = await self._client.create(POD, pod, meta.namespace)
        except ConflictError:
            created = await self._client.get(POD, meta.name, meta.namespace)    # made before the lease was lost
            if not owners.is_controlled_by(created.metadata, vmi.metadata.uid):
                raise
        except ApiError as error:
            by_quota = error.code == 403 and "exceeded quota" in error.message
            known = conditions.find(world.migration.status.conditions, plan.REJECTED)
            if not by_quota or known is None:           # not again every few seconds
                self._recorder.event(
                    world.migration, "Warning", "FailedCreate", f"Error creating pod {meta.name}: {error.message}")
            if by_quota:
                return dataclasses.replace(todo, phase=plan.PENDING, rejected=error.message, again_s=_AGAIN_S)
            if error.code in (400, 422):
                return Plan(plan.FAILED, why=f"no pod for the target: {error.message}")
            raise
        self._caches.pods.learn(created)
        self._recorder.event(
            world.migration, "Normal", "SuccessfulCreate", f"Created migration target pod {meta.name}")
        return todo

    def _has_userfaultfd(self) -> bool:
        """Whether any node offers it: else the pod would wait for ever."""
        return any(names.USERFAULTFD_RESOURCE in node.status.allocatable for node in self._caches.nodes.store)

    async def _delete(self, world: World, why: str) -> None:
        pod = world.pod
        if pod is not None and await writes.delete(self._client, POD, pod):
            self._recorder.event(
                world.migration, "Normal" if not why else "Warning", "SuccessfulDelete",
                f"Deleted migration target pod {pod.metadata.name}" + (f": {why}" if why else ""))

    async def _hand_over(self, world: World) -> None:
        vmi, pod = world.vmi, world.pod
        assert vmi is not None
        assert pod is not None
        policy, settings = self._settings(vmi)
        try:
            await self._change(world, lambda vmi: status.handed_over(vmi, world, pod, settings, policy))
        except ConflictError:
            raise
        except ApiError as error:
            self._recorder.event(
                world.migration, "Warning", "FailedHandOver", f"Failed to set migration state on VMI: {error.message}")
            raise
        self._recorder.event(
            world.migration, "Normal", "SuccessfulHandOver",
            f"Migration target pod {pod.metadata.name} is ready for preparation by node {pod.spec.node_name}")

    async def _change(
        self, world: World, change: Callable[[v1.VirtualMachineInstance], v1.VirtualMachineInstance]
    ) -> None:
        """Guarded: raises ConflictError when somebody else wrote in between."""
        assert world.vmi is not None
        patch = writes.between(world.vmi, change(world.vmi), "metadata", "status")
        if patch is not None:
            await writes.patched(self._client, self._caches.vmis, world.vmi, patch)
