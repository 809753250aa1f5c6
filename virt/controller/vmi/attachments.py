"""Networks of a VMI that are described by NetworkAttachmentDefinition objects."""

import json
from collections.abc import Mapping
from typing import Final

from virt.api import links, v1
from virt.api.kinds import NETWORK_ATTACHMENT
from virt.kube.client import Client, NotFoundError

NETWORKS_ANNOTATION: Final = "k8s.v1.cni.cncf.io/networks"


async def functions(client: Client, vmi: v1.VirtualMachineInstance) -> Mapping[str, str]:
    """Resource by name of the network, for each SR-IOV interface whose network's definition names one.

    Read when a pod is made and not followed: a pod keeps what it has. Raises ApiError, NotFoundError naming the
    definition that is missing.
    """
    networks = {network.name: network for network in vmi.spec.networks}
    found = {}
    for interface in vmi.spec.domain.devices.interfaces:
        network = networks.get(interface.name)
        if interface.sriov is None or network is None or network.multus is None:
            continue
        namespace, name = located(network.multus.network_name, vmi.metadata.namespace)
        try:
            definition = await client.get(NETWORK_ATTACHMENT, name, namespace)
        except NotFoundError as error:
            raise NotFoundError(
                error.code, error.reason, f"failed to locate network attachment definition {namespace}/{name} of "
                f"network {network.name}") from error
        found[network.name] = definition.resource
    return found


def annotation(vmi: v1.VirtualMachineInstance) -> Mapping[str, str]:
    """For the pod of a VMI with SR-IOV interfaces: multus reads it, where there is one."""
    networks = {network.name: network.multus for network in vmi.spec.networks if network.multus is not None}
    asked = []
    for interface in vmi.spec.domain.devices.interfaces:
        multus = networks.get(interface.name)
        if interface.sriov is None or multus is None:
            continue
        namespace, name = located(multus.network_name, vmi.metadata.namespace)
        entry = {"name": name, "namespace": namespace, "interface": links.secondary_link(interface.name)}
        asked.append(entry | ({"mac": interface.mac_address} if interface.mac_address else {}))
    return {NETWORKS_ANNOTATION: json.dumps(asked)} if asked else {}


def located(network_name: str, namespace: str) -> tuple[str, str]:
    """Namespace and name of the definition that a VMI in ``namespace`` calls so."""
    other, slash, name = network_name.partition("/")
    return (other, name) if slash else (namespace, network_name)
