"""A launcher that was taken over: a process of its pod, with its user and its socket, that says what it likes."""

import contextlib
import secrets
import time

import pytest

from functests.libs import build, channels, msgpack, patience
from functests.libs.cluster import Cluster
from functests.libs.console import ConsoleRefused
from functests.libs.kube import Object, Space, is_final
from functests.libs.nodes import Nodes
from functests.libs.stack import Stack
from functests.libs.witness import Witness

SOCKET = "/var/run/kubevirt-handler/handler.sock"
_HELLO = {"type": "Hello", "version": 1, "pid": 1}

# Sends argv[1:] (hexadecimal) on one connection and stays until the other side closes.
_SAY = f"""
import socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.settimeout(20)
    s.connect("{SOCKET}")
    for text in sys.argv[1:]:
        s.sendall(bytes.fromhex(text))
    try:
        while s.recv(65536):
            pass
    except OSError:
        pass
print("said", flush=True)
"""

# Everything that is no message, each on a connection of its own; prints how each ended.
_NOISE = f"""
import os, socket, sys, time
hello = bytes.fromhex(sys.argv[1])

def connected():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(10)
    s.connect("{SOCKET}")
    return s

def framed(body):
    return len(body).to_bytes(4, "big") + body

def ends(what, *parts, fds=()):
    with connected() as s:
        try:
            s.sendall(hello)
            if fds:
                socket.send_fds(s, [parts[0]], fds)
                parts = parts[1:]
            for part in parts:
                s.sendall(part)
            while s.recv(65536):
                pass
            how = "closed"
        except TimeoutError:
            how = "open"
        except OSError as error:
            how = "closed"
    print(what, how, flush=True)

head = bytes.fromhex("93ce00000000c2")
ends("length", b"\\xff\\xff\\xff\\xff" + bytes(1000))
ends("utf8", framed(head + bytes.fromhex("83a474797065a548656c6c6f") + b"\\xa7version\\x01\\xa3pid\\xa1\\xff"))
ends("name", framed(head + b"\\x82\\xa4type\\xa2\\xff\\xff"))
greeting = b"\\x84\\xa4type\\xa5Hello\\xa7version\\x01\\xa3pid\\x01\\xa1x"
ends("nesting", framed(head + greeting + b"\\x91" * 200000 + b"\\xc0"))
ends("tiny", b"".join(framed(b"\\xc0") for _ in range(10000)))
folder = os.open("/", os.O_RDONLY)
null = os.open("/dev/null", os.O_RDONLY)
ends("descriptors", framed(b"\\xc0" * 100), fds=[null] * 200)
ends("folder", framed(b"\\xc0"), fds=[folder])
# Descriptors with each byte of one long message.
with connected() as s:
    try:
        s.sendall(hello)
        s.sendall((4000).to_bytes(4, "big"))
        for _ in range(2000):
            socket.send_fds(s, [b"x"], [null] * 50)
        how = "open"
    except OSError:
        how = "closed"
print("drip", how, flush=True)
half = connected()
half.sendall(hello + (100).to_bytes(4, "big") + b"half")
print("half", "sent", flush=True)
time.sleep(float(sys.argv[2]))
"""

# argv[1] connections that never speak; then argv[2] a second for argv[3] seconds.
_FLOOD = f"""
import socket, sys, time
held, closed = [], 0
for _ in range(int(sys.argv[1])):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    try:
        s.connect("{SOCKET}")
        held.append(s)
    except OSError:
        closed += 1
print("held", len(held), "refused", closed, flush=True)
end = time.monotonic() + float(sys.argv[3])
count = 0
while time.monotonic() < end:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    try:
        s.connect("{SOCKET}")
        count += 1
    except OSError:
        pass
    s.close()
    time.sleep(1 / float(sys.argv[2]))
open_ones = 0
for s in held:
    s.setblocking(False)
    try:
        open_ones += s.recv(1) != b""
    except BlockingIOError:
        open_ones += 1
    except OSError:
        pass
print("open", open_ones, "again", count, flush=True)
"""


def _pair(space: Space, cluster: Cluster) -> tuple[Object, Object, Witness]:
    """The attacker and its victim on one node, both running; the victim's guest counts on."""
    here = cluster.workers[0]
    space.create(build.on_node(build.kernel_boot_vmi(cluster, "attacker"), here))
    quiet = build.kernel_boot_vmi(cluster, "victim", kernel_args="tiny.agent=0")
    victim, shell = space.boot(build.on_node(quiet, here))
    space.wait_vmi("victim", lambda seen: bool(seen["status"].get("interfaces")), "has interfaces")
    space.wait_condition("victim", "Ready", "True")
    attacker = space.wait_running("attacker")
    space.shell("attacker").close()
    return attacker, victim, Witness(shell)


def _state(vmi: Object) -> tuple[object, ...]:
    conditions = [(entry["type"], entry["status"]) for entry in vmi["status"]["conditions"]]
    return vmi["status"]["phase"], vmi["status"].get("interfaces"), sorted(conditions)


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2, pinned=2)
@pytest.mark.case("SEC-008")
@pytest.mark.case("SEC-027")
def test_a_taken_launcher_changes_only_its_own_vmi(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: two running VMIs on one node; a client in the pod of one, as its user.
    Steps: the client replaces its serial and VNC sockets by links to the handler's socket; a console of its VMI is
        opened; it tells that the other VMI's domain panicked and is off.
    Expected: that console never shows a shell of the victim; only the attacker's own VMI ends; the victim's state and
        guest go on, and its console still shows it.
    """
    attacker, victim, witness = _pair(space, cluster)
    before = _state(space.vmi("victim"))
    pod = space.pod(attacker)
    folder = f"/var/run/kubevirt-private/{attacker['metadata']['uid']}"
    swap = f"cd {folder} && for name in virt-serial0 virt-vnc; do mv $name old-$name && ln -s {SOCKET} $name; done"
    channels.succeed(space, pod, "sh", "-c", swap)
    nonce = secrets.token_hex(8)
    with contextlib.suppress(ConsoleRefused), space.console("attacker") as stranger:
        stranger.send(f"\necho {nonce}\n")
        patience.quiet(
            "the console shows a shell", lambda: stranger.transcript.replace("\r", ""),
            lambda text: f"\n{nonce}" in text, for_s=4,
        )  # fmt: skip
    assert _state(space.vmi("victim")) == before

    name = f"{space.name}_{victim['metadata']['name']}"
    lies = (
        _HELLO,
        {"type": "GuestPanicked", "detail": f"panic of {name}"},
        {"type": "DomainEvent", "status": {
            "type": "DomainStatus", "state": "Shutoff", "reason": "Crashed", "domain_name": name,
            "guest_os": {"name": name}}},
    )  # fmt: skip
    said = channels.run(space, pod, "python3", "-c", _SAY, *(msgpack.event(lie).hex() for lie in lies))
    ended = space.wait_vmi("attacker", is_final, "ends by its own lie", within_s=patience.promised(30), may_end=True)
    assert ended["status"]["phase"] == "Failed", (ended["status"], said)
    patience.quiet("the victim changes", lambda: _state(space.vmi("victim")), lambda seen: seen != before, for_s=5)
    assert "GuestPanicked" not in space.reasons("victim")
    witness.check()
    assert space.shell("victim").succeed("hostname") == "victim"


@pytest.mark.demand(vcpus=3, memory_mib=1200, boots=3, pinned=3)
@pytest.mark.case("SEC-009")
def test_noise_at_the_handlers_socket_is_shut_out(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: two running VMIs on one node; a client in the pod of one, as its user.
    Steps: send a length of 4 GiB, text that is no UTF-8, endless nesting, 10,000 tiny frames, 200 descriptors with a
        message, descriptors with every byte, a folder, half a frame and silence; boot another VMI there meanwhile.
    Expected: every connection but the silent one is closed; the other VMI boots; the handler is the same process with
        the descriptors that it had; the victim goes on.
    """
    attacker, _, witness = _pair(space, cluster)
    here = cluster.workers[0]
    before = _state(space.vmi("victim"))
    stack = Stack(space.rest, nodes, cluster)
    handler = stack.handler(here)
    node, process = stack.process(handler)

    def descriptors() -> int:
        return int(node.run(f"ls /proc/{process.pid}/fd | wc -l"))

    began = descriptors()
    wait_s = 15
    running = channels.start(
        space, space.pod(attacker), "python3", "-c", _NOISE, msgpack.event(_HELLO).hex(), str(wait_s))
    patience.eventually("the noise was made", lambda: running.out, lambda said: "half sent" in said,
                        within_s=patience.promised(120))
    _, third = space.boot(build.on_node(build.kernel_boot_vmi(cluster, "third"), here))
    assert third.succeed("echo $((6*7))") == "42"
    running.wait(within_s=wait_s + 60)
    ended = dict(line.split() for line in running.out.splitlines())
    assert ended.pop("half") == "sent"
    assert set(ended.values()) == {"closed"}, ended
    assert len(ended) == 8, ended
    space.delete_vmi("third").ok()
    space.wait_vmi_gone("third")
    # The attacker's own launcher dials again after all this; a few descriptors are in motion.
    patience.eventually("descriptors are back", descriptors, lambda count: count <= began + 4)
    assert stack.process(stack.handler(here))[1].pid == process.pid
    patience.eventually(
        "the victim is as it was", lambda: _state(space.vmi("victim")), lambda seen: seen == before)
    witness.check()


@pytest.mark.demand(vcpus=3, memory_mib=1200, boots=3, pinned=3, seconds=60)
@pytest.mark.case("SEC-010")
def test_a_flood_of_connections_hurts_only_its_own_pod(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: two running VMIs on one node; a client in the pod of one, as its user.
    Steps: open 500 connections that never speak; then connect anew 50 times a second for 20 s; boot another VMI there
        meanwhile.
    Expected: all but one of the pod's connections are closed, none of another pod; the new VMI boots as the first did,
        within twice its time or what the machine needs; the handler is the same process; the victim goes on.
    """
    began = time.monotonic()
    attacker, _, witness = _pair(space, cluster)
    usual_s = time.monotonic() - began
    before = _state(space.vmi("victim"))
    here = cluster.workers[0]
    stack = Stack(space.rest, nodes, cluster)
    _, process = stack.process(stack.handler(here))
    running = channels.start(space, space.pod(attacker), "python3", "-c", _FLOOD, "500", "50", "20")
    patience.eventually("the connections are there", lambda: running.out, lambda said: "held" in said)
    began = time.monotonic()
    _, third = space.boot(build.on_node(build.kernel_boot_vmi(cluster, "third"), here))
    took_s = time.monotonic() - began
    assert third.succeed("echo $((6*7))") == "42"
    done = running.wait(within_s=patience.promised(90))
    words = done.out.split()
    assert int(words[words.index("open") + 1]) <= 1, done.out
    assert int(words[words.index("again") + 1]) > 100, done.out
    assert took_s <= 2 * usual_s, f"{took_s:.1f} s under the flood, {usual_s:.1f} s for two guests before it"
    assert stack.process(stack.handler(here))[1].pid == process.pid
    assert _state(space.vmi("victim")) == before
    witness.check()
