"""Builders of VM and VMI manifests: no logic, no client calls, each returns a new document.

Manifests are plain JSON documents, not the product's own types: a black box test says exactly what is sent.
"""

import copy
from collections.abc import Mapping
from typing import Any

from functests.libs.cluster import Cluster
from virt.api import jsonpatch

Manifest = dict[str, Any]

ROOT_DISK: Manifest = {"name": "root", "disk": {"bus": "virtio"}}
NIC: Manifest = {"name": "default", "masquerade": {}}


def kernel_boot_vmi(cluster: Cluster, name: str, *, kernel_args: str = "", memory: str = "128Mi") -> Manifest:
    """The cheapest guest: ``tiny`` straight from kernel and initrd, no disk, masquerade, killed at once on deletion."""
    image = cluster.images["tiny-kernel"]
    boot: Manifest = {
        "kernelArgs": f"{image['kernel_args']} {kernel_args}".strip(),
        "container": {
            "image": image["reference"],
            "kernelPath": image["kernel_path"],
            "initrdPath": image["initrd_path"],
        },
    }
    spec: Manifest = {
        "terminationGracePeriodSeconds": 0,
        "domain": {
            "firmware": {"kernelBoot": boot},
            "memory": {"guest": memory},
            "devices": {"interfaces": [dict(NIC)]},
        },
        "networks": [{"name": "default", "pod": {}}],
    }
    return _vmi(name, spec)


def disk_boot_vmi(cluster: Cluster, name: str, *, bus: str | None = "virtio", memory: str = "128Mi") -> Manifest:
    """``tiny`` from its BIOS container disk. ``bus`` None leaves disk target and bus to the defaults."""
    disk: Manifest = {"name": "root"} if bus is None else {"name": "root", "disk": {"bus": bus}}
    spec: Manifest = {
        "terminationGracePeriodSeconds": 0,
        "domain": {
            "memory": {"guest": memory},
            "devices": {"disks": [disk], "interfaces": [dict(NIC)]},
        },
        "networks": [{"name": "default", "pod": {}}],
        "volumes": [{"name": "root", "containerDisk": {"image": cluster.image("tiny")}}],
    }
    return _vmi(name, spec)


def _vmi(name: str, spec: Manifest) -> Manifest:
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": name},
        "spec": spec,
    }


def vm_of(vmi: Manifest, run_strategy: str | None = "Always") -> Manifest:
    """A VM whose template is ``vmi``. ``run_strategy`` None leaves it out, for VMs that use ``running``."""
    name = vmi["metadata"]["name"]
    labels = vmi["metadata"].get("labels", {})
    spec: Manifest = {"template": {"metadata": {"labels": labels}, "spec": copy.deepcopy(vmi["spec"])}}
    if run_strategy is not None:
        spec["runStrategy"] = run_strategy
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name}, "spec": spec}


def merged(document: Manifest, changes: Mapping[str, Any]) -> Manifest:
    """``document`` with ``changes`` laid over it, as a JSON merge patch would (None removes, lists are replaced)."""
    result: Manifest = jsonpatch.merged(copy.deepcopy(document), changes)
    return result


def spec_patch(**changes: Any) -> Manifest:
    """For :func:`merged`: ``changes`` of a VMI's spec; those below for its domain and its devices."""
    return {"spec": changes}


def domain_patch(**changes: Any) -> Manifest:
    return spec_patch(domain=changes)


def devices_patch(**changes: Any) -> Manifest:
    return domain_patch(devices=changes)


def with_disk(vmi: Manifest, name: str, source: Mapping[str, Any], **disk: Any) -> Manifest:
    """One more volume ``name`` from ``source``, with its disk entry (``bus`` virtio unless ``disk`` says more)."""
    result = copy.deepcopy(vmi)
    entry: Manifest = {"name": name, **disk}
    if not {"disk", "cdrom", "lun"} & entry.keys():
        entry["disk"] = {"bus": "virtio"}
    result["spec"]["domain"]["devices"].setdefault("disks", []).append(entry)
    result["spec"].setdefault("volumes", []).append({"name": name, **source})
    return result


def on_node(vmi: Manifest, node: str) -> Manifest:
    return merged(vmi, {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}})


def evictable(vmi: Manifest, node: str, strategy: str = "LiveMigrate") -> Manifest:
    """A guest that starts on ``node`` where there is room, and may go elsewhere."""
    wanted = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "preference": wanted}]}}
    return merged(vmi, {"spec": {"evictionStrategy": strategy, "affinity": affinity}})


def with_grace(vmi: Manifest, seconds: int) -> Manifest:
    return merged(vmi, {"spec": {"terminationGracePeriodSeconds": seconds}})


def pvc(name: str, *, size: str = "64Mi", storage_class: str = "local", mode: str = "ReadWriteOnce") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": [mode],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": size}},
        },
    }
