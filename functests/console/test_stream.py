"""What goes through the console arrives as it was sent: all of it, in order, nobody else's, and no faster than read."""

import hashlib
import random
import re
import secrets

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console, open_socket
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, subresource_path
from functests.libs.stack import API, Stack

LOG = "guest-console-log"
LINES = 2000
MANY, MANY_LINES = 1 << 20, 167_000         # numbered lines that are a little more than 1 MiB
PIECE = 1024
MOST_GROWTH_KIB = 32 * 1024


def _log(space: Space, pod: Object) -> str:
    answer = space.rest.get(core_path("pods", space.name, pod["metadata"]["name"]) + f"/log?container={LOG}")
    return answer.text.replace("\r", "") if answer.code == 200 else ""


def _container(space: Space, pod: Object) -> Object:
    now = space.rest.get(core_path("pods", space.name, pod["metadata"]["name"])).ok()
    (found,) = [status for status in now["status"]["containerStatuses"] if status["name"] == LOG]
    return dict(found)


def _many_lines(shell: Console) -> tuple[bytes, str]:
    """More than 1 MiB of numbered lines as they arrive, and the guest's own digest of them."""
    word = secrets.token_hex(6)
    since = shell.position
    shell.send(f"echo be''gin-{word}; seq {MANY_LINES}; seq {MANY_LINES} | sha256sum; echo en''d-{word}\n")
    ended = f"end-{word}\r\n".encode()
    patience.eventually(
        "all lines are there", lambda: shell.behind(max(since, shell.position - 200)), lambda tail: ended in tail,
        within_s=patience.boots(4) + 60, every_s=0.5, stop=lambda _: shell.closed,
    )  # fmt: skip
    _, _, text = shell.behind(since).partition(f"begin-{word}\r\n".encode())
    lines, _, rest = text.rpartition(b"\r\n" + ended[:-2])[0].rpartition(b"\r\n")
    return lines.replace(b"\r\n", b"\n") + b"\n", rest.decode().split()[0]


def _echoed(shell: Console, sent: bytes) -> tuple[bytes, str]:
    """``sent`` in pieces through a raw terminal: what came back, and the guest's digest of what it got."""
    word = secrets.token_hex(6)
    since = shell.position
    shell.send(
        f"stty raw -echo; echo re''ady-{word}; head -c {len(sent)} > /tmp/in; sha256sum < /tmp/in; cat /tmp/in; "
        f"echo do''ne-{word}; stty sane\n"
    )
    start = shell.wait_for(f"ready-{word}\r?\n", within_s=patience.promised(20), since=since).end()
    for place in range(0, len(sent), PIECE):
        shell.send(sent[place : place + PIECE])
        shell.send_text_frame("this is not for the guest")
    end = shell.wait_for(f"done-{word}", within_s=patience.promised(60), since=start).start()
    digest, _, back = shell.behind(start)[: end - start].partition(b"\n")
    return back, digest.decode().split()[0]


@pytest.mark.demand(seconds=80)
@pytest.mark.case("CON-008")
@pytest.mark.case("CON-009")
@pytest.mark.case("CON-016")
def test_all_that_is_said_arrives(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a guest that boots while nobody is on its console.
    Steps: read the log container; have 2000 numbered lines printed while nobody is on the console; read the log again,
        once more beside a console; print 1 MiB of numbered lines; send 16 KiB of all byte values through a raw
        terminal, with text frames in between.
    Expected: the log has the boot and later every line, its container stays ready, the console is not disturbed; 1 MiB
        arrives in order with the guest's digest; the bytes are the same in the guest and back.
    """
    space.create(build.kernel_boot_vmi(cluster, "vm"))
    vmi = space.wait_running("vm")
    pod = space.pod(vmi)
    patience.eventually("the log has the boot", lambda: _log(space, pod), lambda text: "tiny: ready" in text)

    shell = space.shell("vm")
    word = secrets.token_hex(6)
    # While nobody is on the console: QEMU logs a character again that a client did not take at once.
    lines = f"i=0; while [ $i -lt {LINES} ]; do echo line-{word}-$i; i=$((i+1)); done"
    shell.succeed(f"{{ sleep 3; echo; {lines}; }} & true")
    shell.close()
    numbers = patience.eventually(
        "the log has the last line",
        lambda: [int(number) for number in re.findall(rf"^line-{word}-(\d+)$", _log(space, pod), re.MULTILINE)],
        lambda seen: (LINES - 1) in seen, within_s=patience.boots(1),
    )  # fmt: skip
    assert numbers == list(range(LINES)), f"the log has {len(numbers)} lines"
    shell = space.shell("vm")
    assert _log(space, pod)
    assert shell.succeed("echo $((6*7))") == "42"

    many, digest = _many_lines(shell)
    assert len(many) >= MANY
    assert many.split() == [str(number).encode() for number in range(1, MANY_LINES + 1)], "lines are missing"
    assert hashlib.sha256(many).hexdigest() == digest

    chance = random.Random(word)
    sent = bytes(chance.sample([*range(256)] * 64, 64 * 256))
    back, digest = _echoed(shell, sent)
    assert digest == hashlib.sha256(sent).hexdigest(), "the guest got other bytes"
    assert back == sent, "other bytes came back"
    assert shell.login(within_s=patience.boots(1)).succeed("echo $((6*7))") == "42"
    status = _container(space, pod)
    assert (status["ready"], status["restartCount"]) == (True, 0), status


@pytest.mark.demand(vcpus=2, memory_mib=800, boots=2, pinned=2, seconds=45)
@pytest.mark.case("CON-018")
def test_two_guests_are_not_mixed_up(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: two guests on one node, each with a console of its own.
    Steps: let each print a name without end for 20 s.
    Expected: each console carries its own name many times, and no byte of the other's.
    """
    consoles = {}
    for name in ("one", "two"):
        space.create(build.on_node(build.kernel_boot_vmi(cluster, name), cluster.workers[0]))
    for name in ("one", "two"):
        space.wait_running(name, within_s=patience.boots(2))
        consoles[name] = space.shell(name, boots=2)
    words = {name: f"{name}-{secrets.token_hex(6)}" for name in consoles}
    starts = {name: console.position for name, console in consoles.items()}
    for name, console in consoles.items():
        console.send(f"while :; do echo {words[name]}; done\n")
    patience.quiet(
        "a console closed", lambda: [name for name, console in consoles.items() if console.closed], bool, for_s=20
    )
    for name, console in consoles.items():
        said = console.behind(starts[name])
        lines = said.replace(b"\r", b"").split(b"\n")[1:-1]             # the typed line and a half one
        assert len(lines) > 100, f"{name} said {len(lines)} lines only"
        assert set(lines) == {words[name].encode()}, f"{name}: {sorted(set(lines))[:5]}"
        console.interrupt(within_s=patience.boots(1))


def _memory_kib(stack: Stack, node: str) -> dict[str, int]:
    """Resident memory of each virt-api and of the node's virt-handler, by pod."""
    found = {}
    for pod in (*stack.pods(API), stack.handler(node)):
        where, process = stack.process(pod)
        text = where.run(f"grep VmRSS /proc/{process.pid}/status")
        found[pod["metadata"]["name"]] = int(text.split()[1])
    return found


@pytest.mark.demand(seconds=60)
@pytest.mark.case("CON-010")
def test_a_client_that_does_not_read_costs_nothing(warm_vm: WarmVm, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest that prints without end.
    Steps: hold its console for 30 s without reading; take it over with another client and send Ctrl-C.
    Expected: virt-api and virt-handler grow by less than 32 MiB; the other client has a prompt 10 s after Ctrl-C.
    """
    space, shell = warm_vm.space, warm_vm.shell
    stack = Stack(space.rest, nodes, cluster)
    node = warm_vm.vmi["status"]["nodeName"]
    shell.send("yes this line is printed again and again\n")
    shell.wait_for("\nthis line is printed", within_s=patience.boots(1))
    before = _memory_kib(stack, node)
    deaf = open_socket(space.rest, subresource_path(VMI, space.name, "vm", "console"))
    try:
        shell.wait_closed(within_s=patience.promised(10))

        def growth() -> dict[str, int]:
            return {pod: kib - before.get(pod, kib) for pod, kib in _memory_kib(stack, node).items()}

        patience.quiet(
            "a component keeps what nobody reads (KiB)", growth,
            lambda seen: max(seen.values()) >= MOST_GROWTH_KIB, for_s=30, every_s=3,
        )  # fmt: skip
        assert max(growth().values()) < MOST_GROWTH_KIB
        with_prompt = space.console("vm").interrupt(within_s=10)
        assert with_prompt.succeed("echo $((6*7))") == "42"
    finally:
        deaf.close()
