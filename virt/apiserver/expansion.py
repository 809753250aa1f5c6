"""A VM with all that its instance type and preference say written out (expand-spec, expand-vm-spec). Pure.

There are none of the two so far (virt.api.unbuilt): a VM is its own expansion, and one that names them has none.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from virt.api import codec, kinds, v1
from virt.api.status import NOT_SUPPORTED, StatusCause, StatusDetails, failure
from virt.kube.http import RefusedError
from virt.kube.reviews import misfit

Document = Mapping[str, Any]

# As it is stored, with what the types do not know.
STORED: Final = kinds.untyped(
    kinds.VM.group, kinds.VM.version, kinds.VM.plural, kinds.VM.name, namespaced=kinds.VM.namespaced)


def expanded(sent: object, namespace: str) -> Document:
    """The VM ``sent`` by a client to ``namespace``. Raises RefusedError, which names the fields that are wrong."""
    if sent is None:
        raise RefusedError(failure(400, "empty request body"))
    if not isinstance(sent, dict):
        raise _no_machine(StatusCause(message=f"the body is no object: {str(sent)[:80]}"))
    version, kind = sent.get("apiVersion"), sent.get("kind")
    if (str(version).partition("/")[0], kind) != (kinds.VM.group, kinds.VM.name):
        raise _no_machine(StatusCause(
            field="kind", message=f"apiVersion {version} and kind {kind} are not those of a VirtualMachine"))
    try:
        vm = codec.from_json(sent, v1.VirtualMachine)
    except msgspec.ValidationError as error:
        raise _no_machine(misfit(error)) from error
    if vm.metadata.namespace not in ("", namespace):
        raise RefusedError(failure(
            400, f"metadata.namespace: the VM is of {vm.metadata.namespace!r}, the request of {namespace!r}"))
    named = {"spec.instancetype": vm.spec.instancetype, "spec.preference": vm.spec.preference}
    unknown = [StatusCause(reason=NOT_SUPPORTED, field=field, message=f"{field} is not supported yet")
               for field, matcher in named.items() if matcher is not None]
    if unknown:
        raise _no_machine(*unknown)
    return sent


def _no_machine(*causes: StatusCause) -> RefusedError:
    message = "Object is not a valid VirtualMachine: " + ", ".join(cause.message for cause in causes)
    return RefusedError(replace(failure(400, message), details=StatusDetails(causes=causes)))
