"""What the group subresources.kubevirt.io consists of, in the forms that clients ask for. Pure.

kube-apiserver collects them. Wrong lists break kubectl, the deletion of namespaces and the garbage collector.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from virt.api import names

AGGREGATED_V2: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
GROUP_PATH: Final = f"/apis/{names.SUBRESOURCE_GROUP}"

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Resource:
    """``verb`` is what its one method means: GET get, PUT update. ``parent`` "" for what belongs to no object."""

    parent: str
    name: str
    verb: str

    @property
    def paths(self) -> tuple[str, ...]:
        """Below the namespace, as in an OpenAPI document."""
        path = f"{self.parent}/{{name}}/{self.name}" if self.parent else self.name
        if self.name == "portforward":
            return f"{path}/{{port}}", f"{path}/{{port}}/{{protocol}}"
        return (path,)

    @property
    def full_name(self) -> str:
        return f"{self.parent}/{self.name}" if self.parent else self.name


def _resources() -> tuple[Resource, ...]:
    table = (
        ("virtualmachines", "get", "portforward expand-spec objectgraph"),
        ("virtualmachines", "update",
         "start stop restart migrate addvolume removevolume memorydump removememorydump evacuate/cancel"),
        ("virtualmachineinstances", "get",
         "console vnc vnc/screenshot usbredir vsock portforward guestosinfo userlist filesystemlist objectgraph"),
        ("virtualmachineinstances", "update",
         "pause unpause freeze unfreeze reset softreboot addvolume removevolume evacuate/cancel"),
    )
    found = [Resource(parent, name, verb) for parent, verb, text in table for name in text.split()]
    return (Resource("", "expand-vm-spec", "update"), *found)


RESOURCES: Final = _resources()
_KINDS: Final = {"virtualmachines": "VirtualMachine", "virtualmachineinstances": "VirtualMachineInstance"}


def root_paths(more: tuple[str, ...] = ()) -> Document:
    versions = [f"{GROUP_PATH}/{version}" for version in names.SUBRESOURCE_VERSIONS]
    return {"paths": ["/apis", GROUP_PATH, *versions, *more]}


def group() -> Document:
    """The APIGroup; its first version is the preferred one."""
    versions = [
        {"groupVersion": f"{names.SUBRESOURCE_GROUP}/{version}", "version": version}
        for version in names.SUBRESOURCE_VERSIONS
    ]
    return {
        "kind": "APIGroup", "apiVersion": "v1", "name": names.SUBRESOURCE_GROUP,
        "versions": versions, "preferredVersion": versions[0],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
    }


def group_list() -> Document:
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group()]}


def resource_list(version: str) -> Document:
    return {
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{names.SUBRESOURCE_GROUP}/{version}",
        "resources": [
            {
                "name": resource.full_name, "singularName": "", "namespaced": True,
                "kind": _KINDS.get(resource.parent, ""),
                # A verb would make kubectl list it beside real resources.
                "verbs": [resource.verb] if resource.parent else [],
            }
            for resource in RESOURCES
        ],
    }


def aggregated() -> Document:
    """All of it at once, for kube-apiserver (KEP-3352). A parent without a kind is only the place of its children."""
    nowhere = {"group": "", "version": "", "kind": ""}

    def parent(name: str, version: str) -> Document:
        kind = {"group": names.SUBRESOURCE_GROUP, "version": version, "kind": _KINDS[name]}
        return {
            "resource": name, "responseKind": nowhere, "scope": "Namespaced", "singularResource": "", "verbs": [],
            "subresources": [
                {"subresource": resource.name, "responseKind": kind, "verbs": [resource.verb]}
                for resource in RESOURCES if resource.parent == name
            ],
        }

    return {
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": [{
            "metadata": {"name": names.SUBRESOURCE_GROUP},
            "versions": [
                {
                    "version": version, "freshness": "Current",
                    "resources": [parent(name, version) for name in _KINDS],
                }
                for version in names.SUBRESOURCE_VERSIONS
            ],
        }],
    }


def accepts_aggregated(accept: str) -> bool:
    """Whether an Accept header asks for :data:`AGGREGATED_V2`."""
    for choice in accept.split(","):
        parameters = {part.strip() for part in choice.split(";")}
        if {"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= parameters:
            return True
    return False
