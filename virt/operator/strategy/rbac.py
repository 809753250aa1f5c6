"""Service accounts of the components and what each may do; the default roles of users are in ``userroles``."""

from virt.api import names
from virt.operator.resources import Json
from virt.operator.strategy import userroles
from virt.operator.strategy.rules import (
    EVERYTHING,
    READ,
    cluster_binding,
    cluster_role,
    role,
    role_binding,
    rule,
    service_account,
)

_KV = names.GROUP
_S = names.SUBRESOURCE_GROUP
_VMS, _VMIS = "virtualmachines", "virtualmachineinstances"
_VMIMS = "virtualmachineinstancemigrations"
_CNI, _ATTACHMENTS = "k8s.cni.cncf.io", "network-attachment-definitions"
_AUTH_CONFIG = "extension-apiserver-authentication"     # the CA of kube-apiserver's front proxy, in kube-system
AUTH_DELEGATOR = "system:auth-delegator"

_ACCOUNTS = (names.API_ACCOUNT, names.CONTROLLER_ACCOUNT, names.HANDLER_ACCOUNT)


def api_rules() -> tuple[Json, ...]:
    return (
        rule(_KV, (_VMS, _VMIS), (*READ, "patch", "update")),
        rule(_KV, (f"{_VMS}/status",), ("patch",)),
        rule(_KV, (_VMIMS,), ("create", *READ, "patch")),
        rule(_KV, ("kubevirts",), READ),
        rule("", ("pods",), ("get", "list", "watch", "patch", "delete")),
        rule("", ("persistentvolumeclaims", "configmaps", "namespaces", "nodes", "resourcequotas"), READ),
        rule("", ("events",), ("create", "patch")),
        rule("apps", ("controllerrevisions",), ("create", *READ)),
        rule("apiextensions.k8s.io", ("customresourcedefinitions",), READ),
    )


def controller_rules() -> tuple[Json, ...]:
    return (
        rule("", ("pods", "configmaps", "services", "endpoints"), EVERYTHING),
        rule("", ("pods/eviction",), ("create",)),
        rule("", ("pods/status", "pods/finalizers"), ("patch", "update")),
        rule("", ("events",), ("create", "patch", "update")),
        rule("", ("nodes",), (*READ, "patch", "update")),
        rule("", ("namespaces", "persistentvolumes", "resourcequotas"), READ),
        rule("", ("persistentvolumeclaims",), EVERYTHING),
        rule("storage.k8s.io", ("storageclasses",), READ),
        rule("policy", ("poddisruptionbudgets",), EVERYTHING),
        rule("apps", ("controllerrevisions",), EVERYTHING),
        rule(_KV, ("*",), EVERYTHING),
        rule(_S, (f"{_VMS}/stop",), ("update",)),
        rule(_S, tuple(f"{_VMIS}/{verb}" for verb in ("pause", "unpause", "addvolume", "removevolume", "freeze",
                                                      "unfreeze", "softreboot", "reset")), ("update",)),
        rule("migrations.kubevirt.io", ("migrationpolicies",), READ),
        rule(_CNI, (_ATTACHMENTS,), READ),
        rule("cdi.kubevirt.io", ("*",), EVERYTHING),
        rule("snapshot.storage.k8s.io", ("volumesnapshots",), (*READ, "create", "update", "patch", "delete")),
        rule("snapshot.storage.k8s.io", ("volumesnapshotclasses", "volumesnapshotcontents"), READ),
        rule("authorization.k8s.io", ("subjectaccessreviews",), ("create",)),
        rule("apiextensions.k8s.io", ("customresourcedefinitions",), READ),
    )


def handler_rules() -> tuple[Json, ...]:
    return (
        # Writes of all components are patches, so "patch" goes with "update".
        rule(_KV, (_VMIS,), (*READ, "patch", "update")),
        rule(_KV, (_VMIMS, "kubevirts"), READ),
        rule("", ("nodes",), (*READ, "patch")),
        rule("", ("pods",), READ),
        rule(_CNI, (_ATTACHMENTS,), READ),
        rule("", ("events",), ("create", "patch")),
        rule("apiextensions.k8s.io", ("customresourcedefinitions",), READ),
    )


def _lease_rules() -> tuple[Json, ...]:
    return (rule("coordination.k8s.io", ("leases",), (*READ, "create", "update", "patch", "delete")),)


def _handler_role_rules() -> tuple[Json, ...]:
    return (rule("", ("configmaps",), READ),)


def _auth_config_rules() -> tuple[Json, ...]:
    return (rule("", ("configmaps",), READ, only=(_AUTH_CONFIG,)),)


def granted() -> tuple[Json, ...]:
    """All rules that :func:`roles` gives away: kube-apiserver lets the operator grant only what it holds itself."""
    return (
        *api_rules(), *controller_rules(), *handler_rules(), *_lease_rules(), *_handler_role_rules(),
        *_auth_config_rules(), *userroles.granted(),
    )


def accounts(namespace: str) -> tuple[Json, ...]:
    return tuple(service_account(name, namespace) for name in _ACCOUNTS)


def roles(namespace: str, *, aggregate: bool = True) -> tuple[Json, ...]:
    """Cluster roles and roles. ``aggregate`` as in :func:`userroles.roles`."""
    return (
        cluster_role(names.API_ACCOUNT, api_rules()),
        cluster_role(names.CONTROLLER_ACCOUNT, controller_rules()),
        cluster_role(names.HANDLER_ACCOUNT, handler_rules()),
        role(names.API_ACCOUNT, "kube-system", _auth_config_rules()),
        role(names.CONTROLLER_ACCOUNT, namespace, _lease_rules()),
        role(names.HANDLER_ACCOUNT, namespace, _handler_role_rules()),
        *userroles.roles(aggregate=aggregate),
    )


def bindings(namespace: str) -> tuple[Json, ...]:
    """The roles have to be there before: kube-apiserver looks at what a binding would give away."""
    return (
        *(cluster_binding(account, account, (account, namespace)) for account in _ACCOUNTS),
        cluster_binding(f"{names.API_ACCOUNT}-auth-delegator", AUTH_DELEGATOR, (names.API_ACCOUNT, namespace)),
        role_binding(names.API_ACCOUNT, "kube-system", (names.API_ACCOUNT, namespace)),
        role_binding(names.CONTROLLER_ACCOUNT, namespace, (names.CONTROLLER_ACCOUNT, namespace)),
        role_binding(names.HANDLER_ACCOUNT, namespace, (names.HANDLER_ACCOUNT, namespace)),
        *userroles.bindings(),
    )
