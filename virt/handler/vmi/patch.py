"""The smallest merge patch (RFC 7386) that leads from one status to another. Pure."""

from typing import Any

from virt.api import codec, v1


def status_patch(
    vmi: v1.VirtualMachineInstance, after: v1.VirtualMachineInstanceStatus
) -> dict[str, Any] | None:
    """None when nothing changed. It fails on a lost race: the resource version is in it."""
    changes = _difference(codec.to_json(vmi.status), codec.to_json(after))
    if not changes:
        return None
    return {"metadata": {"resourceVersion": vmi.metadata.resource_version}, "status": changes}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        known = before.get(name)
        if isinstance(value, dict) and isinstance(known, dict):
            if inner := _difference(known, value):
                changes[name] = inner
        elif value != known or name not in before:
            changes[name] = value
    return changes
