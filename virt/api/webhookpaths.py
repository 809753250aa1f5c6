"""Every admission webhook: which requests it sees, and the path it answers on.

virt-operator registers them, virt-api and virt-operator serve them. Names and paths are those of KubeVirt.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from virt.api import kinds, names
from virt.api.crds import DEPRECATED_VERSION
from virt.api.kinds import Kind

Operation = Literal["CREATE", "UPDATE", "DELETE"]

API_VALIDATOR: Final = "virt-api-validator"
API_MUTATOR: Final = "virt-api-mutator"
OPERATOR_VALIDATOR: Final = "virt-operator-validator"

TIMEOUT_S: Final = 10


@dataclass(frozen=True)
class Webhook:
    """``configuration``: name of the webhook configuration it is part of. ``subresource``: "" for the object itself.
    ``condition``: an expression (CEL) without which kube-apiserver does not even ask; ``writes``: it does more than
    answer, but not in a dry run."""

    configuration: str
    name: str
    path: str
    kind: Kind[Any]
    operations: tuple[Operation, ...]
    subresource: str = ""
    condition: str = ""
    writes: bool = False

    @property
    def full_name(self) -> str:
        """What kube-apiserver calls it in messages: three parts at least."""
        return f"{self.name}.{names.GROUP}"

    @property
    def service(self) -> str:
        return names.OPERATOR_SERVICE if self.configuration == OPERATOR_VALIDATOR else names.API_SERVICE

    @property
    def versions(self) -> tuple[str, ...]:
        """API versions it sees."""
        return (DEPRECATED_VERSION, self.kind.version) if self.kind.group == names.GROUP else (self.kind.version,)

    @property
    def resource(self) -> str:
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural


VM_MUTATE: Final = "/virtualmachines-mutate"
VMI_MUTATE: Final = "/virtualmachineinstances-mutate"
MIGRATION_MUTATE: Final = "/migration-mutate-create"
VM_VALIDATE: Final = "/virtualmachines-validate"
VMI_VALIDATE_CREATE: Final = "/virtualmachineinstances-validate-create"
VMI_VALIDATE_UPDATE: Final = "/virtualmachineinstances-validate-update"
MIGRATION_VALIDATE_CREATE: Final = "/migration-validate-create"
MIGRATION_VALIDATE_UPDATE: Final = "/migration-validate-update"
POLICY_VALIDATE: Final = "/migration-policy-validate-create"
POD_EVICTION: Final = "/pod-eviction-validate"
KUBEVIRT_VALIDATE_CREATE: Final = "/kubevirt-validate-create"
KUBEVIRT_VALIDATE_UPDATE: Final = "/kubevirt-validate-update"
KUBEVIRT_VALIDATE_DELETE: Final = "/kubevirt-validate-delete"

WEBHOOKS: Final = (
    Webhook(API_MUTATOR, "virtualmachines-mutator", VM_MUTATE, kinds.VM, ("CREATE", "UPDATE")),
    Webhook(API_MUTATOR, "virtualmachineinstances-mutator", VMI_MUTATE, kinds.VMI, ("CREATE", "UPDATE")),
    Webhook(API_MUTATOR, "migrations-mutator", MIGRATION_MUTATE, kinds.VMIM, ("CREATE",)),
    Webhook(API_VALIDATOR, "virtualmachine-validator", VM_VALIDATE, kinds.VM, ("CREATE", "UPDATE")),
    Webhook(API_VALIDATOR, "virtualmachineinstances-create-validator", VMI_VALIDATE_CREATE, kinds.VMI, ("CREATE",)),
    Webhook(API_VALIDATOR, "virtualmachineinstances-update-validator", VMI_VALIDATE_UPDATE, kinds.VMI, ("UPDATE",)),
    Webhook(API_VALIDATOR, "migration-create-validator", MIGRATION_VALIDATE_CREATE, kinds.VMIM, ("CREATE",)),
    Webhook(API_VALIDATOR, "migration-update-validator", MIGRATION_VALIDATE_UPDATE, kinds.VMIM, ("UPDATE",)),
    Webhook(
        API_VALIDATOR, "migration-policy-validator", POLICY_VALIDATE, kinds.MIGRATION_POLICY, ("CREATE", "UPDATE")),
    Webhook(
        API_VALIDATOR, "virt-launcher-eviction-interceptor", POD_EVICTION, kinds.POD, ("CREATE",), "eviction",
        condition=f"request.name.startsWith('{names.LAUNCHER}')", writes=True),
    Webhook(
        API_VALIDATOR, "hotplug-pod-eviction-interceptor", POD_EVICTION, kinds.POD, ("CREATE",), "eviction",
        condition=f"request.name.startsWith('{names.ATTACHMENT_PREFIX}')", writes=True),
    Webhook(OPERATOR_VALIDATOR, "kubevirt-create-validator", KUBEVIRT_VALIDATE_CREATE, kinds.KUBEVIRT, ("CREATE",)),
    Webhook(OPERATOR_VALIDATOR, "kubevirt-update-validator", KUBEVIRT_VALIDATE_UPDATE, kinds.KUBEVIRT, ("UPDATE",)),
    Webhook(OPERATOR_VALIDATOR, "kubevirt-validator", KUBEVIRT_VALIDATE_DELETE, kinds.KUBEVIRT, ("DELETE",)),
)


def of_service(service: str) -> Iterable[Webhook]:
    """The webhooks that the component behind ``service`` has to serve."""
    return (webhook for webhook in WEBHOOKS if webhook.service == service)
