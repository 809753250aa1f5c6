"""Phase and conditions of the KubeVirt object, as rows of one table. Pure: old status in, new status out.

``now`` is RFC 3339 text. Setting what is there already gives back an equal status, so nothing is written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from virt.api import conditions, v1
from virt.operator.target import Target

DEPLOYING, DEPLOYED, DELETING, DELETED = "Deploying", "Deployed", "Deleting", "Deleted"

Value = Literal["True", "False", "removed"]

CREATED, SYNCHRONIZED = "Created", "Synchronized"


@dataclass(frozen=True)
class Row:
    """What a situation says of each condition; those that are not named stay as they are."""

    reason: str
    message: str
    values: Mapping[str, Value]


INSTALLING = Row("DeploymentInProgress", "Deploying version {version} with registry {registry}", {
    SYNCHRONIZED: "removed", "Available": "False", "Progressing": "True", "Degraded": "False"})
ALL_CREATED = Row("AllResourcesCreated", "All resources were created.", {CREATED: "True"})
READY = Row("AllComponentsReady", "All components are ready.", {
    SYNCHRONIZED: "removed", "Available": "True", "Progressing": "False", "Degraded": "False"})
UPDATE_BEGINS = Row("UpdateInProgress", "", {CREATED: "removed"})
UPDATING = Row("UpdateInProgress", "Transitioning from version {observed} to {version}", {
    SYNCHRONIZED: "removed", "Available": "True", "Progressing": "True", "Degraded": "True"})
FAILED = Row("DeploymentFailed", "An error occurred during deployment: {error}", {
    SYNCHRONIZED: "False", "Available": "False", "Progressing": "False", "Degraded": "True"})
EXISTS_ALREADY = Row("ExistingDeployment", "Another KubeVirt object is installed: {error}", {SYNCHRONIZED: "False"})
REMOVING = Row("DeletionInProgress", "Deletion was triggered", {
    CREATED: "removed", SYNCHRONIZED: "removed", "Available": "False", "Progressing": "False", "Degraded": "True"})
REMOVAL_FAILED = Row("DeletionFailed", "An error occurred during deletion: {error}", {SYNCHRONIZED: "False"})


def apply(status: v1.KubeVirtStatus, row: Row, now: str, **words: str) -> v1.KubeVirtStatus:
    """``words`` fill the message's placeholders."""
    found = status.conditions
    message = row.message.format(**words) if words else row.message
    for type_, value in row.values.items():
        if value == "removed":
            found = conditions.without(found, type_)
        else:
            new = v1.Condition(type=type_, status=value, reason=row.reason, message=message)
            found = conditions.with_condition(found, new, now)
    return msgspec.structs.replace(status, conditions=found)


def is_updating(status: v1.KubeVirtStatus, target: Target) -> bool:
    """Whether another target than ``target`` ran completely before."""
    return status.observed_deployment_id not in ("", target.id)


def begun(status: v1.KubeVirtStatus, target: Target, architecture: str, now: str) -> v1.KubeVirtStatus:
    """As soon as a sync starts. Repeated for the same target it changes nothing, so that an error message stays."""
    is_new = status.target_deployment_id != target.id or status.phase not in (DEPLOYING, DEPLOYED)
    status = msgspec.structs.replace(
        status,
        phase=status.phase if status.phase == DEPLOYED else DEPLOYING,
        operator_version=target.version,
        target_kube_virt_version=target.version,
        target_kube_virt_registry=target.registry,
        target_deployment_config=target.config,
        target_deployment_id=target.id,
        default_architecture=status.default_architecture or architecture,
    )
    if not is_new or status.observed_deployment_id == target.id:
        return status
    if is_updating(status, target):
        status = apply(status, UPDATE_BEGINS, now)
    return in_progress(status, target, now)


def in_progress(status: v1.KubeVirtStatus, target: Target, now: str) -> v1.KubeVirtStatus:
    """Something is not ready yet, or no longer."""
    words = {
        "version": target.version, "registry": target.registry, "observed": status.observed_kube_virt_version,
    }
    return apply(status, UPDATING if is_updating(status, target) else INSTALLING, now, **words)


def created(status: v1.KubeVirtStatus, now: str) -> v1.KubeVirtStatus:
    return apply(status, ALL_CREATED, now)


def ready(status: v1.KubeVirtStatus, target: Target, now: str) -> v1.KubeVirtStatus:
    status = apply(created(status, now), READY, now)
    return msgspec.structs.replace(
        status,
        phase=DEPLOYED,
        observed_kube_virt_version=target.version,
        observed_kube_virt_registry=target.registry,
        observed_deployment_config=target.config,
        observed_deployment_id=target.id,
        observed_generation=target.generation,
    )


def failed(status: v1.KubeVirtStatus, error: str, now: str) -> v1.KubeVirtStatus:
    return apply(status, FAILED, now, error=error)


def removing(status: v1.KubeVirtStatus, now: str) -> v1.KubeVirtStatus:
    return apply(msgspec.structs.replace(status, phase=DELETING), REMOVING, now)


def removed(status: v1.KubeVirtStatus) -> v1.KubeVirtStatus:
    return msgspec.structs.replace(status, phase=DELETED)
