"""What all API types share: frozen, and camelCase on the wire with absent fields for default values.

Three things a field can say beyond its type:

- :data:`Quantity`, :data:`IntOrString`: a JSON number or a string (``virt.api.quantity`` reads quantities);
- :func:`always`: written even when it has its default value (``apiVersion``, ``kind``, times clients want as null);
- :data:`JsonObject`: any object, kept as it is.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, dataclass_transform

import msgspec

T = TypeVar("T")

# Names that the general rule (first letter of every further word in upper case) would get wrong.
ODD_NAMES: Mapping[str, str] = {
    "attach_pod_uid": "attachPodUID",
    "auto_cpu_limit_namespace_label_selector": "autoCPULimitNamespaceLabelSelector",
    "autoattach_vsock": "autoattachVSOCK",
    "cluster_ip": "clusterIP",
    "cluster_ips": "clusterIPs",
    "completion_timeout_per_gib": "completionTimeoutPerGiB",
    "container_id": "containerID",
    "current_cpu_topology": "currentCPUTopology",
    "dedicated_io_thread": "dedicatedIOThread",
    "destination_pvc_info": "destinationPVCInfo",
    "disable_tls": "disableTLS",
    "downward_api": "downwardAPI",
    "guest_os_info": "guestOSInfo",
    "host_id": "hostID",
    "host_ip": "hostIP",
    "host_ips": "hostIPs",
    "host_ipc": "hostIPC",
    "host_pid": "hostPID",
    "image_id": "imageID",
    "last_failed_vmi_uid": "lastFailedVMIUID",
    "load_balancer_ip": "loadBalancerIP",
    "match_se_linux_level_on_migration": "matchSELinuxLevelOnMigration",
    "min_tls_version": "minTLSVersion",
    "minimum_cluster_tsc_frequency": "minimumClusterTSCFrequency",
    "minimum_reserve_pvc_bytes": "minimumReservePVCBytes",
    "observed_deployment_id": "observedDeploymentID",
    "obsolete_cpu_models": "obsoleteCPUModels",
    "pod_cidr": "podCIDR",
    "pod_ip": "podIP",
    "pod_ips": "podIPs",
    "pod_uid": "podUID",
    "provider_id": "providerID",
    "source_persistent_state_pvc_name": "sourcePersistentStatePVCName",
    "source_pvc_info": "sourcePVCInfo",
    "target_attachment_pod_uid": "targetAttachmentPodUID",
    "target_cpu_set": "targetCPUSet",
    "target_deployment_id": "targetDeploymentID",
    "target_persistent_state_pvc_name": "targetPersistentStatePVCName",
    "virt_api": "virtAPI",
    "virtual_gpu_options": "virtualGPUOptions",
    "vm_ipv6_network_cidr": "vmIPv6NetworkCIDR",
    "vm_network_cidr": "vmNetworkCIDR",
    "vsock_cid": "VSOCKCID",
}

Quantity = Annotated[str | int, msgspec.Meta(title="quantity")]
IntOrString = Annotated[int | str, msgspec.Meta(title="int-or-string")]
JsonObject = Mapping[str, Any]


def wire_name(name: str) -> str:
    """The JSON name of a field: ``run_as_user`` -> ``runAsUser``."""
    first, *rest = name.split("_")
    return ODD_NAMES.get(name) or first + "".join(word.capitalize() for word in rest)


def always(value: T) -> T:
    """A default that is written out too. msgspec leaves out a plain default, but never what another factory made."""
    default: T = msgspec.field(default_factory=lambda: value)
    return default


class WireMeta(msgspec.StructMeta):
    """Gives every subclass the same options: msgspec inherits not all of them, and type checkers inherit none."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **_: bool) -> "WireMeta":
        return super().__new__(
            mcls, name, bases, namespace, frozen=True, kw_only=True, omit_defaults=True, rename=wire_name
        )


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Wire(msgspec.Struct, metaclass=WireMeta, frozen=True):
    """Base of all API types: frozen, keyword arguments only."""
