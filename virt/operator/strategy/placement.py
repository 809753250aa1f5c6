"""Where components may run: the cluster's control plane for the few, every Linux node for the node agent.

What the KubeVirt object says replaces the default; what the pod has already is kept.
"""

from dataclasses import dataclass
from typing import Any

from virt.api import codec, core
from virt.operator.resources import Json

_LINUX = {"kubernetes.io/os": "linux"}
_CRITICAL = {"key": "CriticalAddonsOnly", "operator": "Exists"}
_CONTROL_PLANE_LABELS = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


@dataclass(frozen=True)
class Default:
    node_affinity: Json | None
    tolerations: tuple[Json, ...]


INFRA = Default(
    node_affinity={
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": label, "operator": "Exists"}]} for label in _CONTROL_PLANE_LABELS
        ]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "preference": {"matchExpressions": [
                {"key": "node-role.kubernetes.io/worker", "operator": "DoesNotExist"}
            ]},
        }],
    },
    tolerations=tuple(
        {"key": label, "operator": "Exists", "effect": "NoSchedule"} for label in _CONTROL_PLANE_LABELS
    ),
)
WORKLOADS = Default(node_affinity=None, tolerations=())


def placed(pod: Json, asked: core.Placement | None, default: Default) -> Json:
    """``pod`` with node selector, affinity and tolerations."""
    if asked is None:
        affinity: dict[str, Any] = {"nodeAffinity": default.node_affinity} if default.node_affinity else {}
        tolerations, selector = list(default.tolerations), dict[str, str]()
    else:
        affinity = codec.to_json(asked.affinity) if asked.affinity else {}
        tolerations, selector = codec.to_json(asked.tolerations), dict(asked.node_selector)
    affinity = {**affinity, **pod.get("affinity", {})}
    return {
        **pod,
        "nodeSelector": {**selector, **_LINUX, **pod.get("nodeSelector", {})},
        "tolerations": [_CRITICAL, *tolerations],
    } | ({"affinity": affinity} if affinity else {})
