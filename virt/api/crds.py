"""The custom resource definitions, generated from the types."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from virt.api import kinds, names
from virt.api.kinds import Kind
from virt.api.schema import Schema, root_schema

DEPRECATED_VERSION = "v1alpha3"


@dataclass(frozen=True)
class Column:
    """A column of ``kubectl get``; with priority 1 only of ``-o wide``."""

    name: str
    type: str
    path: str
    priority: int = 0

    def document(self) -> Mapping[str, Any]:
        document = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return {**document, "priority": self.priority} if self.priority else document


@dataclass(frozen=True)
class Resource:
    """How a kind shows in the API. ``status``: its status is a subresource, written apart from the rest."""

    kind: Kind[Any]
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    status: bool
    label: str = names.GROUP


def _condition(name: str, type_: str, priority: int = 0) -> Column:
    return Column(name, "string", f".status.conditions[?(@.type=='{type_}')].status", priority)


_AGE = Column("Age", "date", ".metadata.creationTimestamp")
_PHASE = Column("Phase", "string", ".status.phase")

RESOURCES = (
    Resource(kinds.KUBEVIRT, ("kv", "kvs"), (_AGE, _PHASE), status=True, label=f"operator.{names.GROUP}"),
    Resource(
        kinds.VM, ("vm", "vms"),
        (_AGE, Column("Status", "string", ".status.printableStatus"), _condition("Ready", "Ready")),
        status=True,
    ),
    Resource(
        kinds.VMI, ("vmi", "vmis"),
        (
            _AGE, _PHASE, Column("IP", "string", ".status.interfaces[0].ipAddress"),
            Column("NodeName", "string", ".status.nodeName"), _condition("Ready", "Ready"),
            _condition("Live-Migratable", "LiveMigratable", 1), _condition("Paused", "Paused", 1),
        ),
        status=False,
    ),
    Resource(
        kinds.VMIM, ("vmim", "vmims"), (_PHASE, Column("VMI", "string", ".spec.vmiName")), status=True,
    ),
    Resource(kinds.MIGRATION_POLICY, (), (), status=True),
)


def definitions() -> tuple[dict[str, Any], ...]:
    """One CustomResourceDefinition for each kind of the API, as plain JSON."""
    return tuple(definition(resource) for resource in RESOURCES)


def definition(resource: Resource) -> dict[str, Any]:
    kind = resource.kind
    schema = root_schema(kind.type)
    if kind is kinds.VM:
        schema["properties"]["status"]["properties"]["printableStatus"]["default"] = "Stopped"
    shown = {"categories": ["all"]} if kind.namespaced else {}      # `kubectl get all` is for those of one namespace
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}", "labels": {resource.label: ""}},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.name, "listKind": f"{kind.name}List", "plural": kind.plural,
                "singular": kind.name.lower(),
                **({"shortNames": list(resource.short_names)} if resource.short_names else {}), **shown,
            },
            "conversion": {"strategy": "None"},
            "versions": [_version(resource, version, schema) for version in versions(kind)],
        },
    }


def versions(kind: Kind[Any]) -> tuple[str, ...]:
    """The versions that are served, the stored one first."""
    return (kind.version, DEPRECATED_VERSION) if kind.group == names.GROUP else (kind.version,)


def _version(resource: Resource, name: str, schema: Schema) -> dict[str, Any]:
    version: dict[str, Any] = {
        "name": name,
        "served": True,
        "storage": name == resource.kind.version,
        "schema": {"openAPIV3Schema": schema},
    }
    if resource.columns:
        version["additionalPrinterColumns"] = [column.document() for column in resource.columns]
    if resource.status:
        version["subresources"] = {"status": {}}
    if name == DEPRECATED_VERSION:
        version["deprecated"] = True
        version["deprecationWarning"] = f"{names.GROUP}/{name} is deprecated, use {names.GROUP}/{resource.kind.version}"
    return version
