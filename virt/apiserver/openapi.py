"""OpenAPI documents of the subresources, versions 2 and 3. Pure.

kube-apiserver merges them into its own. Bodies are plain objects: the schemas of kubevirt.io come with its CRDs.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from virt.api import names
from virt.apiserver.discovery import GROUP_PATH, RESOURCES, Resource

Document = Mapping[str, Any]

_INFO: Final = {"title": "Subresources of virtual machines", "version": "v1"}
_METHODS: Final = {"get": "get", "update": "put"}


def v2() -> Document:
    paths: dict[str, Any] = {}
    for version in names.SUBRESOURCE_VERSIONS:
        for resource in RESOURCES:
            operation = {
                **_operation(resource, version),
                "consumes": ["*/*"], "produces": ["application/json"],
                "parameters": [{**parameter, "type": "string"} for parameter in _parameters(resource)],
            }
            paths[_path(resource, version)] = {_METHODS[resource.verb]: operation}
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": {}}


def v3_index() -> Document:
    """Where the documents of the versions are; the hash lets clients keep what they have."""
    return {"paths": {
        f"apis/{names.SUBRESOURCE_GROUP}/{version}":
            {"serverRelativeURL": f"/openapi/v3/apis/{names.SUBRESOURCE_GROUP}/{version}?hash={_hash(v3(version))}"}
        for version in names.SUBRESOURCE_VERSIONS
    }}


def v3(version: str) -> Document:
    paths = {
        _path(resource, version): {_METHODS[resource.verb]: {
            **_operation(resource, version),
            "parameters": [{**parameter, "schema": {"type": "string"}} for parameter in _parameters(resource)],
        }}
        for resource in RESOURCES
    }
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {}}


def _path(resource: Resource, version: str) -> str:
    return f"{GROUP_PATH}/{version}/namespaces/{{namespace}}/{resource.path}"


def _operation(resource: Resource, version: str) -> dict[str, Any]:
    words = [version, resource.parent, *resource.name.replace("/", "-").split("-")]
    return {
        "operationId": "".join(word[:1].upper() + word[1:] for word in words),
        "responses": {"default": {"description": "done, or a Status that says why not"}},
    }


def _parameters(resource: Resource) -> list[dict[str, Any]]:
    wanted = ("namespace", "name") if resource.parent else ("namespace",)
    return [{"name": name, "in": "path", "required": True} for name in wanted]


def _hash(document: Document) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32].upper()
