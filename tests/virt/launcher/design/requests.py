"""VMIs and hosts for tests of single design steps."""

from typing import Any

from msgspec.structs import replace

from virt.api import codec, defaults, v1
from virt.api.clusterconfig import ClusterConfig
from virt.launcher.design import DiskSource, Prepared
from virt.rpc.messages import HostFacts

EMULATED = HostFacts(kvm=False, cluster_cpu_model="Nehalem")


def vmi(domain: dict[str, Any] | None = None, **spec: Any) -> v1.VirtualMachineInstance:
    """A VMI as admission stores it, with memory unless ``domain`` has some; JSON names."""
    document = {
        "metadata": {"name": "vm", "namespace": "ns", "uid": "uid-1"},
        "spec": {"architecture": "amd64", **spec, "domain": {"memory": {"guest": "64Mi"}, **(domain or {})}},
    }
    instance = codec.from_json(document, v1.VirtualMachineInstance)
    return replace(instance, spec=defaults.instance_spec(instance.spec, ClusterConfig()))


def disk_vmi(*disks: dict[str, Any], domain: dict[str, Any] | None = None) -> v1.VirtualMachineInstance:
    """A VMI with these disks, each on an empty disk, and no interface."""
    devices = {"autoattachPodInterface": False, "disks": list(disks)}
    volumes = [{"name": disk["name"], "emptyDisk": {"capacity": "1Gi"}} for disk in disks]
    return vmi({"devices": devices, **(domain or {})}, volumes=volumes)


def prepared(**disks: DiskSource) -> Prepared:
    return Prepared(disks=disks)
