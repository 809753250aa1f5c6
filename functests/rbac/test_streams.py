"""Who may open a guest's streams: by role, by subresource, and from which moment on."""

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import patience, roles
from functests.libs.console import ConsoleRefused, open_socket
from functests.libs.kube import Space
from functests.libs.rest import VMI, Rest, kubevirt_path, subresource_path

STREAMS = ("console", "vnc", "portforward/22")
REFUSED = (401, 403)
PNG = b"\x89PNG\r\n\x1a\n"


def _opened(rest: Rest, space: Space, stream: str) -> int:
    """101 when the stream opens, and it is closed again; else the code of the refusal."""
    try:
        open_socket(rest, subresource_path(VMI, space.name, "vm", stream)).close()
    except ConsoleRefused as refused:
        return refused.code
    return 101


def _reachable(space: Space) -> None:
    """Until the guest's SSH server can be reached, by the administrator."""
    patience.eventually(
        "the guest's port 22 can be reached", lambda: _opened(space.rest, space, "portforward/22"),
        lambda code: code == 101,
    )  # fmt: skip


def _picture(rest: Rest, space: Space) -> tuple[int, bytes]:
    """Code of a screenshot and the first bytes of its body."""
    settings = rest.api.configuration
    answer = rest.api.rest_client.pool_manager.request(
        "GET", settings.host + subresource_path(VMI, space.name, "vm", "vnc/screenshot"), headers=rest.identity(),
        retries=False, timeout=40,
    )  # fmt: skip
    return int(answer.status), bytes(answer.data[: len(PNG)])


@pytest.mark.case("RBAC-005")
def test_streams_open_to_those_whose_role_has_them(warm_vm: WarmVm) -> None:
    """
    Preconditions: a running guest; a user each with view, edit and admin.
    Steps: each opens console, VNC and a forwarded port, and takes a screenshot.
    Expected: view is refused before any upgrade; edit opens all three and gets no screenshot; admin gets a PNG too.
    """
    space = warm_vm.space
    warm_vm.shell.close()
    _reachable(space)
    users = {role: roles.user_with(space, role)[1] for role in ("view", "edit", "admin")}
    seen = {role: [_opened(rest, space, stream) for stream in STREAMS] for role, rest in users.items()}
    assert all(code in REFUSED for code in seen["view"]), seen
    assert (seen["edit"], seen["admin"]) == ([101] * 3, [101] * 3), seen
    pictures = {role: _picture(rest, space) for role, rest in users.items()}
    assert pictures["view"][0] in REFUSED, pictures
    assert pictures["edit"][0] in REFUSED, pictures
    assert pictures["admin"] == (200, PNG), pictures


@pytest.mark.case("RBAC-007")
@pytest.mark.case("RBAC-008")
@pytest.mark.case("RBAC-017")
def test_a_stream_needs_its_own_right_and_no_other(warm_vm: WarmVm) -> None:
    """
    Preconditions: a running guest; users with one right each: the console; reading VMIs; forwarding ports; forwarding
        "portforward/22", which is no subresource.
    Steps: each opens the console and reads the VMI, the last two forward ports; a binding is added for a user without
        one, and taken away again.
    Expected: a right gives what it says and nothing else; a port or protocol needs no right of its own; a new binding
        opens the console within 5 s and its removal closes it to new connections within 5 s; the same guest goes on.
    """
    space, vmi, shell = warm_vm.space, warm_vm.vmi, warm_vm.shell
    same = shell.succeed("cat /proc/sys/kernel/random/boot_id")
    shell.close()
    _reachable(space)
    path = kubevirt_path(VMI, space.name, "vm")

    _, consoles = roles.user_who_may(space, roles.rule(roles.SUBRESOURCES, f"{VMI}/console", "get"))
    assert consoles.get(path).code == 403
    assert _opened(consoles, space, "console") == 101
    assert _opened(consoles, space, "vnc") in REFUSED

    _, reader = roles.user_who_may(space, roles.rule("kubevirt.io", VMI, "get"))
    assert reader.get(path).code == 200
    assert _opened(reader, space, "console") in REFUSED

    _, forwarder = roles.user_who_may(space, roles.rule(roles.SUBRESOURCES, f"{VMI}/portforward", "get"))
    _, narrow = roles.user_who_may(space, roles.rule(roles.SUBRESOURCES, f"{VMI}/portforward/22", "get"))
    ports = ("portforward/22", "portforward/22/tcp", "portforward/9/udp")
    codes = {port: (_opened(forwarder, space, port), _opened(narrow, space, port)) for port in ports}
    assert all(wide not in REFUSED and tight in REFUSED for wide, tight in codes.values()), codes
    assert codes["portforward/22"][0] == codes["portforward/22/tcp"][0] == 101, codes

    user = f"late-{space.name}"
    late = space.rest.as_user(user)
    assert _opened(late, space, "console") in REFUSED
    roles.bind(space, "late", ("User", user), ("ClusterRole", "edit"))
    patience.eventually(
        "the console opens", lambda: _opened(late, space, "console"), lambda code: code == 101
    )
    roles.unbind(space, "late")
    patience.eventually(
        "the console is refused", lambda: _opened(late, space, "console"), lambda code: code in REFUSED
    )
    assert space.vmi("vm")["metadata"]["uid"] == vmi["metadata"]["uid"]
    assert space.shell("vm").succeed("cat /proc/sys/kernel/random/boot_id") == same
