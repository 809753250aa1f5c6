"""Documents of role-based access control."""

from collections.abc import Sequence
from typing import Final

from virt.operator.resources import Json

READ: Final = ("get", "list", "watch")
CHANGE: Final = (*READ, "create", "update", "patch", "delete")
EVERYTHING: Final = (*CHANGE, "deletecollection")
_RBAC: Final = "rbac.authorization.k8s.io"


def rule(group: str, resources: Sequence[str], verbs: Sequence[str], *, only: Sequence[str] = ()) -> Json:
    """``only``: names of the objects it is limited to."""
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)} | (
        {"resourceNames": list(only)} if only else {}
    )


def service_account(name: str, namespace: str) -> Json:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}


def cluster_role(name: str, rules: Sequence[Json], labels: dict[str, str] | None = None) -> Json:
    meta = {"name": name} | ({"labels": labels} if labels else {})
    return {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": meta, "rules": list(rules)}


def role(name: str, namespace: str, rules: Sequence[Json]) -> Json:
    return {
        "apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": {"name": name, "namespace": namespace},
        "rules": list(rules),
    }


def cluster_binding(name: str, role_name: str, account: tuple[str, str]) -> Json:
    """``account``: name and namespace of a service account."""
    return {
        "apiVersion": f"{_RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role_name},
        "subjects": [_subject(account)],
    }


def group_binding(name: str, group: str) -> Json:
    """The cluster role ``name`` for all users of ``group``."""
    return {
        "apiVersion": f"{_RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group}],
    }


def role_binding(name: str, namespace: str, account: tuple[str, str]) -> Json:
    """Binds the role of the same name and namespace."""
    return {
        "apiVersion": f"{_RBAC}/v1", "kind": "RoleBinding", "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
        "subjects": [_subject(account)],
    }


def _subject(account: tuple[str, str]) -> Json:
    return {"kind": "ServiceAccount", "name": account[0], "namespace": account[1]}
