"""Ports of a guest on this machine, by the command line."""

import secrets
import socket

import pytest

from functests.fixtures.warm import WarmVm
from functests.libs import commands, patience
from functests.libs.cluster import Cluster
from functests.libs.terminal import Terminal

ECHO, ONCE, CLOSED = 9300, 9301, 9302


def _said(port: int, words: bytes) -> bytes:
    """What comes back until as much as was sent is here, or the other side ends."""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.settimeout(patience.promised(20))
        client.sendall(words)
        got = b""
        while len(got) < len(words) and (more := client.recv(4096)):
            got += more
        return got


@pytest.mark.case("CLI-010")
def test_ports_of_a_guest_are_brought_here(warm_vm: WarmVm, cluster: Cluster) -> None:
    """
    Preconditions: a guest that repeats what it hears at one port, and says a word and hangs up at another.
    Steps: port-forward of the first and of a port where nobody listens; use both; ask for a local port that is taken;
        Ctrl-C; the second with --stdio.
    Expected: each connection is of its own; nothing comes from the closed port and the command goes on; exit 1 that
        names the port; Ctrl-C ends it with 0 and frees the ports; --stdio prints the guest's word and nothing else.
    """
    space, shell, word = warm_vm.space, warm_vm.shell, secrets.token_hex(8)
    shell.succeed(f"echo {word} > /tmp/word")
    for port, program in ((ECHO, "cat"), (ONCE, "cat /tmp/word")):
        shell.succeed(f"{{ setsid nc -ll -p {port} -e {program} > /dev/null 2>&1 < /dev/null & }}")
    patience.eventually(
        "the guest listens", lambda: shell.run("netstat -lnt").out,
        lambda out: all(f":{port} " in out for port in (ECHO, ONCE)))
    command = [commands.VIRTCTL, "port-forward", "vmi/vm", "-n", space.name]

    with Terminal([*command, f"tcp/0:{ECHO}", f"0:{CLOSED}"], commands.environment(cluster)) as forward:
        told = [rf"Forwarding 127\.0\.0\.1:(\d+) to {port}\r?\n" for port in (ECHO, CLOSED)]
        opened, closed = (
            int(forward.wait_for(line, within_s=patience.promised(20)).group(1)) for line in told)
        assert [_said(opened, words) for words in (b"one", b"two" * 1000)] == [b"one", b"two" * 1000]
        assert _said(closed, b"x") == b""
        forward.wait_for("dialing VM", within_s=patience.promised(5))
        assert _said(opened, b"three") == b"three"
        taken = commands.virtctl(cluster, *command[1:], f"{opened}:{ECHO}")
        assert (taken.code, taken.stdout) == (1, ""), taken
        assert f"127.0.0.1:{opened}" in taken.stderr
        forward.interrupt()
        assert forward.wait_end(within_s=patience.promised(5)) == 0, forward.output
    for port in (opened, closed):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 5)

    with Terminal([*command, "--stdio", str(ONCE)], commands.environment(cluster)) as piped:
        assert piped.wait_end(within_s=patience.promised(20)) == 0, piped.output
        assert piped.output == f"{word}\r\n".encode()
    shell.succeed("killall nc; rm /tmp/word")
