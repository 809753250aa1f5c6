"""Networks of a VMI that are described by NetworkAttachmentDefinition objects."""

import json
from collections.abc import Mapping
from typing import Final

from virt.api import core, links, v1
from virt.api.kinds import NETWORK_ATTACHMENT
from virt.kube.client import Client, NotFoundError

NETWORKS_ANNOTATION: Final = "k8s.v1.cni.cncf.io/networks"
NETWORK_STATUS_ANNOTATION: Final = "k8s.v1.cni.cncf.io/network-status"


async def functions(client: Client, vmi: v1.VirtualMachineInstance) -> Mapping[str, str]:
    """Resource by name of the network, for each interface whose network's definition names one: the virtual functions
    of SR-IOV, or what marks the nodes that have the network.

    Read when a pod is made and not followed: a pod keeps what it has. Raises ApiError, NotFoundError naming the
    definition that is missing.
    """
    networks = {network.name: network for network in vmi.spec.networks}
    found = {}
    for interface in vmi.spec.domain.devices.interfaces:
        network = networks.get(interface.name)
        if network is None or network.multus is None:
            continue
        namespace, name = network.multus.located(vmi.metadata.namespace)
        try:
            definition = await client.get(NETWORK_ATTACHMENT, name, namespace)
        except NotFoundError as error:
            raise NotFoundError(
                error.code, error.reason, f"failed to locate network attachment definition {namespace}/{name} of "
                f"network {network.name}") from error
        found[network.name] = definition.resource
    return found


def annotation(vmi: v1.VirtualMachineInstance) -> Mapping[str, str]:
    """For the pod of a VMI with secondary networks: multus reads it, where there is one."""
    networks = {network.name: network.multus for network in vmi.spec.networks if network.multus is not None}
    asked = []
    for interface in vmi.spec.domain.devices.interfaces:
        multus = networks.get(interface.name)
        if multus is None:
            continue
        namespace, name = multus.located(vmi.metadata.namespace)
        entry = {"name": name, "namespace": namespace, "interface": links.secondary_link(interface.name)}
        asked.append(entry | ({"mac": interface.mac_address} if interface.mac_address else {}))
    return {NETWORKS_ANNOTATION: json.dumps(asked)} if asked else {}


def reported(pod: core.Pod) -> frozenset[str]:
    """Names of the pod's cards of which multus tells in the pod's annotation; none where multus does not run."""
    try:
        told = json.loads(pod.metadata.annotations.get(NETWORK_STATUS_ANNOTATION, "[]"))
    except (ValueError, RecursionError):
        return frozenset()
    entries = told if isinstance(told, list) else []
    return frozenset(str(entry.get("interface")) for entry in entries if isinstance(entry, dict))
