"""The marks on everything that the operator owns: who manages it, and which target it was made for.

Objects carry the deployment ID. Pod templates carry a hash of themselves instead: with the deployment ID in them, a new
launcher image or a product label would restart every component, although only what changed should restart.
"""

from typing import Any

from virt.api import names
from virt.operator.resources import DAEMON_SET, DEPLOYMENT, Json, Wanted, digest, kind_of
from virt.operator.target import Target

VERSION = "kubevirt.io/install-strategy-version"
REGISTRY = "kubevirt.io/install-strategy-registry"
IDENTIFIER = "kubevirt.io/install-strategy-identifier"
GENERATION = "kubevirt.io/generation"
PART_OF_LABEL = "app.kubernetes.io/part-of"
VERSION_LABEL = "app.kubernetes.io/version"
COMPONENT_LABEL = "app.kubernetes.io/component"
MANAGED_SELECTOR = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"


def labels(target: Target) -> dict[str, str]:
    """Labels of every object."""
    return {
        **pod_labels(target),
        VERSION_LABEL: target.spec.product_version or target.version,
    }


def pod_labels(target: Target) -> dict[str, str]:
    return {
        names.MANAGED_BY_LABEL: names.MANAGED_BY,
        PART_OF_LABEL: target.spec.product_name or "kubevirt",
        COMPONENT_LABEL: target.spec.product_component or "kubevirt",
    }


def stamped(document: Json, target: Target) -> Wanted:
    """``document`` with all marks. The argument is left as it is."""
    kind = kind_of(document)
    meta = document["metadata"]
    annotations = {
        **meta.get("annotations", {}),
        VERSION: target.version, REGISTRY: target.registry, IDENTIFIER: target.id,
    }
    result = {**document}
    if kind in (DEPLOYMENT, DAEMON_SET):
        annotations[GENERATION] = str(target.generation)
        result["spec"] = {**document["spec"], "template": _template(document["spec"]["template"], target)}
    result["metadata"] = {
        **meta, "labels": {**meta.get("labels", {}), **labels(target)}, "annotations": annotations,
    }
    return Wanted(result)


def template_stamp(workload: Json) -> str:
    """The mark that pods of a Deployment or DaemonSet carry, "" when it has none."""
    return pod_stamp(workload["spec"]["template"])


def pod_stamp(pod: Any) -> str:
    """The mark on a pod or pod template."""
    return str(pod.get("metadata", {}).get("annotations", {}).get(IDENTIFIER, ""))


def _template(template: Json, target: Target) -> Json:
    meta = template["metadata"]
    marked = {**template, "metadata": {**meta, "labels": {**meta["labels"], **pod_labels(target)}}}
    annotations = {**meta.get("annotations", {}), IDENTIFIER: digest(marked)}
    return {**marked, "metadata": {**marked["metadata"], "annotations": annotations}}
