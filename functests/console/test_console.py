"""The serial console: a byte pipe to the guest that belongs to one client at a time."""

import json
import secrets

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console, ConsoleRefused
from functests.libs.kube import Space
from functests.libs.nodes import Nodes


@pytest.mark.case("CON-001")
def test_console_carries_commands_and_their_results(warm_vm: WarmVm) -> None:
    """
    Preconditions: a running guest.
    Steps: compute something, fail a command, send a long command.
    Expected: the guest's own answers and exit statuses; the long command arrives whole.
    """
    shell = warm_vm.shell
    nonce = secrets.token_hex(8)

    assert shell.succeed(f"echo $((6*7))-{nonce}") == f"42-{nonce}"
    assert shell.run("false").code == 1
    long = "x" * 200
    assert shell.succeed(f"echo {long} | wc -c") == "201"


@pytest.mark.case("CON-003")
def test_a_second_console_takes_over_from_the_first(warm_vm: WarmVm) -> None:
    """
    Preconditions: a running guest with an open console.
    Steps: open a second console, then a third.
    Expected: each new one ends the one before cleanly within 5 s, and has the shell.
    """
    space, first = warm_vm.space, warm_vm.shell

    second = space.shell("vm")
    first.wait_closed(within_s=patience.promised(5))
    assert first.close_code == 1000, f"the first console ended with {first.close_code}"
    assert second.succeed("echo $((1+1))") == "2"

    third = space.shell("vm")
    second.wait_closed(within_s=patience.promised(5))
    assert third.succeed("echo $((2+2))") == "4"


def _refusal(space: Space, name: str) -> tuple[int, str]:
    """Code and message of a refused console; its body must be a Status object with the same code."""
    with pytest.raises(ConsoleRefused) as refused:
        Console(space.rest, space.name, name)
    body = json.loads(refused.value.body)
    assert (body["kind"], body["code"]) == ("Status", refused.value.code), body
    return refused.value.code, str(body["message"])


def _first_console(space: Space, name: str) -> tuple[Console, set[int]]:
    """As virtctl does it: again and again while the answer is 400. Returns the codes that were seen before."""
    codes: set[int] = set()

    def attempt() -> Console | None:
        try:
            return space.console(name)
        except ConsoleRefused as refused:
            codes.add(refused.code)
            return None

    console = patience.eventually(
        f"a console of {name}", attempt, lambda seen: seen is not None, stop=lambda _: bool(codes - {400}), every_s=1
    )
    assert console is not None
    return console, codes


@pytest.mark.demand(vcpus=2, boots=2)
@pytest.mark.case("CON-006")
def test_a_console_is_refused_in_plain_words(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: none.
    Steps: ask for the console of VMIs that are unscheduled, starting (again while it says 400), Succeeded, Failed,
        unknown.
    Expected: 400 "VMI is not running", then the console, 400, 409 "VMI is in failed status", 404; each a Status object.
    """
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "unscheduled"), "no-such-node"))
    # In this order: the last one's console is asked for before it can have started.
    for name in ("crashes", "ends"):
        space.create(build.kernel_boot_vmi(cluster, name))
    console, codes = _first_console(space, "ends")
    # Nothing but 400 on the way: a guest that was quicker than this process answers at once.
    assert codes <= {400}, f"the console of a starting VMI answered {codes}"
    code, message = _refusal(space, "unscheduled")
    assert (code, "VMI is not running" in message) == (400, True), message

    console.login(within_s=patience.boots(2)).send("poweroff -f\n")
    crashing = space.wait_running("crashes")
    qemu = nodes[crashing["status"]["nodeName"]].qemu(space.pod(crashing)["metadata"]["uid"])
    nodes[crashing["status"]["nodeName"]].run(f"kill -9 {qemu.pid}")
    space.wait_vmi("ends", lambda vmi: vmi["status"]["phase"] == "Succeeded", "Succeeded", may_end=True)
    space.wait_vmi("crashes", lambda vmi: vmi["status"]["phase"] == "Failed", "Failed", may_end=True)
    assert _refusal(space, "ends")[0] == 400
    code, message = _refusal(space, "crashes")
    assert (code, "VMI is in failed status" in message) == (409, True), message
    code, message = _refusal(space, "nobody")
    assert (code, "nobody" in message) == (404, True), message
