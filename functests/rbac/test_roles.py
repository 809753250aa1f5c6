"""What the default roles allow: as access reviews say it, and as the server does it."""

from collections.abc import Iterator

import pytest

from functests.libs import build, patience, roles
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.rest import VM, VMI, core_path, kubevirt_path, subresource_path

KUBEVIRT = "kubevirt.io"
SUBRESOURCES = "subresources.kubevirt.io"
READ = ("get", "list", "watch")
ALL = (*READ, "create", "update", "patch", "delete", "deletecollection")
WRITE = ALL[:-1]
ROLES = ("admin", "edit", "view")

# Resources of kubevirt.io -> verbs of admin, edit, view.
RESOURCES: dict[str, tuple[tuple[str, ...], ...]] = {
    "virtualmachines": (ALL, WRITE, READ),
    "virtualmachineinstances": (ALL, WRITE, READ),
    "virtualmachineinstancepresets": (ALL, WRITE, READ),
    "virtualmachineinstancereplicasets": (ALL, WRITE, READ),
    "virtualmachineinstancemigrations": (READ, READ, READ),
    # Kubernetes aggregates edit into admin, so that admin has this too (docs/decisions/0041).
    "kubevirts": (("get", "list"),) * 3,
}

# (resource, subresources) -> (the one verb there is, the roles that have it). What is not listed nobody may.
ACTIONS: tuple[tuple[str, tuple[str, ...], str, tuple[str, ...]], ...] = (
    (VMI, ("console", "vnc", "portforward", "usbredir"), "get", ("admin", "edit")),
    (VM, ("portforward",), "get", ("admin", "edit")),
    (VMI, ("vnc/screenshot",), "get", ("admin",)),
    (VMI, ("vsock",), "get", ()),
    (
        VMI,
        (
            "guestosinfo", "filesystemlist", "userlist", "objectgraph", "sev/fetchcertchain",
            "sev/querylaunchmeasurement",
        ),
        "get",
        ROLES,
    ),
    (VM, ("objectgraph", "expand-spec"), "get", ROLES),
    ("expand-vm-spec", ("",), "update", ROLES),
    (
        VMI,
        (
            "pause", "unpause", "addvolume", "removevolume", "freeze", "unfreeze", "softreboot", "reset",
            "sev/setupsession", "sev/injectlaunchsecret", "evacuate/cancel",
        ),
        "update",
        ("admin", "edit"),
    ),
    (
        VM,
        (
            "start", "stop", "restart", "addvolume", "removevolume", "memorydump", "removememorydump",
            "evacuate/cancel",
        ),
        "update",
        ("admin", "edit"),
    ),
    (VM, ("migrate",), "update", ()),
)  # fmt: skip


def _cells(role: str) -> Iterator[tuple[tuple[str, str, str, str], bool]]:
    """Every cell of the table for one role: (verb, group, resource, subresource) and whether it is allowed."""
    for resource, verbs in RESOURCES.items():
        for verb in ALL:
            yield (verb, KUBEVIRT, resource, ""), verb in verbs[ROLES.index(role)]
    for resource, names, verb, allowed in ACTIONS:
        for name in names:
            for asked in ("get", "update"):
                yield (asked, SUBRESOURCES, resource, name), asked == verb and role in allowed


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("RBAC-001")
@pytest.mark.parametrize("role", ROLES)
def test_a_role_allows_what_the_table_says(space: Space, role: str) -> None:
    """
    Preconditions: a user whom a RoleBinding gives the default role in a namespace.
    Steps: ask by access reviews for every resource, verb and subresource.
    Expected: allowed and denied as in the table, cell by cell.
    """
    user, _ = roles.user_with(space, role)
    wrong = [
        f"{verb} {group} {resource}/{subresource}: {'denied' if wanted else 'allowed'}"
        for (verb, group, resource, subresource), wanted in _cells(role)
        if roles.may(space, user, verb, group, resource, subresource) != wanted
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.case("RBAC-004")
def test_the_server_holds_to_the_roles(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a stopped VM; one user with the role view, one with edit.
    Steps: view starts it; edit starts it and opens its console; view reads and deletes the VMI.
    Expected: 403 (or 401) and nothing changed; 202 and a shell; 200 and 403.
    """
    _, viewer = roles.user_with(space, "view")
    _, editor = roles.user_with(space, "edit")
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "Halted"))
    start = subresource_path(VM, space.name, "vm", "start")
    refused = viewer.put(start)
    assert refused.code in (401, 403), refused.text
    assert space.vm("vm")["spec"]["runStrategy"] == "Halted"

    taken = editor.put(start)
    assert taken.code == 202, taken.text
    space.wait_running("vm")
    console = space.console("vm", rest=editor).login(within_s=patience.boots(1))
    assert console.succeed("echo $((7*6))") == "42"

    path = kubevirt_path(VMI, space.name, "vm")
    assert viewer.get(path).code == 200
    assert viewer.get(core_path("secrets", space.name)).code == 403
    deleted = viewer.delete(path)
    assert deleted.code == 403, deleted.text
    assert "deletionTimestamp" not in space.vmi("vm")["metadata"]
