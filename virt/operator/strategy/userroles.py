"""The roles that people get: admin, edit and view of KubeVirt's objects, migration, and what every account may read.

The three are aggregated into Kubernetes' roles of the same names, unless the KubeVirt object says that this is done by
hand. KubeVirt: resource/generate/rbac/cluster.go of its operator.
"""

from virt.api import names
from virt.operator.resources import Json
from virt.operator.strategy.rules import CHANGE, EVERYTHING, READ, cluster_role, group_binding, rule

_KV = names.GROUP
_S = names.SUBRESOURCE_GROUP
_VMIS = "virtualmachineinstances"
_VMS = "virtualmachines"
_VMIMS = "virtualmachineinstancemigrations"

_OBJECTS = (_VMS, _VMIS, "virtualmachineinstancepresets", "virtualmachineinstancereplicasets")
_FURTHER = {
    "snapshot.kubevirt.io": (
        "virtualmachinesnapshots", "virtualmachinesnapshotcontents", "virtualmachinerestores"),
    "export.kubevirt.io": ("virtualmachineexports",),
    "clone.kubevirt.io": ("virtualmachineclones",),
    "pool.kubevirt.io": ("virtualmachinepools",),
    "backup.kubevirt.io": ("virtualmachinebackups", "virtualmachinebackuptrackers"),
    "instancetype.kubevirt.io": (
        "virtualmachineinstancetypes", "virtualmachineclusterinstancetypes", "virtualmachinepreferences",
        "virtualmachineclusterpreferences"),
}


def _on(resource: str, *subresources: str) -> tuple[str, ...]:
    return tuple(f"{resource}/{name}" for name in subresources)


_TUNNELS = (*_on(_VMIS, "console", "vnc", "portforward", "usbredir"), *_on(_VMS, "portforward"))
_QUESTIONS = (
    *_on(_VMIS, "guestosinfo", "filesystemlist", "userlist", "sev/fetchcertchain", "sev/querylaunchmeasurement",
         "objectgraph"),
    *_on(_VMS, "objectgraph", "expand-spec"),
)
# kube-apiserver takes the first part of evacuate/cancel for the subresource, virt-api all of it.
_ACTIONS = (
    *_on(_VMIS, "pause", "unpause", "addvolume", "removevolume", "freeze", "unfreeze", "softreboot", "reset",
         "sev/setupsession", "sev/injectlaunchsecret", "evacuate", "evacuate/cancel"),
    *_on(_VMS, "start", "stop", "restart", "addvolume", "removevolume", "memorydump", "removememorydump",
         "evacuate", "evacuate/cancel"),
)


def _shared(verbs: tuple[str, ...]) -> tuple[Json, ...]:
    """What all three roles have, with their own verbs on objects."""
    return (
        rule(_KV, _OBJECTS, verbs),
        *(rule(group, resources, verbs) for group, resources in _FURTHER.items()),
        rule(_KV, (_VMIMS,), READ),
        rule("migrations.kubevirt.io", ("migrationpolicies",), READ),
        rule(_S, _QUESTIONS, ("get",)),
        rule(_S, ("expand-vm-spec",), ("update",)),
    )


def _acting() -> tuple[Json, ...]:
    return (rule(_S, _TUNNELS, ("get",)), rule(_S, _ACTIONS, ("update",)))


_SEES_INSTALLATION = rule(_KV, ("kubevirts",), ("get", "list"))

ADMIN = (*_shared(EVERYTHING), *_acting(), rule(_S, (f"{_VMIS}/vnc/screenshot",), ("get",)))
EDIT = (*_shared(CHANGE), *_acting(), _SEES_INSTALLATION)
VIEW = (*_shared(READ), _SEES_INSTALLATION)
MIGRATE = (rule(_S, (f"{_VMS}/migrate",), ("update",)), rule(_KV, (_VMIMS,), EVERYTHING))
DEFAULT = (_SEES_INSTALLATION, rule(_S, ("version", "guestfs"), ("get", "list")))
CLUSTER_INSTANCETYPES = (
    rule("instancetype.kubevirt.io", ("virtualmachineclusterinstancetypes", "virtualmachineclusterpreferences"), READ),
)

_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
_AUTHENTICATED = "system:authenticated"


def granted() -> tuple[Json, ...]:
    return (*ADMIN, *EDIT, *VIEW, *MIGRATE, *DEFAULT, *CLUSTER_INSTANCETYPES)


def roles(*, aggregate: bool) -> tuple[Json, ...]:
    """``aggregate``: whether whoever has Kubernetes' admin, edit or view has ours too."""
    aggregated = (("admin", ADMIN), ("edit", EDIT), ("view", VIEW))
    return (
        *(
            cluster_role(f"kubevirt.io:{name}", rules, {f"{_AGGREGATE}{name}": str(aggregate).lower()})
            for name, rules in aggregated
        ),
        cluster_role("kubevirt.io:migrate", MIGRATE),
        cluster_role("kubevirt.io:default", DEFAULT),
        cluster_role("instancetype.kubevirt.io:view", CLUSTER_INSTANCETYPES),
    )


def bindings() -> tuple[Json, ...]:
    return (
        group_binding("kubevirt.io:default", _AUTHENTICATED),
        group_binding("instancetype.kubevirt.io:view", _AUTHENTICATED),
    )
