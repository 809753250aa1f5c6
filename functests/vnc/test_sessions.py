"""VNC sessions: many, two at once, as browsers open them, and those that are refused."""

import json
import secrets
import time

import pytest

from functests.libs import build, hardware, launcher, patience
from functests.libs.cluster import Cluster
from functests.libs.console import SUBPROTOCOL, ConsoleRefused
from functests.libs.kube import Object, Space
from functests.libs.launcher import PRIVATE
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, Answer, subresource_path
from functests.libs.vnc import VERSION, Vnc
from virt.api import quantity
from virt.api.quantity import MIB

SESSIONS = 20
BINARY = 2
NO_GRAPHICS, NOT_RUNNING = "No graphics devices are present.", "VMI is not running"
DISPLAY_CONTROLLER = "03"
LOG = "guest-console-log"
NOWHERE = "no-such-node"


def _refused(space: Space, name: str, *, preserve: bool = False) -> tuple[int, str]:
    """Code and message of a refused VNC session; its body must be a Status object."""
    with pytest.raises(ConsoleRefused) as refused:
        Vnc(space.rest, space.name, name, preserve=preserve)
    body = json.loads(refused.value.body)
    assert body["kind"] == "Status", body
    return refused.value.code, str(body["message"])


def _screenshot(space: Space, name: str) -> Answer:
    return space.rest.get(subresource_path(VMI, space.name, name, "vnc/screenshot"))


@pytest.mark.demand(seconds=40)
@pytest.mark.case("VNC-002")
@pytest.mark.case("VNC-003")
@pytest.mark.case("VNC-010")
def test_sessions_come_one_after_the_other(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running guest.
    Steps: open twenty sessions, one after the other, and take a picture in each; open one as a browser does, and one
        without any subprotocol; open a second one beside the first, without and with preserveSession.
    Expected: each of the twenty is over within 3 s; plain.kubevirt.io is named where it was offered, RFB comes in
        binary frames; the second ends the first and draws; with preserveSession the second is refused before the
        upgrade, the first goes on, and when it has closed the second is let in.
    """
    _, _ = space.boot(build.disk_boot_vmi(cluster, "vm"))
    took = []
    for _ in range(SESSIONS):
        began = time.monotonic()
        with Vnc(space.rest, space.name, "vm") as vnc:
            vnc.screen()
        took.append(time.monotonic() - began)
    longest = max(3.0, patience.boot_s() / 2)       # on a machine that others load everything takes longer
    assert max(took) < longest, [f"{seconds:.1f}" for seconds in took]

    offers: tuple[tuple[tuple[str, ...], str], ...] = ((("fantasy.protocol", SUBPROTOCOL), SUBPROTOCOL), ((), ""))
    for offer, named in offers:
        with Vnc(space.rest, space.name, "vm", subprotocols=offer, origin="https://elsewhere.example") as vnc:
            assert (vnc.protocol, vnc.server_version, vnc.opcodes) == (named, VERSION, {BINARY})

    with Vnc(space.rest, space.name, "vm") as first:
        first.screen()
        with Vnc(space.rest, space.name, "vm") as second:
            assert first.ended(within_s=patience.promised(5)), "the first session goes on beside the second"
            assert second.screen().width > 0
            code, message = _refused(space, "vm", preserve=True)
            assert code >= 400, message
            assert second.screen().width > 0, "the session that was to be kept draws no more"

    def let_in() -> int:
        try:
            with Vnc(space.rest, space.name, "vm", preserve=True) as kept:
                return kept.screen().width
        except ConsoleRefused:
            return 0

    assert patience.eventually("the session is free again", let_in, lambda width: width > 0) > 0


@pytest.mark.case("CON-017")
@pytest.mark.case("VNC-008")
def test_a_guest_without_screen_and_log_has_neither(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: none.
    Steps: boot a guest without graphics and without a log of its serial console; ask for VNC and a screenshot; look at
        its pod, its PCI devices and its console.
    Expected: 400 and an error, "No graphics devices are present."; no display device, no VNC socket, 32Mi less memory
        requested than with graphics; no log container and no log file; the console works.
    """
    devices = {"autoattachGraphicsDevice": False, "logSerialConsole": False}
    plain = build.merged(
        build.kernel_boot_vmi(cluster, "vm"), {"spec": {"domain": {"devices": devices}}}
    )
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "usual"), NOWHERE))
    vmi, shell = space.boot(plain)
    assert shell.succeed("echo $((6*7))") == "42"
    code, message = _refused(space, "vm")
    assert (code, NO_GRAPHICS in message) == (400, True), message
    answer = _screenshot(space, "vm")
    assert (answer.code >= 400, NO_GRAPHICS in answer.text) == (True, True), answer.text
    displays = [pci for pci in hardware.pci_devices(shell) if pci.kind.startswith(DISPLAY_CONTROLLER)]
    assert not displays, displays

    pod = launcher.of(space, vmi, nodes)
    files = pod.node.run(f"ls {pod.path(PRIVATE)}/{vmi['metadata']['uid']}").split()
    assert "virt-serial0" in files, files
    assert not [name for name in files if "vnc" in name or "log" in name], files
    names = [entry["name"] for entry in space.pod(vmi)["spec"]["containers"]]
    assert LOG not in names, names
    usual = space.wait_vmi("usual", lambda seen: seen["status"]["phase"] == "Scheduling", "its pod exists")
    assert _requested(space, usual) - _requested(space, vmi) == 32 * MIB
    assert LOG in [entry["name"] for entry in space.pod(usual)["spec"]["containers"]]


def _requested(space: Space, vmi: Object) -> int:
    """Bytes of memory that ``compute`` requests."""
    (compute,) = [entry for entry in space.pod(vmi)["spec"]["containers"] if entry["name"] == "compute"]
    return quantity.integer(compute["resources"]["requests"]["memory"])


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("VNC-009")
def test_a_screen_is_refused_in_plain_words(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that no node takes.
    Steps: ask for VNC and a screenshot of it, and of a VMI that does not exist.
    Expected: 400 and an error, "VMI is not running"; 404 with its name; each before any upgrade, as a Status object.
    """
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "waits"), NOWHERE))
    code, message = _refused(space, "waits")
    assert (code, NOT_RUNNING in message) == (400, True), message
    answer = _screenshot(space, "waits")
    assert (answer.code >= 400, NOT_RUNNING in answer.text) == (True, True), answer.text

    nobody = f"nobody-{secrets.token_hex(3)}"
    code, message = _refused(space, nobody)
    assert (code, nobody in message) == (404, True), message
    answer = _screenshot(space, nobody)
    assert (answer.code, nobody in answer.text) == (404, True), answer.text
