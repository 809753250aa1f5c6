"""Ordinary users: a name that has one of the default roles in one namespace, and nothing else."""

import secrets

from functests.libs import patience
from functests.libs.kube import Space
from functests.libs.rest import Rest

_BINDINGS = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"


def user_with(space: Space, role: str) -> tuple[str, Rest]:
    """A new user whom a RoleBinding gives the ClusterRole ``role`` (admin, edit, view) in the test's namespace.

    Before it is handed out it is shown that the user is not secretly an administrator: it cannot list the secrets of
    another namespace.
    """
    name = f"{role}-{secrets.token_hex(3)}"
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}],
    }
    space.rest.post(_BINDINGS.format(space.name), binding).ok()
    patience.eventually(
        f"kube-apiserver's authorizer knows the binding of {name}", lambda: may(space, name, "get", "", "pods"), bool,
        within_s=20,
    )  # fmt: skip
    rest = space.rest.as_user(name)
    foreign = rest.get("/api/v1/namespaces/kube-system/secrets")
    assert foreign.code == 403, f"{name} may read foreign secrets ({foreign.code}): it proves nothing about {role}"
    return name, rest


def may(space: Space, user: str, verb: str, group: str, resource: str, subresource: str = "") -> bool:
    """Whether the roles of ``user`` allow that in the test's namespace; rights of its groups are left out."""
    attributes = {"namespace": space.name, "verb": verb, "group": group, "resource": resource}
    if subresource:
        attributes["subresource"] = subresource
    review = {"spec": {"user": user, "resourceAttributes": attributes}}
    answer = space.rest.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer.ok()["status"]["allowed"])
