"""Puts the controllers together: which caches there are, which change wakes which key, what runs only on the leader."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from virt.api import clusterconfig, names, passthrough, v1
from virt.api.clusterconfig import ClusterConfig, Migrations
from virt.api.kinds import (
    DISRUPTION_BUDGET,
    KUBEVIRT,
    MIGRATION_POLICY,
    NAMESPACE,
    NODE,
    POD,
    PVC,
    RESOURCE_QUOTA,
    VM,
    VMI,
    VMIM,
)
from virt.api.resize import is_pending
from virt.base.clock import Clock, RealClock
from virt.controller.evacuation.budgets import BudgetReconciler
from virt.controller.evacuation.controller import EvacuationReconciler
from virt.controller.migration import controller as migration_controller
from virt.controller.migration import policy
from virt.controller.migration.controller import MigrationReconciler, PhaseEntered
from virt.controller.migration.metrics import MigrationCollector
from virt.controller.node.controller import NodeReconciler
from virt.controller.updates.controller import UpdateReconciler
from virt.controller.updates.fleet import FleetReconciler
from virt.controller.vm import controller as vm_controller
from virt.controller.vm.controller import MachineReconciler
from virt.controller.vmi import controller as vmi_controller
from virt.controller.vmi.controller import Caches, InstanceReconciler
from virt.kube.client import Client, Selector
from virt.kube.controller import Controller
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer
from virt.kube.objects import key_of

WORKERS = 8                   # keys of one kind that are worked on at a time


class Controllers:
    """``namespace``: where the KubeVirt CR and the lease are. ``phase_entered`` is told which phase a migration enters
    and how many seconds after its creation."""

    def __init__(
        self, client: Client, *, namespace: str, launcher_image: str, clock: Clock | None = None,
        chance: Callable[[], float] | None = None, phase_entered: PhaseEntered = lambda _phase, _seconds: None,
    ) -> None:
        clock = clock or RealClock()
        self._kubevirts = Informer(client, KUBEVIRT, namespace=namespace, clock=clock)
        self.caches = Caches(
            vms=Informer(client, VM, clock=clock, indexes={vm_controller.VMS_BY_CLAIM: vm_controller.claims_of}),
            vmis=Informer(client, VMI, clock=clock, indexes={
                vmi_controller.VMIS_BY_CLAIM: vmi_controller.claims_of,
                vmi_controller.VMIS_BY_NODE: vmi_controller.node_of,
            }),
            pods=Informer(client, POD, clock=clock, selector=Selector(labels=names.GUEST_PODS_SELECTOR), indexes={
                vmi_controller.PODS_BY_OWNER: vmi_controller.pod_owner,
                vmi_controller.PODS_BY_GUEST: vmi_controller.guest_of,
            }),
            claims=Informer(client, PVC, clock=clock),
            nodes=Informer(client, NODE, clock=clock),
            quotas=Informer(client, RESOURCE_QUOTA, clock=clock, indexes={
                vmi_controller.QUOTAS_BY_NAMESPACE: vmi_controller.namespace_of,
            }),
        )
        self._migrations = Informer(client, VMIM, clock=clock, indexes={
            migration_controller.MIGRATIONS_BY_VMI: migration_controller.key_of_vmi,
        })
        self._budgets = Informer(client, DISRUPTION_BUDGET, clock=clock)
        self._policies = Informer(client, MIGRATION_POLICY, clock=clock)
        self._namespaces = Informer(client, NAMESPACE, clock=clock)
        self._recorders = {
            name: EventRecorder(client, f"{name}-controller", clock=clock)
            for name in (
                "virtualmachine", "virtualmachineinstance", "migration", "evacuation", "workload-update", "node")
        }
        machines = MachineReconciler(
            client, self.caches, self._recorders["virtualmachine"], self.config, clock=clock,
            **({"chance": chance} if chance else {}),
        )
        instances = InstanceReconciler(
            client, self.caches, self._recorders["virtualmachineinstance"], self.config,
            launcher_image=launcher_image, clock=clock,
        )
        migrations = MigrationReconciler(
            client, self.caches, self._migrations, self._recorders["migration"], self.config,
            settings=self._migration_settings, launcher_image=launcher_image, clock=clock,
            phase_entered=phase_entered,
        )
        evacuations = EvacuationReconciler(
            client, self.caches, self._migrations, self._recorders["evacuation"], self.config, clock=clock)
        updates = UpdateReconciler(
            client, self.caches, self._migrations, self._recorders["workload-update"], self.config, clock=clock)
        fleet = FleetReconciler(
            client, self.caches, self._kubevirts, self._migrations, self._recorders["workload-update"], self.config,
            clock=clock)
        nodes = NodeReconciler(client, self.caches.nodes, self._recorders["node"], clock=clock)
        self._controllers = (
            self._machines(machines), self._instances(instances), self._moves(migrations),
            self._evacuations(evacuations), self._updates(updates), self._fleet(fleet), self._nodes(nodes),
            self._leftovers(BudgetReconciler(client, self._budgets)),
        )

    def config(self) -> ClusterConfig:
        """What the CR asks for; all defaults until there is one."""
        return clusterconfig.effective(next(iter(self._kubevirts.store), None))

    def _migration_settings(self, vmi: v1.VirtualMachineInstance) -> tuple[str, Migrations]:
        """Name of the policy that applies to a migration of ``vmi`` ("" for none), and the settings in force."""
        namespace = self._namespaces.store.get(vmi.metadata.namespace)
        labels = namespace.metadata.labels if namespace is not None else {}
        found = policy.chosen(self._policies.store, labels, vmi.metadata.labels)
        name = found.metadata.name if found is not None else ""
        return name, policy.applied(found, self.config().migrations)

    def migration_metrics(self, is_leading: Callable[[], bool]) -> MigrationCollector:
        return MigrationCollector(self._migrations.store, self.caches.vmis.store, is_leading)

    @property
    def is_synced(self) -> bool:
        return all(informer.synced.is_set() for informer in self._informers().values())

    def followers(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Tasks of every replica: caches are warm when the lease comes."""
        return {f"informer {name}": informer.run for name, informer in self._informers().items()} | {
            f"events {name}": recorder.run for name, recorder in self._recorders.items()
        }

    async def lead(self) -> None:
        """The work of the one replica that holds the lease."""
        await self._kubevirts.synced.wait()
        async with asyncio.TaskGroup() as group:
            for controller in self._controllers:
                group.create_task(controller.run(), name=controller.name)

    def _informers(self) -> Mapping[str, Informer[Any]]:
        caches = self.caches
        found = (
            self._kubevirts, caches.vms, caches.vmis, caches.pods, caches.claims, caches.nodes, caches.quotas,
            self._migrations, self._policies, self._namespaces, self._budgets,
        )
        return {informer.kind.plural: informer for informer in found}

    def _machines(self, reconciler: MachineReconciler) -> Controller:
        controller = Controller("vm", reconciler.reconcile, workers=WORKERS)
        controller.watches(self.caches.vms, lambda vm: (key_of(vm),))
        controller.watches(self.caches.vmis, vm_controller.key_of_vmi)
        controller.watches(self.caches.claims, reconciler.keys_of_claim)
        return controller

    def _instances(self, reconciler: InstanceReconciler) -> Controller:
        controller = Controller("vmi", reconciler.reconcile, workers=WORKERS)
        controller.watches(self.caches.vmis, lambda vmi: (key_of(vmi),))
        controller.watches(self.caches.pods, vmi_controller.key_of_owner)
        controller.watches(self.caches.claims, reconciler.keys_of_claim)
        controller.watches(self.caches.nodes, reconciler.keys_of_node)
        controller.watches(self.caches.vms, self._released)
        controller.watches(self._kubevirts, self._waiting)
        return controller

    def _moves(self, reconciler: MigrationReconciler) -> Controller:
        controller = Controller("migration", reconciler.reconcile, workers=WORKERS)
        controller.watches(self._migrations, reconciler.keys_of_migration)
        controller.watches(self.caches.vmis, reconciler.keys_of_vmi)
        controller.watches(self.caches.pods, reconciler.keys_of_pod)
        return controller

    def _evacuations(self, reconciler: EvacuationReconciler) -> Controller:
        controller = Controller("evacuation", reconciler.reconcile, workers=WORKERS)
        controller.watches(self.caches.vmis, lambda vmi: (key_of(vmi),))
        controller.watches(self._migrations, migration_controller.key_of_vmi)
        controller.watches(self.caches.nodes, reconciler.keys_of_node)
        return controller

    def _updates(self, reconciler: UpdateReconciler) -> Controller:
        controller = Controller("workload-update", reconciler.reconcile)
        controller.watches(self.caches.vmis, lambda vmi: (key_of(vmi),))
        controller.watches(self._migrations, migration_controller.key_of_vmi)
        controller.watches(self._kubevirts, lambda _: map(key_of, filter(is_pending, self.caches.vmis.store)))
        return controller

    def _fleet(self, reconciler: FleetReconciler) -> Controller:
        def kubevirts(_: object) -> Iterable[str]:
            return map(key_of, self._kubevirts.store)

        controller = Controller("workload-update-fleet", reconciler.reconcile)
        controller.watches(self._kubevirts, lambda kubevirt: (key_of(kubevirt),))
        controller.watches(self.caches.vmis, kubevirts)
        controller.watches(self._migrations, kubevirts)
        return controller

    def _leftovers(self, reconciler: BudgetReconciler) -> Controller:
        controller = Controller("budget", reconciler.reconcile)
        controller.watches(self._budgets, lambda budget: (key_of(budget),))
        return controller

    def _nodes(self, reconciler: NodeReconciler) -> Controller:
        controller = Controller("node", reconciler.reconcile)
        controller.watches(self.caches.nodes, lambda node: (key_of(node),))
        return controller

    def _waiting(self, _: v1.KubeVirt) -> tuple[str, ...]:
        """VMIs whose pod may have to wait until a device is permitted."""
        return tuple(
            key_of(vmi) for vmi in self.caches.vmis.store
            if vmi.status.phase in ("", "Pending") and passthrough.has_any(vmi.spec)
        )

    def _released(self, vm: v1.VirtualMachine) -> tuple[str, ...]:
        """A VMI whose VM has gone has to do without its help; other news of a VM are not the VMI's."""
        return () if self.caches.vms.store.get(key_of(vm)) is not None else (key_of(vm),)
