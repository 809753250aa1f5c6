"""The install strategy: every object of one target, with all marks, by the step that applies it. Pure."""

from dataclasses import dataclass
from functools import lru_cache

from virt.api import crds, kinds, names
from virt.operator import customize, stamps
from virt.operator.resources import Json, Wanted
from virt.operator.strategy import certificates, disruption, network, rbac, workloads
from virt.operator.target import Target


@dataclass(frozen=True)
class Strategy:
    """Objects of one step may be applied in any order.

    ``secrets``: certificates and the bundle; ``basis``: accounts, roles, services; ``ties``: what refers to them
    (bindings, webhooks, APIs).
    """

    secrets: tuple[Wanted, ...]
    definitions: tuple[Wanted, ...]
    basis: tuple[Wanted, ...]
    ties: tuple[Wanted, ...]
    api: tuple[Wanted, ...]
    controller: tuple[Wanted, ...]
    handler: Wanted

    @property
    def objects(self) -> tuple[Wanted, ...]:
        return (*self.secrets, *self.definitions, *self.basis, *self.ties, *self.api, *self.controller, self.handler)


def strategy(target: Target, material: certificates.Material) -> Strategy:
    """``material``: certificates and CA bundle in force. Raises PatchError for a customisation that does not fit."""
    patches = target.spec.customize_components.patches

    def marked(*documents: Json) -> tuple[Wanted, ...]:
        # Patched before the marks: a patched template is another one, so its pods are replaced.
        return tuple(stamps.stamped(customize.customised(document, patches), target) for document in documents)

    return Strategy(
        secrets=marked(*certificates.documents(target.namespace, material)),
        definitions=marked(*definitions()),
        basis=marked(
            *rbac.accounts(target.namespace),
            *rbac.roles(target.namespace, aggregate=target.aggregates_roles),
            *network.services(target.namespace),
        ),
        ties=marked(
            *rbac.bindings(target.namespace),
            *network.registrations(target.namespace, material.bundle),
        ),
        api=marked(
            workloads.api(target),
            *disruption.budgets(target.namespace, names.API_SERVICE, target.api_replicas),
        ),
        controller=marked(
            workloads.controller(target),
            *disruption.budgets(target.namespace, workloads.CONTROLLER, target.controller_replicas),
        ),
        handler=marked(workloads.handler(target))[0],
    )


@lru_cache
def definitions() -> tuple[Json, ...]:
    """All CRDs but that of the KubeVirt object itself, which has to outlive what it describes."""
    own = f"{kinds.KUBEVIRT.plural}.{kinds.KUBEVIRT.group}"
    return tuple(found for found in crds.definitions() if found["metadata"]["name"] != own)
