"""Streams to a guest: how they are opened, refused, kept and given up, and what passes through a forwarded port."""

import hashlib
import secrets
import time

import pytest
import websocket

from functests.fixtures.warm import WarmVm
from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.console import SUBPROTOCOL, ConsoleRefused, open_socket
from functests.libs.kube import Space
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import VM, VMI, subresource_path
from functests.libs.stack import Stack
from functests.libs.vnc import Vnc

ECHO_PORT = 7007
CLOSED_PORT = 9


def _refused(space: Space, plural: str, name: str, stream: str) -> tuple[int, str]:
    """Code and body of an upgrade that must be refused."""
    with pytest.raises(ConsoleRefused) as refused:
        open_socket(space.rest, subresource_path(plural, space.name, name, stream))
    return refused.value.code, refused.value.body


def _first_bytes(socket: websocket.WebSocket, wanted: bytes, typed: str = "", *, within_s: float) -> None:
    """Read until ``wanted`` has come. ``typed`` is sent, and again every three seconds: a shell that has just asked its
    terminal where the cursor is takes what comes for the answer."""
    deadline, seen = time.monotonic() + within_s, b""
    while wanted not in seen:
        assert time.monotonic() < deadline, f"{wanted!r} did not come in {within_s:.0f} s, only {seen!r}"
        if typed:
            socket.send_binary(typed.encode())
        socket.settimeout(3 if typed else within_s)
        try:
            while wanted not in seen:
                seen += socket.recv_data()[1]
        except websocket.WebSocketTimeoutException:
            continue


@pytest.mark.case("SUB-012")
@pytest.mark.parametrize("stream", ["console", "vnc"])
def test_a_subprotocol_is_echoed_when_it_is_offered(warm_vm: WarmVm, stream: str) -> None:
    """
    Preconditions: a running guest.
    Steps: open the stream without a subprotocol; with [fantasy, plain.kubevirt.io] and an Origin.
    Expected: both open; only the second answer names plain.kubevirt.io; the shell answers, or RFB begins.
    """
    space = warm_vm.space
    warm_vm.shell.close()
    path = subresource_path(VMI, space.name, "vm", stream)
    for offered, echoed in (((), None), (("fantasy", SUBPROTOCOL), SUBPROTOCOL)):
        socket = open_socket(space.rest, path, subprotocols=offered)    # the library sends an Origin of its own
        try:
            assert socket.getstatus() == 101
            headers = {name.lower(): value for name, value in (socket.getheaders() or {}).items()}
            assert headers.get("sec-websocket-protocol") == echoed, headers
            if stream == "console":
                marker = secrets.token_hex(4)
                typed = f"\necho sh''ell-{marker}\n"
                _first_bytes(socket, f"\nshell-{marker}".encode(), typed, within_s=patience.boots(1))
            else:
                _first_bytes(socket, b"RFB 003.", within_s=patience.boots(1))
        finally:
            socket.close()


@pytest.mark.demand(boots=1)
@pytest.mark.case("SUB-013")
def test_guests_that_do_not_run_have_no_streams(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI that fits on no node; a stopped VM; a VMI whose QEMU is killed.
    Steps: ask the first for console and VNC, the second for a forwarded port, the failed one for its console.
    Expected: 400, 400, 409, 409; none is upgraded; each a Status object.
    """
    nowhere = build.on_node(build.kernel_boot_vmi(cluster, "waiting"), "no-such-node")
    space.create(nowhere)
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "stopped"), "Halted"))
    space.create(build.kernel_boot_vmi(cluster, "failed"))
    vmi = space.wait_running("failed")
    node = nodes[vmi["status"]["nodeName"]]
    node.run(f"kill -9 {node.qemu(space.pod(vmi)['metadata']['uid']).pid}")
    space.wait_vmi("failed", lambda seen: seen["status"]["phase"] == "Failed", "failed", may_end=True)
    seen = [
        _refused(space, VMI, "waiting", "console"), _refused(space, VMI, "waiting", "vnc"),
        _refused(space, VM, "stopped", "portforward/22"), _refused(space, VMI, "failed", "console"),
    ]
    assert [code for code, _ in seen] == [400, 400, 409, 409], seen
    assert all('"kind":"Status"' in body.replace(" ", "") for _, body in seen), seen


@pytest.mark.case("SUB-013")
def test_guests_that_cannot_serve_a_stream_refuse_it(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI without serial console and graphics.
    Steps: ask for console and VNC; pause it and ask for a forwarded port.
    Expected: 400, 400, 409; each a Status object.
    """
    devices = {"autoattachSerialConsole": False, "autoattachGraphicsDevice": False}
    space.create(build.merged(build.kernel_boot_vmi(cluster, "vm"), {"spec": {"domain": {"devices": devices}}}))
    space.wait_running("vm")
    seen = [_refused(space, VMI, "vm", "console"), _refused(space, VMI, "vm", "vnc")]
    assert space.act_on_vmi("vm", "pause").code == 200
    space.wait_condition("vm", "Paused", "True")
    seen.append(_refused(space, VMI, "vm", "portforward/22"))
    assert [code for code, _ in seen] == [400, 400, 409], seen
    assert all('"kind":"Status"' in body.replace(" ", "") for _, body in seen), seen


@pytest.mark.case("SUB-014")
def test_a_vnc_session_is_kept_or_given_up(warm_vm: WarmVm) -> None:
    """
    Preconditions: a running guest with an open VNC session. (The console's side of it is CON-003.)
    Steps: connect again with preserveSession=true, then without.
    Expected: refused, and the first still answers with a picture; connected, and the first is closed within 5 s.
    """
    space = warm_vm.space
    path = subresource_path(VMI, space.name, "vm", "vnc")
    with Vnc(space.rest, space.name, "vm") as first:
        before = first.screen()
        with pytest.raises(ConsoleRefused) as refused:
            open_socket(space.rest, f"{path}?preserveSession=true")
        assert refused.value.code >= 400, refused.value
        after = first.screen()
        assert (after.width, after.height) == (before.width, before.height)
        with Vnc(space.rest, space.name, "vm") as second:
            first.wait_closed(within_s=patience.promised(5))
            assert second.screen().width > 0


def _descriptors(node: Node, pod_uid: str, word: str) -> int:
    """How many files the pod's one process with that word in its command line has open."""
    (process,) = (
        found for found in node.processes(pod_uid) if word in found.argv and found.argv[0].endswith("python3")
    )
    return int(node.run(f"ls /proc/{process.pid}/fd | wc -l"))


@pytest.mark.serial
@pytest.mark.demand(seconds=40)
@pytest.mark.case("SUB-017")
def test_dropped_sessions_leave_nothing_open(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running guest.
    Steps: thirty times: connect to VNC, shake hands, drop the connection, every second time without a close frame.
    Expected: each handshake within 5 s; then node agent and launcher have as many open files as before, two at most
        more or less.
    """
    vmi, _ = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    for console in space.opened:
        console.close()
    node = stack.nodes[vmi["status"]["nodeName"]]
    handler, launcher = stack.handler(node.name)["metadata"]["uid"], space.pod(vmi)["metadata"]["uid"]

    def opened() -> tuple[int, int]:
        return _descriptors(node, handler, "virt.cli.handler"), _descriptors(node, launcher, "virt.cli.launcher")

    with Vnc(space.rest, space.name, "vm"):
        pass                    # what is opened once and kept is not counted
    before = opened()
    slow = []
    for number in range(30):
        started = time.monotonic()
        session = Vnc(space.rest, space.name, "vm")
        took = time.monotonic() - started
        slow += [f"{number}: {took:.1f} s"] if took > 5 else []
        session.drop() if number % 2 else session.close()
    assert not slow, slow
    patience.eventually(
        f"open files of node agent and launcher are {before} again, or nearly", opened,
        lambda now: all(abs(one - other) <= 2 for one, other in zip(now, before, strict=True)),
    )  # fmt: skip


@pytest.mark.demand(seconds=140)
@pytest.mark.case("SUB-015")
def test_a_silent_stream_stays_open(warm_vm: WarmVm) -> None:
    """
    Preconditions: a running guest with an open console and an open VNC session.
    Steps: say nothing for 120 s; then type a command, and ask for a picture.
    Expected: the console was not closed meanwhile; both answer on the connection that was opened first.
    """
    space, shell = warm_vm.space, warm_vm.shell
    with Vnc(space.rest, space.name, "vm") as vnc:
        before = vnc.screen()
        patience.quiet("the console is closed", lambda: shell.closed, bool, for_s=120)
        assert shell.succeed("echo $((6*7))") == "42"
        assert vnc.screen().width == before.width


@pytest.mark.case("SUB-018")
def test_a_forwarded_port_carries_bytes_or_says_why_not(warm_vm: WarmVm) -> None:
    """
    Preconditions: a running guest with an echo server on one port and nothing on another.
    Steps: forward ports abc, 0, 70000 and protocol sctp; the closed port; send 1 MiB through the open one and wait;
        leave another connection to it without an answer to its pings.
    Expected: 400 or 404; 500 "dialing VM"; the same MiB comes back and a ping every second; the silent one is dropped
        after about a minute.
    """
    space, shell = warm_vm.space, warm_vm.shell
    shell.succeed(f"(witness tcp-echo {ECHO_PORT} > /tmp/echo.log 2>&1 &)")
    path = f"portforward/{ECHO_PORT}"

    def opened() -> int:
        try:
            open_socket(space.rest, subresource_path(VMI, space.name, "vm", path)).close()
        except ConsoleRefused as refused:
            return refused.code
        return 101

    patience.eventually("the echo server can be reached", opened, lambda code: code == 101)
    bad = {part: _refused(space, VMI, "vm", f"portforward/{part}")[0] for part in ("abc", "0", "70000", "22/sctp")}
    assert set(bad.values()) <= {400, 404}, bad
    code, body = _refused(space, VMI, "vm", f"portforward/{CLOSED_PORT}")
    assert (code, "dialing VM" in body) == (500, True), body

    sent = secrets.token_bytes(1 << 20)
    silent = open_socket(space.rest, subresource_path(VMI, space.name, "vm", path))
    silent_since = time.monotonic()
    socket = open_socket(space.rest, subresource_path(VMI, space.name, "vm", path))
    try:
        got = bytearray()
        for start in range(0, len(sent), 1 << 14):
            socket.send_binary(sent[start : start + (1 << 14)])
            while len(got) < start:             # no more than two pieces are on their way
                got += socket.recv_data()[1]
        while len(got) < len(sent):
            got += socket.recv_data()[1]
        assert hashlib.sha256(got).hexdigest() == hashlib.sha256(sent).hexdigest()
        pings = _pings(socket, for_s=6)
        assert 4 <= pings <= 8, f"{pings} pings in 6 s"
        gone = _closed_after(silent, silent_since)
        assert 45 <= gone <= 90, f"a client that answers no ping was dropped after {gone:.0f} s"
    finally:
        socket.close()
        silent.close()
    shell.succeed("killall witness; rm /tmp/echo.log")


def _pings(socket: websocket.WebSocket, *, for_s: float) -> int:
    """How many pings come; each is answered, as the library does."""
    deadline, count = time.monotonic() + for_s, 0
    while (left := deadline - time.monotonic()) > 0:
        socket.settimeout(left)
        try:
            opcode, _ = socket.recv_data(control_frame=True)
        except websocket.WebSocketTimeoutException:
            break
        count += opcode == websocket.ABNF.OPCODE_PING
    return count


def _closed_after(socket: websocket.WebSocket, since: float) -> float:
    """Seconds until the server closes the connection, whose frames are read and never answered."""
    deadline = since + 120
    while time.monotonic() < deadline:
        socket.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            frame = socket.recv_frame()  # type: ignore[no-untyped-call]
        except (websocket.WebSocketException, OSError):
            break
        if frame.opcode == websocket.ABNF.OPCODE_CLOSE:
            break
    return time.monotonic() - since
