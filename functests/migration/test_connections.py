"""Who holds a connection to a guest that moves, and who must not get one to its memory on the way."""

import base64
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from functests.libs import build, commands, moves, patience, pods
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path
from functests.libs.stack import NAMESPACE
from functests.libs.terminal import Terminal
from functests.libs.vnc import VERSION, Vnc
from virt.api import names

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=800, nodes=2)]
OTHERS = ("kubevirt-virt-handler-certs", "kubevirt-virt-api-certs")         # of the same CA, for other purposes
# For each port in argv[2] and each way in argv[3:]: what comes back within 5 s, "" for an end.
STRANGER = """
import json, socket, ssl, sys
found = {}
for port in json.loads(sys.argv[2]):
    for way in sys.argv[3:]:
        answer = b""
        try:
            with socket.create_connection((sys.argv[1], int(port)), 10) as raw:
                raw.settimeout(5)
                link = raw
                if way != "plain":
                    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                    if way != "-":
                        context.load_cert_chain(f"/certs/{way}.crt", f"/certs/{way}.key")
                    link = context.wrap_socket(raw)
                link.sendall(b"QEVM" + bytes(60))
                answer = link.recv(100)
                # A TLS alert is no payload: its record type is 21.
                found[f"{port} {way}"] = "" if way == "plain" and answer[:1] == b"\\x15" else answer.hex()
        except TimeoutError:
            found[f"{port} {way}"] = "open"
        except OSError as error:
            print(port, way, type(error).__name__, error, flush=True)
            found[f"{port} {way}"] = ""
print(json.dumps(found), flush=True)
"""


@pytest.mark.case("MIG-029")
@pytest.mark.demand(memory_mib=800, nodes=2, seconds=30)
def test_a_persons_console_and_screen_follow_the_guest(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with virtctl console in a terminal, a variable set in its shell; virtctl vnc with a viewer.
    Steps: migrate; type on; connect the viewer to the same port again.
    Expected: virtctl says that the guest has moved, and to which node; the same shell answers; Ctrl-] still ends it.
        The viewer's connection ends, the next one reaches a screen, and its end is that of virtctl.
    """
    space.boot(build.kernel_boot_vmi(cluster, "vm"))
    space.shell("vm").close()
    before = moves.home(space, nodes, "vm")
    environment = commands.environment(cluster)
    console = [commands.VIRTCTL, "console", "vm", "--namespace", space.name]
    screen = [commands.VIRTCTL, "vnc", "vm", "--proxy-only", "--namespace", space.name]
    with Terminal(console, environment) as terminal, Terminal(screen, environment) as proxy:
        terminal.wait_for(r"Successfully connected to vm console", within_s=patience.promised(20))
        terminal.wait_raw(within_s=patience.promised(5))
        terminal.type("\n before=moved-$((6*7)); echo s''et\n")
        terminal.wait_for("\nset", within_s=patience.promised(20))
        port = int(proxy.wait_for(r'\{"port":(\d+)\}', within_s=patience.promised(20)).group(1))
        with socket.create_connection(("127.0.0.1", port), 5) as viewer:
            viewer.settimeout(patience.promised(30))
            assert viewer.recv(len(VERSION)) == VERSION
            moves.migrate(space, "vm")
            moves.reach(space, "move", "Succeeded")
            assert viewer.recv(1) == b"", "the viewer's connection outlived the guest's move"
        after = moves.check_moved(space, nodes, "vm", before, "move")
        told = f"vm has moved to node {after.node}"
        terminal.wait_for(told, within_s=patience.promised(30))
        terminal.type("\n echo $before-and-her''e\n")
        terminal.wait_for("moved-42-and-here", within_s=patience.promised(20))
        terminal.type("\x1d")
        assert terminal.wait_end(within_s=patience.promised(10)) == 0
        assert terminal.settings() == terminal.before
        proxy.wait_for(told, within_s=patience.promised(30))
        with socket.create_connection(("127.0.0.1", port), 5) as viewer:
            viewer.settimeout(patience.promised(30))
            assert viewer.recv(len(VERSION)) == VERSION
        assert proxy.wait_end(within_s=patience.promised(15)) == 0, proxy.output


def _foreign() -> dict[str, str]:
    """A certificate with the right name that nobody here has signed, and its key, as a secret has them."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.MIGRATION_CLIENT_NAME)])
    made = x509.CertificateBuilder(
        issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(hours=1), not_valid_after=now + timedelta(hours=1),
    ).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    texts = {
        "foreign.crt": made.public_bytes(pem),
        "foreign.key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    return {file: base64.b64encode(text).decode() for file, text in texts.items()}


@pytest.mark.case("MIG-044")
@pytest.mark.demand(memory_mib=900, nodes=2, seconds=60)
def test_strangers_get_nothing_from_the_tunnels(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a migration that runs slowly; a pod with certificates of the kubevirt CA for other purposes, and one
        with the right name that another CA has signed.
    Steps: connect to each published port: bytes without TLS, TLS without a certificate, TLS with each of these.
    Expected: nothing comes back and the connection ends, each time; the guest moves all the same.
    """
    policy(bandwidthPerMigration="2Mi")
    space.boot(build.disk_boot_vmi(cluster, "vm"))
    data = _foreign()
    for name in OTHERS:
        found = space.rest.get(core_path("secrets", NAMESPACE, name)).ok()["data"]
        data |= {f"{name}.crt": found["tls.crt"], f"{name}.key": found["tls.key"]}
    space.rest.post(core_path("secrets", space.name), {"metadata": {"name": "certs"}, "data": data}).ok()
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    told = moves.state(space.vmi("vm"))
    ports = sorted(told["targetDirectMigrationNodePorts"])
    assert len(ports) == 3, told
    ways = ("plain", "-", "foreign", *OTHERS)
    pod = pods.python_pod(cluster, "stranger", STRANGER, told["targetNodeAddress"], json.dumps(ports), *ways)
    pod["spec"]["volumes"] = [{"name": "certs", "secret": {"secretName": "certs"}}]
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "certs", "mountPath": "/certs", "readOnly": True}]
    pods.start(space, pod)
    pods.wait_phase(space, "stranger", ("Succeeded", "Failed"), within_s=patience.promised(120))
    said = pods.log(space, "stranger")
    answers = json.loads(said.strip().splitlines()[-1])
    assert len(answers) == len(ports) * len(ways), said
    assert "Refused" not in said, "the migration was over too early"
    assert set(answers.values()) == {""}, said
    moves.reach(space, "move", "Succeeded", within_s=patience.boots(4))
    moves.check_moved(space, nodes, "vm", before, "move")


STILL = "printf '\\033[2J\\033[H\\033[?25lit moves' > /dev/tty2"        # without a blinking cursor


@pytest.mark.case("MIG-030")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)
def test_a_screen_goes_along(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a still text screen and a reader of its keyboard; a VNC session.
    Steps: migrate; open another session; press keys.
    Expected: the first session ends within 5 s; the next one shows the same picture; the guest gets the keys.
    """
    _, shell = space.boot(build.disk_boot_vmi(cluster, "vm"))
    # Not tty1: a shell reads there. Without lines, so that each key arrives by itself.
    shell.succeed("{ cat < /dev/tty2 > /run/typed & }; stty -F /dev/tty2 -icanon -echo && chvt 2")
    shell.succeed(STILL)
    before = moves.home(space, nodes, "vm")
    with Vnc(space.rest, space.name, "vm") as session:
        known, _ = patience.eventually(
            "the screen stands still", lambda: (session.screen(), session.screen()),
            lambda seen: seen[0] == seen[1] and seen[0].lit > 0)
        moves.migrate(space, "vm")
        moves.reach(space, "move", "Succeeded")
        session.wait_closed(within_s=patience.promised(5))
    moves.check_moved(space, nodes, "vm", before, "move")
    shell = space.shell("vm")
    with Vnc(space.rest, space.name, "vm") as session:
        seen = patience.eventually(
            "the picture is there", session.screen, lambda found: found.difference(known) == 0,
            within_s=patience.promised(5))
        assert seen.lit > 0
        for count, character in enumerate("key", 1):
            session.type(character)
            patience.eventually(
                f"{character!r} arrives", lambda: int(shell.succeed("wc -c < /run/typed")),
                lambda length: length >= count,  # noqa: B023 - called in this round only
                every_s=0.1)
    assert shell.succeed("cat /run/typed") == "key"
