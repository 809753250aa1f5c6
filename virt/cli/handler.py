"""virt-handler: what a node does for its virtual machines. ``python3 -m virt.cli.handler``, one per node.

Environment: NODE_NAME, POD_NAMESPACE, POD_IP. Flags are for people who run it by hand.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY

from virt.api import core, names, v1
from virt.api.kinds import CONFIG_MAP, KUBEVIRT, VMI
from virt.base import log, service
from virt.base.clock import RealClock
from virt.base.errors import SettingMissingError
from virt.handler.devices import files, resources
from virt.handler.devices.permitted import PermittedDevices
from virt.handler.devices.resources import Offer
from virt.handler.launchers.bootfiles import BootFiles
from virt.handler.launchers.server import POD_INDEX, Launchers, active_pods
from virt.handler.mdev.offers import MediatedDevices
from virt.handler.mdev.service import MediatedMaker
from virt.handler.migration.metrics import ProgressCollector
from virt.handler.migration.ports import SourcePorts, TargetPorts
from virt.handler.migration.source import Source
from virt.handler.migration.target import Target
from virt.handler.net.network import PodNetworks
from virt.handler.net.secondary import NodeBridges, SecondaryNetworks
from virt.handler.node.configuration import Configuration
from virt.handler.node.heartbeat import Heartbeat
from virt.handler.node.plugins import DevicePlugins
from virt.handler.pci import pools
from virt.handler.pci import service as pci
from virt.handler.pci.sysfs import Sysfs
from virt.handler.tunnel.server import Tunnel
from virt.handler.usb.offers import UsbDevices
from virt.handler.vmi.controller import Moves, Node, VmiReconciler
from virt.kube import http, lightkube_client
from virt.kube.client import Client, Selector
from virt.kube.controller import Controller
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer
from virt.kube.objects import key_of
from virt.kube.workqueue import WorkQueue

WORKERS = 16                  # a pass may wait for a launcher; waiting costs nothing
MAX_PAUSE_S = 15.0            # after failures: a node that takes a guest over has to say so within vmi.plan.LEFT_S


@dataclass(frozen=True)
class Settings:
    node: str
    namespace: str
    node_dir: Path
    kubelet_dir: Path
    certs: Path
    migration_certs: Path
    ca: Path
    address: str = ""


def settings(argv: list[str], env: Mapping[str, str]) -> Settings:
    """Raises SettingMissingError."""
    parser = argparse.ArgumentParser(prog="virt-handler", description=__doc__)
    parser.add_argument("--node", default=env.get("NODE_NAME", ""), help="name of this node ($NODE_NAME)")
    parser.add_argument(
        "--namespace", default=env.get("POD_NAMESPACE", names.INSTALL_NAMESPACE), help="where the KubeVirt CR is")
    parser.add_argument("--node-dir", type=Path, default=Path(names.NODE_DIR))
    parser.add_argument("--kubelet-dir", type=Path, default=Path("/var/lib/kubelet/device-plugins"))
    parser.add_argument("--certs", type=Path, default=Path(names.CERTS_DIR) / names.HANDLER_CERTS)
    parser.add_argument("--migration-certs", type=Path, default=Path(names.CERTS_DIR) / names.MIGRATION_CERTS)
    parser.add_argument(
        "--address", default=env.get("POD_IP", ""), help="where other nodes' handlers reach this one ($POD_IP)")
    parser.add_argument("--ca", type=Path, default=Path(names.CA_FILE))
    given = parser.parse_args(argv)
    if not given.node:
        raise SettingMissingError("no node name: NODE_NAME is not set")
    return Settings(**vars(given))


def told_about(recorder: EventRecorder, node: str) -> Callable[[str], None]:
    """People read of a node in its events, which the kubelet writes about an object with the node's name as uid."""
    about = core.Node(metadata=core.ObjectMeta(name=node, uid=node))

    def tell(message: str) -> None:
        log.get("virt.handler.pci").warning("node devices", trouble=message)
        recorder.event(about, "Warning", "NodeDevices", message)

    return tell


def labelled(client: Client, label: str, node: str) -> Informer[v1.VirtualMachineInstance]:
    """The VMIs that name this node in ``label``."""
    return Informer(client, VMI, selector=Selector(labels=f"{label}={node}"), indexes={POD_INDEX: active_pods})


def sriov_pools(
    client: Client, namespace: str, configure: Callable[[str], None]
) -> Informer[core.ConfigMap]:
    """Tells ``configure`` the text of the pools of virtual functions, "" where there is none."""
    found = Informer(
        client, CONFIG_MAP, namespace=namespace, selector=Selector(fields=f"metadata.name={pools.CONFIG_MAP}"))
    found.on_change(lambda _, after: configure(after.data.get(pools.CONFIG_KEY, "") if after else ""))
    return found


@dataclass(frozen=True)
class HostDevices:
    """What guests may be given of the node itself, by who looks after it."""

    pci: pci.PciDevices
    others: PermittedDevices
    maker: MediatedMaker

    @property
    def offered(self) -> tuple[Offer, ...]:
        return (*self.pci.offered, *self.others.offered)

    def look_again(self) -> None:
        for each in (self.pci, self.others, self.maker):
            each.poller.poll_now()


def host_devices(
    client: Client, chosen: Settings, configuration: Configuration, changed: Callable[[], None],
    tell: Callable[[str], None],
) -> HostDevices:
    """``changed``: what is offered is another thing now."""
    def permitted() -> v1.PermittedHostDevices:
        return configuration.current.permitted_host_devices

    return HostDevices(
        pci.PciDevices(
            client, pci.Node(chosen.node_dir, chosen.kubelet_dir, Sysfs(), pci.NodeCards()),
            permitted=permitted, changed=changed, tell=tell),
        PermittedDevices(
            (UsbDevices(chosen.node_dir), MediatedDevices(chosen.node_dir)), chosen.kubelet_dir,
            permitted=permitted, changed=changed, tell=tell),
        MediatedMaker(
            client, chosen.node, chosen.kubelet_dir, asked=lambda: configuration.current.mediated_devices, tell=tell),
    )


def once_known(task: service.Task, *informers: Informer[Any]) -> service.Task:
    """``task``, begun when all that is in the cluster is known."""

    async def waiting() -> None:
        for informer in informers:
            await informer.synced.wait()
        await task()

    return waiting


async def tasks(chosen: Settings) -> dict[str, service.Task]:
    """Everything that the handler does at the same time."""
    client = lightkube_client.connect(names.HANDLER)
    clock = RealClock()
    recorder = EventRecorder(client, "virt-handler", host=chosen.node)
    configuration = Configuration()
    crs = Informer(client, KUBEVIRT, namespace=chosen.namespace)
    crs.on_change(configuration.changed)
    vmis = labelled(client, names.NODE_NAME_LABEL, chosen.node)
    incoming = labelled(client, names.MIGRATION_TARGET_NODE_LABEL, chosen.node)
    queue = WorkQueue(max_s=MAX_PAUSE_S)
    launchers = Launchers(
        vmis.store, queue.add, node=chosen.node, path=chosen.node_dir / "launcher" / "handler.sock",
        incoming=incoming.store)
    devices = host_devices(
        client, chosen, configuration, lambda: plugins.reconsider(), told_about(recorder, chosen.node))
    sriov = sriov_pools(client, chosen.namespace, devices.pci.configure)
    secondary = SecondaryNetworks(client, NodeBridges())
    networks = PodNetworks(chosen.node_dir / "networks", secondary)
    certs = http.Certificates(chosen.certs)
    peer_certs = http.Certificates(chosen.certs, client_ca=chosen.ca)
    migration_certs = http.Certificates(chosen.migration_certs, client_ca=chosen.ca)
    moves = Moves(
        Source(SourcePorts(migration_certs.client), recorder, clock),
        Target(
            client, incoming, networks, TargetPorts(peer_certs.server), recorder, address=chosen.address,
            facts=configuration.facts, clock=clock, devices=devices.pci),
        incoming,
    )
    reconciler = VmiReconciler(
        client, vmis, launchers, networks, recorder, moves=moves,
        node=Node(chosen.node, configuration.facts, devices=devices.pci), clock=clock)
    controller = Controller("vmi", reconciler.reconcile, workers=WORKERS, queue=queue)
    for informer in (vmis, incoming):
        informer.on_change(launchers.vmi_changed)
        controller.watches(informer, lambda vmi: [key_of(vmi)])

    files.copy_capabilities(Path(names.HANDLER_CAPABILITIES_DIR), chosen.node_dir / "launcher" / "capabilities")
    plugins = DevicePlugins(
        chosen.node_dir, chosen.kubelet_dir, Path(names.IMAGE_BIN_DIR), configuration.kvm, lambda: devices.offered,
        userfaultfd=resources.misc_minor(Path("/proc/misc").read_text(encoding="ascii"), "userfaultfd"))

    def reconfigured() -> None:
        plugins.reconsider()
        devices.look_again()

    configuration.on_change = reconfigured
    heartbeat = Heartbeat(
        client, chosen.node, is_ready=lambda: plugins.is_ready and vmis.synced.is_set(), kvm=configuration.kvm,
        clock=clock, cluster_model=lambda: configuration.current.cpu_model)

    async def work() -> None:
        known = (*vmis.store, *incoming.store)
        networks.forget_all_but(frozenset(uid for vmi in known for uid in vmi.status.active_pods))
        await controller.run()

    tunnel = Tunnel(vmis.store, launchers, recorder)

    REGISTRY.register(ProgressCollector(chosen.node, launchers))
    health = http.health_app(lambda: vmis.synced.is_set() and crs.synced.is_set())
    return {
        "kubevirts": crs.run,
        "vmis": vmis.run,
        "incoming vmis": incoming.run,
        "migration certificates": migration_certs.follow,
        "events": recorder.run,
        "launchers": launchers.run,
        "boot files": BootFiles(launchers, clock=clock).run,
        "vmi": once_known(work, vmis, incoming),
        "devices": once_known(plugins.run, crs),                # which say whether KVM is to be offered
        "pci devices": once_known(devices.pci.poller.run, crs, sriov),
        "permitted devices": once_known(devices.others.poller.run, crs),
        "mediated devices": once_known(devices.maker.poller.run, crs),
        "sriov configuration": sriov.run,
        "bridges": secondary.run,
        "heartbeat": heartbeat.run,
        "health": lambda: http.serve(health, port=names.API_PORT, certs=certs),
        # Until then every VMI would be an unknown one.
        "tunnel": once_known(lambda: http.serve(tunnel.app(), port=names.HANDLER_PORT, certs=peer_certs), vmis),
    }


def main(argv: list[str] | None = None) -> int:
    async def chosen_tasks(_: asyncio.Event) -> Mapping[str, service.Task]:
        return await tasks(settings(sys.argv[1:] if argv is None else argv, os.environ))

    return service.run("virt-handler", chosen_tasks)


if __name__ == "__main__":
    sys.exit(main())
