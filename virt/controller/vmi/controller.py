"""The loop of VirtualMachineInstances: gather the world, plan, act, store the outcome in one patch."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from msgspec.structs import replace

from virt.api import core, names, quantity, v1
from virt.api.clusterconfig import ClusterConfig
from virt.api.kinds import VMI
from virt.api.wire import Quantity
from virt.base.clock import Clock, RealClock, rfc3339
from virt.controller import owners, writes
from virt.controller.node.health import is_lost
from virt.controller.vmi import hotplug, plan, status
from virt.controller.vmi.apply import Outcome, PodWriter
from virt.controller.vmi.conditions import Fault
from virt.controller.vmi.plan import World
from virt.controller.vmi.pod import resources, volumes
from virt.controller.vmi.pod.naming import is_pod_of
from virt.controller.vmi.pod.template import Context
from virt.kube.client import Client
from virt.kube.controller import Result
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer
from virt.kube.objects import key_for

PODS_BY_OWNER = "owner"           # index of pods: uid of the VMI that they say controls them
PODS_BY_GUEST = "guest"           # index of attachment pods: namespace/name of the VMI
VMIS_BY_NODE = "node"             # index of VMIs: the node they run on
QUOTAS_BY_NAMESPACE = "namespace"
VMIS_BY_CLAIM = "claim"           # index of VMIs: namespace/name of a PVC


@dataclass(frozen=True)
class Caches:
    """What the controllers read. Declare the indexes with the functions below."""

    vms: Informer[v1.VirtualMachine]
    vmis: Informer[v1.VirtualMachineInstance]
    pods: Informer[core.Pod]
    claims: Informer[core.PersistentVolumeClaim]
    nodes: Informer[core.Node]
    quotas: Informer[core.ResourceQuota]

    def launchers(self, vmi: v1.VirtualMachineInstance) -> tuple[core.Pod, ...]:
        """Oldest first."""
        found = self.pods.store.by_index(PODS_BY_OWNER, vmi.metadata.uid)
        return tuple(sorted((pod for pod in found
                             if pod.metadata.namespace == vmi.metadata.namespace and is_pod_of(pod, vmi)),
                            key=lambda pod: (pod.metadata.creation_timestamp or "", pod.metadata.name)))

    def pod(self, vmi: v1.VirtualMachineInstance) -> core.Pod | None:
        """Of its launchers the one that :attr:`virt.controller.vmi.plan.World.pod` names."""
        return World(vmi=vmi, pods=self.launchers(vmi)).pod

    def attachments(self, vmi: v1.VirtualMachineInstance) -> tuple[core.Pod, ...]:
        """Of whichever of its launchers, in the order of their names."""
        found = self.pods.store.by_index(PODS_BY_GUEST, key_for(vmi.metadata.namespace, vmi.metadata.name))
        return tuple(sorted(found, key=lambda pod: pod.metadata.name))

    def limited(self, namespace: str) -> frozenset[str]:
        """Of "cpu" and "memory" those of which a quota of the namespace counts limits: no pod may be without one."""
        counted = {name for quota in self.quotas.store.by_index(QUOTAS_BY_NAMESPACE, namespace)
                   for name in quota.spec.hard}
        return frozenset(name for name in ("cpu", "memory") if f"limits.{name}" in counted)

    def context(self, vmi: v1.VirtualMachineInstance, config: ClusterConfig, launcher_image: str) -> Context:
        namespace = vmi.metadata.namespace
        claims = {name: self.claims.store.find(namespace, name) for name in volumes.claim_names(vmi.spec)}
        return Context(
            config=config,
            launcher_image=launcher_image,
            claims={name: claim for name, claim in claims.items() if claim is not None},
            node_labels=frozenset(label for node in self.nodes.store for label in node.metadata.labels),
            limited=self.limited(namespace or ""),
        )


def pod_owner(pod: core.Pod) -> Iterable[str]:
    owner = owners.controller_of(pod.metadata)
    return (owner.uid,) if owner is not None and owner.kind == VMI.name else ()


def guest_of(pod: core.Pod) -> Iterable[str]:
    """What an attachment pod says of itself, which anybody may write; its owner is what counts."""
    name = pod.metadata.annotations.get(names.DOMAIN_ANNOTATION, "")
    return (key_for(pod.metadata.namespace, name),) if hotplug.is_attachment(pod) and name else ()


def claims_of(vmi: v1.VirtualMachineInstance) -> Iterable[str]:
    return (key_for(vmi.metadata.namespace, name) for name in volumes.claim_names(vmi.spec))


def node_of(vmi: v1.VirtualMachineInstance) -> Iterable[str]:
    return (vmi.status.node_name,) if vmi.status.node_name else ()


def namespace_of(quota: core.ResourceQuota) -> Iterable[str]:
    return (quota.metadata.namespace or "",)


def key_of_owner(pod: core.Pod) -> Iterable[str]:
    if hotplug.is_attachment(pod):
        return guest_of(pod)
    name = owners.owner_name(pod.metadata, VMI.name)
    return (key_for(pod.metadata.namespace, name),) if name else ()


class InstanceReconciler:
    def __init__(
        self, client: Client, caches: Caches, recorder: EventRecorder, config: Callable[[], ClusterConfig],
        *, launcher_image: str, clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._caches = caches
        self._config = config
        self._launcher_image = launcher_image
        self._clock = clock or RealClock()
        self._pods = PodWriter(client, caches.pods, recorder)
        self._attachments = hotplug.AttachmentWriter(client, caches.pods, recorder)
        self._podless: dict[str, tuple[str, datetime]] = {}       # key -> uid, and since when it lacks a pod

    async def reconcile(self, key: str) -> Result:
        vmi = self._caches.vmis.store.get(key)
        if vmi is None:
            self._podless.pop(key, None)
            return Result()             # its pods go by their owner reference
        now = self._clock.now()
        world = self._world(vmi)
        world = dataclasses.replace(world, unheard=self._is_unheard(key, world, now))
        outcome = await self._pods.carry_out(plan.plan(world, now), world, lambda: self._context(vmi))
        after = replace_pods(world, outcome)
        trouble = None
        if actions := hotplug.plan(after):
            trouble = await self._attachments.carry_out(actions, vmi, self._context(vmi))
        of_disks = None if trouble is None else Fault(hotplug.FAILED_SYNC, trouble.message)
        updated = status.updated(
            after, outcome.fault or of_disks, rfc3339(now), memory_overhead=self._overhead(outcome, vmi),
            launcher_image=self._launcher_image)
        volumes_now = hotplug.volume_status(dataclasses.replace(after, vmi=updated))
        await self._store(vmi, replace(updated, status=replace(updated.status, volume_status=volumes_now)))
        if (error := outcome.error or (None if trouble is None else trouble.error)) is not None:
            raise error                 # the loop tries again, later each time
        await self._pods.tell_paused(after)
        return Result(requeue_after_s=plan.look_again_s(after, now))

    def keys_of_claim(self, claim: core.PersistentVolumeClaim) -> Iterable[str]:
        meta = claim.metadata
        found = self._caches.vmis.store.by_index(VMIS_BY_CLAIM, key_for(meta.namespace, meta.name))
        return (key_for(vmi.metadata.namespace, vmi.metadata.name) for vmi in found)

    def keys_of_node(self, node: core.Node) -> Iterable[str]:
        """Its VMIs when it is not fit for new ones; a heartbeat of a healthy node is no news."""
        if node.metadata.labels.get(names.SCHEDULABLE_LABEL) != "false":
            return ()
        found = self._caches.vmis.store.by_index(VMIS_BY_NODE, node.metadata.name)
        return (key_for(vmi.metadata.namespace, vmi.metadata.name) for vmi in found)

    def _world(self, vmi: v1.VirtualMachineInstance) -> World:
        namespace = vmi.metadata.namespace
        owner = owners.controller_of(vmi.metadata)
        vm = self._caches.vms.store.find(namespace, owner.name) if owner and owner.kind == "VirtualMachine" else None
        return World(
            vmi=vmi,
            pods=self._caches.launchers(vmi),
            claims={name: self._caches.claims.store.find(namespace, name)
                    for name in volumes.claim_names(vmi.spec)},
            attachments=self._caches.attachments(vmi),
            owned=vm is not None and owner is not None and vm.metadata.uid == owner.uid,
            node_lost=self._is_lost(vmi.status.node_name),
        )

    def _is_unheard(self, key: str, world: World, now: datetime) -> bool:
        uid = world.vmi.metadata.uid
        if not plan.is_podless(world.vmi, world.pods):
            self._podless.pop(key, None)
            return False
        known = self._podless.get(key)
        if known is None or known[0] != uid:
            known = self._podless[key] = (uid, now)
        return now - known[1] >= plan.LAST_WORDS

    def _is_lost(self, node_name: str) -> bool:
        node = self._caches.nodes.store.get(node_name) if node_name else None
        return node is not None and is_lost(node, self._clock.now(), self._caches.nodes.heard_s())

    def _overhead(self, outcome: Outcome, vmi: v1.VirtualMachineInstance) -> Quantity | None:
        """Of the pod that was made in this pass."""
        if outcome.created is None:
            return None
        return quantity.of_bytes(resources.overhead_bytes(vmi.spec, self._config()))

    def _context(self, vmi: v1.VirtualMachineInstance) -> Context:
        return self._caches.context(vmi, self._config(), self._launcher_image)

    async def _store(self, old: v1.VirtualMachineInstance, new: v1.VirtualMachineInstance) -> None:
        patch = writes.between(old, new, "metadata", "status")
        if patch is not None:
            await writes.patched(self._client, self._caches.vmis, old, patch)


def replace_pods(world: World, outcome: Outcome) -> World:
    """The world with what the actions made and marked for deletion."""
    pods = tuple(
        replace(pod, metadata=replace(pod.metadata, deletion_timestamp=pod.metadata.deletion_timestamp or "now"))
        if pod.metadata.uid in outcome.deleted else pod
        for pod in world.pods
    )
    created = () if outcome.created is None else (outcome.created,)
    return dataclasses.replace(world, pods=(*pods, *created))
