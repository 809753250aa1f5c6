"""Sessions on the console come and go, in whatever way their client asks for them; the guest and its shell stay."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import build, hardware, launcher, patience
from functests.libs.cluster import Cluster
from functests.libs.console import SUBPROTOCOL, Console, ConsoleRefused
from functests.libs.kube import Object, Space
from functests.libs.launcher import Launcher
from functests.libs.nodes import Nodes
from functests.libs.stack import API, Stack

ENDS_WITHIN_S = 5
STILL_S = 5
# What a client offers, and what the server must name in its answer.
OFFERS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("fantasy.protocol", SUBPROTOCOL), "https://elsewhere.example", SUBPROTOCOL),
    ((), "", ""),
    (("fantasy.protocol",), "", ""),
    ((SUBPROTOCOL,), "", SUBPROTOCOL),
    ((SUBPROTOCOL, "fantasy.protocol"), "", SUBPROTOCOL),
)
COUNTER = "(i=0; while :; do i=$((i+1)); echo $i > /run/count; sleep 0.2; done) & echo $$"


def _counts_on(shell: Console, before: int) -> None:
    counter = patience.eventually(
        "the counter goes on", lambda: int(shell.succeed("cat /run/count") or 0), lambda count: count > before + 1
    )
    assert counter > before + 1


def _ends_with_qemu(console: Console, pod: Launcher, pid: int) -> None:
    """The stream is closed in the regular way, soon after QEMU's end."""
    patience.eventually(
        "QEMU has ended", lambda: pod.node.try_run(f"test -d /proc/{pid}")[0], lambda code: code != 0, every_s=0.1
    )
    console.wait_closed(within_s=patience.promised(ENDS_WITHIN_S))
    assert console.close_code == 1000, f"the console was closed with {console.close_code}"


def _paused(space: Space, verb: str) -> Object:
    space.act_on_vmi("vm", verb).ok()
    return space.wait_condition("vm", "Paused", "True" if verb == "pause" else "")


@pytest.mark.demand(seconds=40)
@pytest.mark.case("CON-002")
@pytest.mark.case("CON-007")
@pytest.mark.case("CON-013")
@pytest.mark.case("CON-014")
def test_sessions_come_and_go_and_the_shell_stays(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a shell on the console, which counts in the background.
    Steps: leave and come back five times, each time with another offer of subprotocols; pause the guest, come back
        once more and type; unpause; delete the VMI.
    Expected: the answer names plain.kubevirt.io where it was offered, and nothing else; each time the same shell, whose
        counter went on meanwhile; a paused guest sends nothing for 5 s and does what was typed when it goes on; the
        stream is closed with 1000 within 5 s of QEMU's end.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    pid = shell.succeed(COUNTER).splitlines()[-1]
    for offer, origin, named in OFFERS:
        before = int(shell.succeed("cat /run/count"))
        shell.close()
        shell = space.console("vm", subprotocols=offer, origin=origin).login(within_s=patience.boots(1))
        assert shell.protocol == named, f"offered {offer}, got {shell.protocol!r}"
        assert shell.succeed("echo $$") == pid, "another shell answers"
        _counts_on(shell, before)

    shell.close()
    _paused(space, "pause")
    shell = space.console("vm")
    word = secrets.token_hex(6)
    shell.send(f"echo $((40+2))-{word}\n")
    patience.quiet("a paused guest said something", lambda: shell.position, bool, for_s=STILL_S)
    _paused(space, "unpause")
    shell.wait_for(f"\n42-{word}", within_s=patience.boots(1))
    assert shell.login(within_s=patience.boots(1)).succeed("echo $$") == pid

    pod = launcher.of(space, vmi, nodes)
    qemu = pod.qemu.pid
    space.delete_vmi("vm").ok()
    _ends_with_qemu(shell, pod, qemu)


@pytest.mark.demand(boots=2, seconds=45)
@pytest.mark.case("CON-012")
@pytest.mark.case("CON-013")
@pytest.mark.case("CON-015")
def test_one_session_sees_a_whole_life(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI that starts paused, whose kernel prints all it says.
    Steps: open the console; unpause; reboot the guest; say something and power off.
    Expected: the kernel's first line comes whole; the same connection shows the next kernel's and a shell; the last
        words arrive, and then the stream is closed with 1000 within 5 s of QEMU's end.
    """
    manifest = build.merged(
        build.kernel_boot_vmi(cluster, "vm", kernel_args="loglevel=7"), {"spec": {"startStrategy": "Paused"}}
    )
    space.create(manifest)
    vmi = space.wait_condition("vm", "Paused", "True", within_s=patience.boots(2))
    pod = launcher.of(space, vmi, nodes)
    qemu = pod.qemu.pid
    console = space.console("vm")
    assert console.position == 0, console.transcript
    _paused(space, "unpause")
    first = console.wait_for(r"Linux version [^\r\n]*\r?\n", within_s=patience.boots(2))
    console.login(within_s=patience.boots(2))
    version = console.succeed("cat /proc/version")
    assert first.group(0).decode().strip() == version

    before, since = hardware.boot_id(console), console.position
    console.send("reboot -f\n")
    console.wait_for(r"Linux version [^\r\n]*\r?\n", within_s=patience.boots(2), since=since)
    console.wait_for("tiny: ready", within_s=patience.boots(1), since=since)
    console.login(within_s=patience.boots(1))
    assert hardware.boot_id(console) != before

    word = secrets.token_hex(6)
    console.send(f"echo $((40+2))-{word}; poweroff -f\n")
    _ends_with_qemu(console, pod, qemu)
    assert f"\n42-{word}" in console.transcript, console.transcript[-500:]


def _settled(shell: Console) -> int:
    """The position when the prompt has come too."""
    seen: list[int] = []

    def look() -> list[int]:
        seen.append(shell.position)
        return seen[-3:]

    patience.eventually("the shell is silent", look, lambda last: len(last) == 3 and len(set(last)) == 1, every_s=1)
    return seen[-1]


@pytest.mark.demand(seconds=110)
@pytest.mark.case("CON-011")
def test_an_idle_session_stays(warm_vm: WarmVm) -> None:
    """
    Preconditions: a shell on the console.
    Steps: send and receive nothing for 90 s.
    Expected: the connection is open all the time, and answers the next command.
    """
    shell = warm_vm.shell
    since = _settled(shell)
    patience.quiet("the console spoke or closed", lambda: (shell.position, shell.closed),
                   lambda seen: seen != (since, False), for_s=90, every_s=3)  # fmt: skip
    assert shell.succeed("echo $((6*7))") == "42"


CROWD, ROUNDS = 10, 3
SPARE_FILES = 2


def _open_files(stack: Stack, node: str) -> int:
    """Of all virt-api processes and the node's virt-handler."""
    total = 0
    for pod in (*stack.pods(API), stack.handler(node)):
        where, process = stack.process(pod)
        total += int(where.run(f"ls /proc/{process.pid}/fd | wc -l"))
    return total


def _settled_files(stack: Stack, node: str) -> int:
    """The same number twice with five seconds between: closing takes a moment."""
    seen = [-1]

    def look() -> list[int]:
        seen.append(_open_files(stack, node))
        return seen[-2:]

    return patience.eventually(
        "the number of open files stands still", look, lambda two: two[0] == two[1], every_s=5)[-1]


def _attempt(space: Space) -> Console | None:
    """None when it was refused because another one took over meanwhile."""
    try:
        return space.console("vm")
    except ConsoleRefused:
        return None


@pytest.mark.serial
@pytest.mark.demand(seconds=40)
@pytest.mark.case("CON-004")
def test_of_a_crowd_one_gets_the_console(space: Space, cluster: Cluster, nodes: Nodes, stack: Stack) -> None:
    """
    Preconditions: a running guest.
    Steps: four times: open ten consoles at once, and let the last one go.
    Expected: one of them stays each time, with a working shell; afterwards virt-api and virt-handler have as many files
        open as after the first crowd, two more or less (their clients keep the connections that one crowd needed).
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    shell.close()
    node = vmi["status"]["nodeName"]
    _crowd(space)
    before = _settled_files(stack, node)
    for _ in range(ROUNDS):
        _crowd(space)
    after = patience.eventually(
        f"all files are closed but the {before} of before", lambda: _open_files(stack, node),
        lambda count: abs(count - before) <= SPARE_FILES,
    )
    assert abs(after - before) <= SPARE_FILES, f"{before} files were open, then {after}"


def _crowd(space: Space) -> None:
    with ThreadPoolExecutor(CROWD) as crowd:
        opened = [console for console in crowd.map(lambda _: _attempt(space), range(CROWD)) if console is not None]
    left = patience.eventually(
        "one console is left", lambda: [each for each in opened if not each.closed], lambda still: len(still) == 1
    )
    assert left[0].login(within_s=patience.boots(1)).succeed("echo $((6*7))") == "42"
    left[0].close()
