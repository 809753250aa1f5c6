"""OpenAPI documents of the subresources, versions 2 and 3. Pure.

kube-apiserver merges them into its own. Bodies are plain objects: the schemas of kubevirt.io come with its CRDs.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from virt.api import names
from virt.apiserver.discovery import GROUP_PATH, RESOURCES, Resource

Document = Mapping[str, Any]

_INFO: Final = {"title": "Subresources of virtual machines", "version": "v1"}
_METHODS: Final = {"get": "get", "update": "put"}
_BODY: Final = {"type": "object"}
_PLACE: Final = re.compile(r"{(\w+)}")


def v2() -> Document:
    paths: dict[str, Any] = {}
    for version in names.SUBRESOURCE_VERSIONS:
        for resource, path in _paths(version):
            parameters = [{**parameter, "type": "string"} for parameter in _parameters(path)]
            if resource.verb == "update":
                parameters.append({"name": "body", "in": "body", "schema": _BODY})
            paths[path] = {_METHODS[resource.verb]: {
                **_operation(resource, version, path),
                "consumes": ["*/*"], "produces": ["application/json"], "parameters": parameters,
            }}
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
        path: {_METHODS[resource.verb]: {
            **_operation(resource, version, path),
            "parameters": [{**parameter, "schema": {"type": "string"}} for parameter in _parameters(path)],
            **({"requestBody": {"content": {"*/*": {"schema": _BODY}}}} if resource.verb == "update" else {}),
        }}
        for resource, path in _paths(version)
    }
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {}}


def _paths(version: str) -> list[tuple[Resource, str]]:
    root = f"{GROUP_PATH}/{version}/namespaces/{{namespace}}"
    return [(resource, f"{root}/{path}") for resource in RESOURCES for path in resource.paths]


def _operation(resource: Resource, version: str, path: str) -> dict[str, Any]:
    further = [name for name in _PLACE.findall(path) if name not in ("namespace", "name")]
    words = [version, resource.parent, *resource.name.replace("/", "-").split("-"), *further]
    return {
        "operationId": "".join(word[:1].upper() + word[1:] for word in words),
        "responses": {"default": {"description": "done, or a Status that says why not"}},
    }


def _parameters(path: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True} for name in _PLACE.findall(path)]


def _hash(document: Document) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32].upper()
