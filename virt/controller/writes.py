"""A change of an object as one guarded JSON patch: fields this program does not know survive, a lost race is a 409.

The guard is the resource version: the API server refuses a patch that asks for another one than is stored.
"""

from typing import Any

from virt.api import codec, jsonpatch
from virt.kube.client import JsonPatch
from virt.kube.objects import meta_of


def between(old: Any, new: Any, *sections: str) -> JsonPatch | None:
    """The patch that turns ``old`` (as read) into ``new`` in the named top-level ``sections`` ("status" ...).

    None when nothing in them differs.
    """
    before, after = codec.to_json(old), codec.to_json(new)
    operations = [
        operation
        for section in sections
        for operation in _section(section, before, after)
    ]
    if not operations:
        return None
    guard = jsonpatch.add("/metadata/resourceVersion", meta_of(old).resource_version)
    return JsonPatch((guard, *operations))


def _section(section: str, before: dict[str, Any], after: dict[str, Any]) -> tuple[jsonpatch.Operation, ...]:
    old, new = ({section: document[section]} if section in document else {} for document in (before, after))
    return jsonpatch.difference(old, new)
