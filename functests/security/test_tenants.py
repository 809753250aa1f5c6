"""Two tenants of one cluster: what one may do to the other's guests is nothing."""

import http.client
import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from functests.libs import build, namespaces, patience, roles
from functests.libs.cluster import Cluster
from functests.libs.console import ConsoleRefused, open_socket
from functests.libs.kube import Space, is_running
from functests.libs.rest import VM, VMI, Rest, core_path, kubevirt_path, subresource_path
from functests.libs.witness import Witness

MIGRATIONS = "virtualmachineinstancemigrations"


@contextmanager
def _namespace(admin: Rest) -> Iterator[Space]:
    """A second namespace; its guests are gone when it is left."""
    name = f"ft-tenant-{secrets.token_hex(4)}"
    namespaces.create(admin, name, namespaces.RESTRICTED)
    space = Space(admin, name)
    try:
        yield space
    finally:
        for console in space.opened:
            console.close()
        for plural in (VM, VMI):
            for item in admin.get(kubevirt_path(plural, name)).ok()["items"]:
                admin.delete(kubevirt_path(plural, name, item["metadata"]["name"]))
        patience.eventually(
            f"no guest is left in {name}", lambda: admin.get(kubevirt_path(VMI, name)).ok()["items"],
            lambda left: not left, within_s=patience.promised(60),
        )  # fmt: skip
        admin.delete(f"/api/v1/namespaces/{name}")


def _opened(rest: Rest, path: str) -> int:
    """101 for a WebSocket that was opened, else the refusal's code."""
    try:
        open_socket(rest, path).close()
    except ConsoleRefused as refused:
        return refused.code
    return 101


def _tries(rest: Rest, namespace: str, name: str) -> dict[str, int]:
    """Everything that a tenant does with guests, in ``namespace``: what -> status code."""
    def vmi(verb: str) -> str:
        return subresource_path(VMI, namespace, name, verb)

    def vm(verb: str) -> str:
        return subresource_path(VM, namespace, name, verb)

    expand = f"/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/expand-vm-spec"
    migration = {"metadata": {"generateName": "try-"}, "spec": {"vmiName": name}}
    return {
        "console": _opened(rest, vmi("console")),
        "vnc": _opened(rest, vmi("vnc")),
        "portforward": _opened(rest, vmi("portforward/22")),
        "pause": rest.put(vmi("pause")).code,
        "unpause": rest.put(vmi("unpause")).code,
        "guestosinfo": rest.get(vmi("guestosinfo")).code,
        "read the VM": rest.get(kubevirt_path(VM, namespace, name)).code,
        "change the VM": rest.patch(
            kubevirt_path(VM, namespace, name), {"metadata": {"annotations": {"a": "b"}}}).code,
        "list the VMIs": rest.get(kubevirt_path(VMI, namespace)).code,
        "migrate": rest.put(vm("migrate")).code,
        "create a migration": rest.post(kubevirt_path(MIGRATIONS, namespace) + "?dryRun=All", migration).code,
        "expand": rest.put(expand, {"kind": "VirtualMachine", "metadata": {"namespace": namespace}}).code,
        "stop": rest.put(vm("stop")).code,
    }


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2)
@pytest.mark.case("SEC-023")
def test_a_tenant_cannot_touch_anothers_guests(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: namespaces t1 and t2, a running VM of the same name in each; a user with the role admin in t1 alone;
        a claim and a secret in t2.
    Steps: the user does everything that may be done to guests in t2, to a guest that exists and to one that does not;
        then in t1; it names t2's claim and secret in a VM of t1.
    Expected: refusals only, the same for both names; t2's VM and VMI have the resource versions that they had; in t1
        all that the role allows succeeds; the VM of t1 does not get at the claim, nor at the secret.
    """
    with _namespace(space.rest) as own:
        for place in (space, own):
            vm = build.vm_of(build.kernel_boot_vmi(cluster, "vm", kernel_args="tiny.agent=0"))
            place.create(vm)
        for place in (space, own):
            place.wait_running("vm")
            place.shell("vm", boots=2).close()
            place.wait_condition("vm", "Ready", "True")
        space.rest.post(core_path("persistentvolumeclaims", space.name), build.pvc("theirs")).ok()
        secret = {"metadata": {"name": "theirs"}, "stringData": {"userdata": "#cloud-config\n"}}
        space.rest.post(core_path("secrets", space.name), secret).ok()
        before = _settled(space)
        _, tenant = roles.user_with(own, "admin")

        there = _tries(tenant, space.name, "vm")
        assert set(there.values()) <= {401, 403}, there
        assert _tries(tenant, space.name, "nothing") == there, "refusals tell whether the guest exists"
        assert _versions(space) == before

        here = _tries(tenant, own.name, "vm")
        refused = {what: code for what, code in here.items() if code in (401, 403)}
        # Migrations belong to a role of their own.
        assert set(refused) <= {"migrate", "create a migration"}, here
        assert {here[what] for what in ("console", "vnc")} == {101}, here
        assert (here["read the VM"], here["change the VM"], here["stop"]) == (200, 200, 202), here

        thief = build.with_disk(
            build.kernel_boot_vmi(cluster, "thief", memory="64Mi"), "data",
            {"persistentVolumeClaim": {"claimName": "theirs"}})
        seeded = build.with_disk(
            build.kernel_boot_vmi(cluster, "reader", memory="64Mi"), "seed",
            {"cloudInitNoCloud": {"secretRef": {"name": "theirs"}}})
        for manifest in (thief, seeded):
            answer = tenant.post(kubevirt_path(VMI, own.name), manifest)
            assert answer.code == 201, answer.text
        patience.quiet(
            "a VMI with foreign data runs", lambda: [is_running(own.vmi(name)) for name in ("thief", "reader")],
            any, for_s=8,
        )  # fmt: skip


def _versions(space: Space) -> dict[str, str]:
    objects = {"VM": space.vm("vm"), "VMI": space.vmi("vm")}
    return {kind: found["metadata"]["resourceVersion"] for kind, found in objects.items()}


def _settled(space: Space) -> dict[str, str]:
    """Resource versions once nobody writes any more: the last conditions of a start come a moment later."""
    seen = [_versions(space)]

    def again() -> bool:
        seen.append(_versions(space))
        return len(seen) > 8 and len({str(versions) for versions in seen[-8:]}) == 1

    patience.eventually("nobody writes to t2's VM any more", again, bool)
    return seen[-1]


def _paths(namespace: str, foreign: str) -> tuple[str, ...]:
    """URLs that might lead somewhere else than they seem to."""
    vmis = f"/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachineinstances"
    return (
        f"{vmis}/%2e%2e%2f%2e%2e%2f{foreign}%2fvirtualmachineinstances%2fvm/console",
        f"{vmis}/..%2f..%2f{foreign}%2fvirtualmachineinstances%2fvm/pause",
        f"{vmis}/vm%2fpause",
        f"{vmis}/vm%2f..%2f..%2f..%2f{foreign}/pause",
        f"{vmis}//vm/pause",
        f"{vmis}/vm//pause",
        f"{vmis}/vm/pause/extra",
        f"{vmis}/vm/console/../../../{foreign}/virtualmachineinstances/vm/pause",
        f"/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/../{foreign}/virtualmachineinstances/vm/pause",
        f"/apis/subresources.kubevirt.io/v1/namespaces/{namespace}%2f..%2f{foreign}/virtualmachineinstances/vm/pause",
        f"{vmis}/{'v' * 4096}/pause",
        f"{vmis}/vm%00/pause",
        f"{vmis}/vm%0d%0aX-Remote-User:%20admin/pause",
        f"{vmis}/vm/portforward/%D9%A8%D9%A0",
        f"{vmis}/vm/portforward/22/../../../{foreign}",
        f"{vmis}/vm/portforward/99999",
    )


@pytest.mark.demand(boots=1)
@pytest.mark.case("SEC-024")
def test_tricky_paths_lead_nowhere(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI (the victim); a user with the role admin in another namespace, which has none.
    Steps: the user sends subresource URLs with encoded and plain dots and slashes, extra parts, 4 KiB of name, NUL,
        line ends and digits of other scripts, by PUT, GET and as WebSockets.
    Expected: 400, 401, 403, 404, 405 or 414 each time, never a success, an upgrade or a 5xx; the victim is as it was.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm", kernel_args="tiny.agent=0"))
    space.wait_condition("vm", "Ready", "True")
    witness = Witness(shell)
    before = space.vmi("vm")["spec"], space.vmi("vm")["status"]["phase"]
    with _namespace(space.rest) as own:
        _, tenant = roles.user_with(own, "admin")
        wrong = []
        for path in _paths(own.name, space.name):
            answers = {method: _sent(tenant, method, path) for method in ("PUT", "GET")}
            answers["WebSocket"] = _opened(tenant, path)
            for way, code in answers.items():
                if code not in (400, 401, 403, 404, 405, 414):
                    wrong.append(f"{way} {path[:150]}: {code}")
        assert not wrong, "\n".join(wrong)
    assert (space.vmi("vm")["spec"], space.vmi("vm")["status"]["phase"]) == before
    witness.check()


def _sent(rest: Rest, method: str, path: str) -> int:
    """The code of a request whose path is sent as it is: a client library would tidy it up."""
    settings = rest.api.configuration
    place = urlsplit(settings.host)
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    if settings.cert_file:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    connection = http.client.HTTPSConnection(str(place.hostname), place.port, context=context, timeout=30)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {**rest.identity(), "Content-Length": "0"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()
