"""Ordinary users: a name that has one role in one namespace, and nothing else; and what access reviews say of anybody.

The administrator's credentials impersonate a user; a service account comes with a token of its own.
"""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from functests.libs import patience
from functests.libs.kube import Space
from functests.libs.rest import Rest, core_path

SUBRESOURCES = "subresources.kubevirt.io"
READS_PODS: Mapping[str, str] = {"verb": "get", "group": "", "resource": "pods"}
_RBAC = "rbac.authorization.k8s.io"
_BINDINGS = f"/apis/{_RBAC}/v1/namespaces/{{}}/rolebindings"
_ROLES = f"/apis/{_RBAC}/v1/namespaces/{{}}/roles"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


def user_with(space: Space, role: str, *, proof: Mapping[str, str] = READS_PODS) -> tuple[str, Rest]:
    """A new user whom a RoleBinding gives the ClusterRole ``role`` (admin, edit, view) in the test's namespace.

    ``proof``: a right that the role gives, as access reviews name it. Before the user is handed out it is shown that
    it has that one, and that it is not secretly an administrator: it cannot list the secrets of another namespace.
    """
    name = f"{role.rpartition(':')[2]}-{secrets.token_hex(3)}"
    bind(space, name, ("User", name), ("ClusterRole", role))
    return name, _proven(space, name, proof)


def user_who_may(space: Space, *rules: Mapping[str, Any]) -> tuple[str, Rest]:
    """A new user with a Role of its own in the test's namespace: ``rules`` as Kubernetes writes them."""
    name = f"user-{secrets.token_hex(3)}"
    space.rest.post(_ROLES.format(space.name), {"metadata": {"name": name}, "rules": list(rules)}).ok()
    bind(space, name, ("User", name), ("Role", name))
    first = rules[0]
    resource, _, subresource = first["resources"][0].partition("/")
    proof = {"verb": first["verbs"][0], "group": first["apiGroups"][0], "resource": resource}
    proof |= {"subresource": subresource} if subresource else {}
    proof |= {"name": first["resourceNames"][0]} if "resourceNames" in first else {}
    return name, _proven(space, name, proof)


def rule(group: str, resource: str, *verbs: str, names: Iterable[str] = ()) -> dict[str, Any]:
    """One rule of a Role; ``names`` limits it to objects of these names."""
    found: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}
    return found | ({"resourceNames": list(names)} if names else {})


def bind(space: Space, name: str, subject: tuple[str, str], role: tuple[str, str]) -> None:
    """A RoleBinding ``name`` in the test's namespace; ``subject`` and ``role``: kind and name."""
    who: dict[str, str] = {"kind": subject[0], "name": subject[1]}
    who |= {"namespace": space.name} if subject[0] == "ServiceAccount" else {"apiGroup": _RBAC}
    binding = {
        "metadata": {"name": name}, "roleRef": {"apiGroup": _RBAC, "kind": role[0], "name": role[1]}, "subjects": [who],
    }
    space.rest.post(_BINDINGS.format(space.name), binding).ok()


def unbind(space: Space, name: str) -> None:
    space.rest.delete(f"{_BINDINGS.format(space.name)}/{name}").ok()


def _proven(space: Space, name: str, proof: Mapping[str, str]) -> Rest:
    patience.eventually(
        f"kube-apiserver's authorizer knows the binding of {name}",
        lambda: allowed(space.rest, name, namespace=space.name, **proof), bool, within_s=patience.promised(20),
    )  # fmt: skip
    rest = space.rest.as_user(name)
    foreign = rest.get("/api/v1/namespaces/kube-system/secrets")
    assert foreign.code == 403, f"{name} may read foreign secrets ({foreign.code}): it proves nothing"
    return rest


def account(space: Space, name: str) -> Rest:
    """A new service account of the test's namespace, with a token that Kubernetes made for it."""
    accounts = core_path("serviceaccounts", space.name)
    space.rest.post(accounts, {"metadata": {"name": name}}).ok()
    token = space.rest.post(f"{accounts}/{name}/token", {"spec": {"expirationSeconds": 3600}}).ok()
    return space.rest.with_token(str(token["status"]["token"]))


def may(space: Space, user: str, verb: str, group: str, resource: str, subresource: str = "") -> bool:
    """Whether the roles of ``user`` allow that in the test's namespace; rights of its groups are left out."""
    attributes = {"namespace": space.name, "verb": verb, "group": group, "resource": resource}
    if subresource:
        attributes["subresource"] = subresource
    return allowed(space.rest, user, **attributes)


def allowed(rest: Rest, user: str, groups: Iterable[str] = (), **attributes: str) -> bool:
    """An access review: whether ``user`` of these groups may do what the resource ``attributes`` say."""
    spec = {"user": user, "groups": list(groups), "resourceAttributes": attributes}
    return bool(rest.post(_REVIEWS, {"spec": spec}).ok()["status"]["allowed"])
