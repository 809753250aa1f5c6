"""What goes over the network between two nodes: in secret or not, and when nothing goes any more."""

import contextlib
import json
import time
from collections.abc import Callable, Collection, Iterator

import pytest

from functests.libs import build, moves, patience, settings, sniffer
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Node, Nodes
from functests.libs.stack import Stack
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [
    pytest.mark.serial, pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=900, nodes=2, seconds=75)]
STUCK_S = 5
MOST_S = 20.0
MAGIC = "nine-lives-of-a-cat-in-a-box"
# A mebibyte of it in the guest's memory; its tail is cut off so that the file is in pages as a whole.
FILL = f"yes {MAGIC} | head -c 1048576 > /run/magic"


@contextlib.contextmanager
def _dropped(node: Node, ports: Collection[str]) -> Iterator[None]:
    """No packet to or from these TCP ports passes the node inside the block."""
    among = f"{{ {', '.join(sorted(ports))} }}"
    rules = f"""
        chain arriving {{
            type filter hook prerouting priority -400;
            tcp dport {among} drop
            tcp sport {among} drop
        }}
        chain leaving {{
            type filter hook postrouting priority 400;
            tcp dport {among} drop
            tcp sport {among} drop
        }}
    """
    with node.filtered("inet functest-tunnels", rules):
        yield


@pytest.mark.case("MIG-035")
def test_one_that_gets_on_no_more_is_aborted(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: the cluster gives up what makes no progress for 5 s; a busy guest with a witness whose migration runs
        and does not end by itself.
    Steps: drop all packets of its tunnels at the target's node, until the migration is over.
    Expected: aborted for want of progress, 5 to 20 s later; the guest did not notice; the next one moves it.
    """
    name = policy(bandwidthPerMigration=moves.HELD)
    with settings.changed(space.rest, {"configuration": {"migrations": {"progressTimeout": STUCK_S}}}):
        settings.wait_applied(space.rest)
        _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm", memory="192Mi"))
        witness = Witness(shell)
        shell.succeed(moves.DIRTY)
        before = moves.home(space, nodes, "vm")
        moves.migrate(space, "vm")
        moves.reach(space, "move", "Running")
        told = moves.state(space.vmi("vm"))
        began = time.monotonic()
        with _dropped(nodes[told["targetNode"]], told["targetDirectMigrationNodePorts"]):
            moves.reach(space, "move", "Failed", within_s=patience.promised(MOST_S))
            took = time.monotonic() - began
        reason = moves.check_stayed(space, nodes, "vm", before)
        assert "no progress" in reason, reason
        told = moves.state(space.vmi("vm"))
        assert told["abortStatus"] == "Succeeded", told
        assert took >= STUCK_S - 1, took
        witness.check(still_s=1)
    moves.check_moves_after_all(space, nodes, before, name, witness)


# What comes back for a TLS hello at argv[1]:argv[2].
HELLO = """
import json, socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as raw:
        raw.settimeout(10)
        with context.wrap_socket(raw) as link:
            print(json.dumps(link.version()))
except OSError as error:
    print(json.dumps(f"refused: {type(error).__name__}: {error}"))
"""


@pytest.mark.case("MIG-045")
@pytest.mark.parametrize("secret", [True, False], ids=["tls", "in-clear"])
def test_memory_is_sent_in_secret_unless_that_is_switched_off(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, policy: Policy, *, secret: bool
) -> None:
    """
    Preconditions: a mebibyte of one word in a guest's memory; the cluster's settings as they are, and with disableTLS.
    Steps: listen to the link of the target's node and migrate slowly; greet the port of libvirt by TLS.
    Expected: all of the guest's memory was sent; the word is never on the link, and the greeting is answered; with
        disableTLS the word is there, and the greeting fails; the guest has moved.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    with contextlib.ExitStack() as changes:
        if not secret:
            changes.enter_context(settings.changed(space.rest, {"configuration": {"migrations": {"disableTLS": True}}}))
            settings.wait_applied(space.rest)
        _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
        shell.succeed(FILL)
        digest = shell.succeed("sha256sum < /run/magic")
        before = moves.home(space, nodes, "vm")
        other = next(worker for worker in cluster.workers if worker != before.node)
        with sniffer.listening(stack, nodes[other], nodes[before.node], MAGIC) as caught:
            moves.migrate(space, "vm")
            moves.reach(space, "move", "Running")
            told = moves.state(space.vmi("vm"))
            (port,) = [number for number, logical in told["targetDirectMigrationNodePorts"].items() if logical == 0]
            _, handler = stack.process(stack.handler(other))
            said = nodes[other].run(
                f"nsenter -t {handler.pid} -m -n python3 - {told['targetNodeAddress']} {port} <<'P'\n{HELLO}\nP")
            moves.reach(space, "move", "Succeeded", within_s=patience.boots(4))
        moves.check_moved(space, nodes, "vm", before, "move")
    answer = json.loads(said.strip().splitlines()[-1])
    assert answer.startswith("TLS" if secret else "refused"), answer
    assert caught.found["bytes"] > 32 << 20, caught.found
    assert (caught.found["hits"] > 0) is not secret, caught.found
    assert space.shell("vm").succeed("sha256sum < /run/magic") == digest
