"""Rights beside the three default roles: access reviews, and requests that never reach a guest.

A machine that shall be started and never run is placed on a node that does not exist.
"""

from collections.abc import Iterator

import pytest

from functests.libs import build, patience, roles, settings, undo
from functests.libs.cluster import Cluster
from functests.libs.commands import kubectl
from functests.libs.kube import Space
from functests.libs.rest import VM, VMI, kubevirt_path, subresource_path
from functests.libs.stack import API, NAMESPACE, Stack, log_of
from functests.rbac.test_roles import ACTIONS, ALL, KUBEVIRT, RESOURCES

NOWHERE = "no-such-node"
MIGRATIONS = "virtualmachineinstancemigrations"
CLUSTER_KINDS = ("virtualmachineclusterinstancetypes", "virtualmachineclusterpreferences")
PLAIN, ANONYMOUS = "system:authenticated", "system:unauthenticated"
MAY_MIGRATE = {"verb": "update", "group": roles.SUBRESOURCES, "resource": VM, "subresource": "migrate"}

Attributes = dict[str, str]

pytestmark = pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)


def _everything(space: Space) -> Iterator[tuple[str, Attributes]]:
    """Every right on kubevirt's objects in the test's namespace: (in words, as a review names it)."""
    for resource in RESOURCES:
        for verb in ALL:
            yield f"{verb} {resource}", {
                "namespace": space.name, "group": KUBEVIRT, "resource": resource, "verb": verb,
            }
    for resource, names, verb, _ in ACTIONS:
        for name in names:
            attributes = {"namespace": space.name, "group": roles.SUBRESOURCES, "resource": resource, "verb": verb}
            yield f"{verb} {resource}/{name}", attributes | ({"subresource": name} if name else {})


@pytest.mark.case("RBAC-002")
def test_migrators_and_plain_accounts_may_what_they_need(space: Space) -> None:
    """
    Preconditions: a user whom a RoleBinding gives kubevirt.io:migrate; a user with no binding; nobody at all.
    Steps: ask by access reviews for every right in the namespace, and for what is not in any.
    Expected: the first may migrate machines and do everything with migrations, no more; the second may see the
        installation, the version, guestfs and the cluster's kinds of instance types; the third nothing.
    """
    migrator, _ = roles.user_with(space, "kubevirt.io:migrate", proof=MAY_MIGRATE)
    wrong = []
    for words, attributes in _everything(space):
        wanted = words == f"update {VM}/migrate" or words in {f"{verb} {MIGRATIONS}" for verb in ALL}
        if roles.allowed(space.rest, migrator, **attributes) != wanted:
            wrong.append(f"migrator: {words} is {'denied' if wanted else 'allowed'}")

    plain = [(verb, KUBEVIRT, "kubevirts") for verb in ("get", "list")]
    plain += [(verb, roles.SUBRESOURCES, what) for verb in ("get", "list") for what in ("version", "guestfs")]
    plain += [(verb, "instancetype.kubevirt.io", kind) for verb in ("get", "list", "watch") for kind in CLUSTER_KINDS]
    for verb, group, resource in plain:
        if not roles.allowed(space.rest, "nobody", [PLAIN], verb=verb, group=group, resource=resource):
            wrong.append(f"plain: {verb} {group} {resource} is denied")
    for words, attributes in _everything(space):
        seen = roles.allowed(space.rest, "nobody", [PLAIN], **attributes)
        if seen != (words in ("get kubevirts", "list kubevirts")):
            wrong.append(f"plain: {words} is {'allowed' if seen else 'denied'}")
        if roles.allowed(space.rest, "system:anonymous", [ANONYMOUS], **attributes):
            wrong.append(f"anonymous: {words} is allowed")
    assert not wrong, "\n".join(wrong)


@pytest.mark.case("RBAC-015")
def test_components_hold_no_keys(space: Space) -> None:
    """
    Preconditions: none.
    Steps: ask by access reviews, cluster-wide, for the service accounts of handler, controller and API server.
    Expected: none may read secrets, create bindings or do everything; the handler may not create or delete pods, nor
        create or delete VMIs. What each needs most is allowed, so the reviews see its roles at all.
    """
    needs = {
        "handler": ("update", KUBEVIRT, VMI), "controller": ("create", "", "pods"), "apiserver": ("list", KUBEVIRT, VM),
    }
    denied = [(verb, "", "secrets") for verb in ("get", "list", "watch")]
    denied += [
        ("create", "rbac.authorization.k8s.io", f"{what}bindings") for what in ("role", "clusterrole")
    ] + [("*", "*", "*"), ("escalate", "rbac.authorization.k8s.io", "clusterroles"), ("impersonate", "", "users")]
    more = {"handler": [(verb, group, what) for verb in ("create", "delete", "deletecollection")
                        for group, what in (("", "pods"), (KUBEVIRT, VMI))]}  # fmt: skip
    wrong = []
    for name, needed in needs.items():
        user = f"system:serviceaccount:{NAMESPACE}:kubevirt-{name}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", PLAIN]
        for (verb, group, resource), wanted in [
            (needed, True), *((right, False) for right in (*denied, *more.get(name, ())))
        ]:
            if roles.allowed(space.rest, user, groups, verb=verb, group=group, resource=resource) != wanted:
                wrong.append(f"{name}: {verb} {group} {resource} is {'denied' if wanted else 'allowed'}")
    assert not wrong, "\n".join(wrong)


def _stopped(space: Space, cluster: Cluster, *names: str) -> None:
    """Halted machines that fit on no node."""
    for name in names:
        space.create(build.vm_of(build.on_node(build.kernel_boot_vmi(cluster, name), NOWHERE), "Halted"))


def _strategy(space: Space, name: str) -> str:
    return str(space.vm(name)["spec"]["runStrategy"])


@pytest.mark.case("RBAC-006")
def test_a_right_on_one_machine_is_no_right_on_another(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: two stopped VMs; a user whose role names virtualmachines/start and the first.
    Steps: the user starts both.
    Expected: 202 and started; 403 and still stopped.
    """
    _stopped(space, cluster, "vm-a", "vm-b")
    _, user = roles.user_who_may(space, roles.rule(roles.SUBRESOURCES, f"{VM}/start", "update", names=["vm-a"]))
    taken = user.put(subresource_path(VM, space.name, "vm-a", "start"))
    refused = user.put(subresource_path(VM, space.name, "vm-b", "start"))
    assert (taken.code, refused.code) == (202, 403), (taken.text, refused.text)
    assert _strategy(space, "vm-a") == "Always"
    assert _strategy(space, "vm-b") == "Halted"


@pytest.mark.case("RBAC-010")
def test_the_impersonated_one_counts(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a service account that may impersonate one viewer, one editor, a user without rights and a group
        whose RoleBinding is edit; three stopped VMs.
    Steps: as each of them (kubectl --as for the first two), start a VM; start one as the account itself.
    Expected: refused for the viewer and for the account; 202 for the editor and the group; the user without rights
        alone is refused; virt-api's log names the editor.
    """
    _stopped(space, cluster, "vm", "other", "third")
    viewer, _ = roles.user_with(space, "view")
    editor, _ = roles.user_with(space, "edit")
    group, nobody = f"group-of-{editor}", f"nobody-of-{editor}"
    roles.bind(space, "group", ("Group", group), ("ClusterRole", "edit"))
    actor = roles.account(space, "actor")
    what = f"ft-impersonate-{space.name}"
    rules = [roles.rule("", "users", "impersonate", names=[viewer, editor, nobody]),
             roles.rule("", "groups", "impersonate", names=[group])]  # fmt: skip
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    subject = {"kind": "ServiceAccount", "name": "actor", "namespace": space.name}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": what}
    paths = [f"{rbac}/{kind}/{what}" for kind in ("clusterrolebindings", "clusterroles")]
    notes = [undo.noted(undo.Request(method="DELETE", path=path)) for path in paths]
    try:
        space.rest.post(f"{rbac}/clusterroles", {"metadata": {"name": what}, "rules": rules}).ok()
        binding = {"metadata": {"name": what}, "roleRef": reference, "subjects": [subject]}
        space.rest.post(f"{rbac}/clusterrolebindings", binding).ok()
        start = subresource_path(VM, space.name, "vm", "start")
        patience.eventually(
            "the account may impersonate", lambda: actor.as_user(viewer).get(kubevirt_path(VM, space.name, "vm")).code,
            lambda code: code == 200, within_s=patience.promised(20),
        )  # fmt: skip
        for who, rest in (("viewer", actor.as_user(viewer)), ("account", actor), ("nobody", actor.as_user(nobody))):
            refused = rest.put(start)
            assert refused.code == 403, f"{who}: {refused.code} {refused.text}"
        as_viewer = kubectl(
            cluster, "--as", viewer, "replace", "--raw", start, "-f", "-", input="{}", check=False
        )
        assert as_viewer.code != 0, as_viewer.stdout
        assert viewer in as_viewer.stderr, as_viewer.stderr
        assert _strategy(space, "vm") == "Halted"

        taken = actor.as_user(editor).put(start)
        assert taken.code == 202, taken.text
        kubectl(
            cluster, "--as", editor, "replace", "--raw", subresource_path(VM, space.name, "other", "start"), "-f", "-",
            input="{}",
        )  # fmt: skip
        by_group = actor.as_user(nobody, group=group).put(subresource_path(VM, space.name, "third", "start"))
        assert by_group.code == 202, by_group.text
        assert [_strategy(space, name) for name in ("vm", "other", "third")] == ["Always"] * 3
        lines = [line for line in log_of(space.rest, API, since_s=60).splitlines() if space.name in line]
        assert [line for line in lines if editor in line], lines
    finally:
        for path, note in zip(paths, notes, strict=True):
            space.rest.delete(path)
            note.done()


@pytest.mark.case("RBAC-011")
def test_headers_of_the_front_proxy_are_not_a_users(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a stopped VM; a viewer, and a service account without rights.
    Steps: each sends X-Remote-User and X-Remote-Group of an administrator through kube-apiserver and starts the VM.
    Expected: 403 that names the real sender; the VM is still stopped.
    """
    _stopped(space, cluster, "vm")
    viewer, rest = roles.user_with(space, "view")
    forged = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters", "X-Remote-Extra-Scopes": "all"}
    start = subresource_path(VM, space.name, "vm", "start")
    for name, who in ((viewer, rest), (f"system:serviceaccount:{space.name}:plain", roles.account(space, "plain"))):
        refused = who.request("PUT", start, headers=forged)
        assert refused.code == 403, refused.text
        assert name in refused.message, refused.message
    assert _strategy(space, "vm") == "Halted"


@pytest.mark.serial
@pytest.mark.case("RBAC-016")
def test_roles_are_bound_by_hand_when_the_object_says_so(space: Space, stack: Stack) -> None:
    """
    Preconditions: a user who is admin in a namespace and lists its VMs.
    Steps: set roleAggregationStrategy Manual; set it back.
    Expected: within 30 s the three roles say "false" to aggregation and the user gets 403, while a user whose
        RoleBinding names kubevirt.io:view itself still gets 200; then the admin gets 200 again.
    """
    _, admin = roles.user_with(space, "admin")
    _, direct = roles.user_with(space, "kubevirt.io:view", proof={"verb": "list", "group": KUBEVIRT, "resource": VM})
    listing = kubevirt_path(VM, space.name)
    assert admin.get(listing).code == 200

    def aggregation(name: str) -> str:
        found = stack.rest.get(f"/apis/rbac.authorization.k8s.io/v1/clusterroles/kubevirt.io:{name}").ok()
        return str(found["metadata"]["labels"].get(f"rbac.authorization.k8s.io/aggregate-to-{name}"))

    with settings.changed(stack.rest, {"configuration": {"roleAggregationStrategy": "Manual"}}):
        patience.eventually(
            "an admin may not list VMs", lambda: admin.get(listing).code, lambda code: code == 403
        )
        assert {name: aggregation(name) for name in ("admin", "edit", "view")} == dict.fromkeys(
            ("admin", "edit", "view"), "false"
        )
        assert direct.get(listing).code == 200
        gate = {"disabledFeatureGates": ["OptOutRoleAggregation"]}
        refused = settings.tried(stack.rest, {"configuration": {"developerConfiguration": gate}})
        assert refused.code == 422, refused.text
    patience.eventually(
        "an admin may list VMs again", lambda: admin.get(listing).code, lambda code: code == 200
    )
