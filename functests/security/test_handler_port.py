"""Port 8186 of virt-handler: consoles of all guests of a node, for virt-api alone."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from functests.fixtures.warm import WarmVm
from functests.libs import patience, pods
from functests.libs.cluster import Cluster
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path
from functests.libs.stack import NAMESPACE, Stack

RIGHT = "kubevirt-virt-handler-certs"
# From the same CA, for other purposes.
OTHERS = ("kubevirt-virt-api-certs", "kubevirt-virt-handler-server-certs")

# For each folder in argv[4:] ("-" for no certificate): asks argv[1] for the console of argv[3] on port argv[2] and
# prints the first line of the answer, "" where none came.
_ASK = """
import json, os, socket, ssl, sys
found = {}
for name in sys.argv[4:]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if name != "-":
        context.load_cert_chain(f"/certs/{name}.crt", f"/certs/{name}.key")
    answer = ""
    try:
        with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as raw:
            with context.wrap_socket(raw) as s:
                s.settimeout(15)
                s.sendall((f"GET {sys.argv[3]} HTTP/1.1\\r\\nHost: handler\\r\\nConnection: Upgrade\\r\\n"
                           "Upgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n").encode())
                answer = s.recv(4096).decode(errors="replace").partition("\\r\\n")[0]
    except OSError as error:
        print(name, type(error).__name__, error, flush=True)
    found[name] = answer
print(json.dumps(found), flush=True)
"""


def _foreign() -> tuple[bytes, bytes]:
    """Certificate and key with the right name, signed by nobody that we know."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubevirt.io:system:client:virt-handler")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.public_bytes(serialization.Encoding.PEM), private


@pytest.mark.case("SEC-013")
def test_only_virt_api_may_ask_a_handler(warm_vm: WarmVm, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VMI; a pod with certificates: the right one, others of the kubevirt CA, one of a foreign CA
        with the right name.
    Steps: ask the handler of the VMI's node for the console with each, and without, from the pod; without from the
        node; ask its port 8443.
    Expected: an answer only to the right one (101, the control); nothing to all others; 8443 tells its health
        and nothing of the guests.
    """
    space, vmi = warm_vm.space, warm_vm.vmi
    handler = Stack(space.rest, nodes, cluster).handler(vmi["status"]["nodeName"])
    address = handler["status"]["podIP"]
    data: dict[str, str] = {}
    for name in (RIGHT, *OTHERS):
        found = space.rest.get(core_path("secrets", NAMESPACE, name)).ok()["data"]
        data |= {f"{name}.crt": found["tls.crt"], f"{name}.key": found["tls.key"]}
    for suffix, content in zip((".crt", ".key"), _foreign(), strict=True):
        data[f"foreign{suffix}"] = base64.b64encode(content).decode()
    space.rest.post(core_path("secrets", space.name), {"metadata": {"name": "certs"}, "data": data}).ok()
    path = f"/v1/namespaces/{space.name}/virtualmachineinstances/vm/console"
    ways = ("-", "foreign", *OTHERS, RIGHT)
    pod = pods.python_pod(cluster, "stranger", _ASK, address, "8186", path, *ways)
    pod["spec"]["volumes"] = [{"name": "certs", "secret": {"secretName": "certs"}}]
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "certs", "mountPath": "/certs", "readOnly": True}]
    pods.start(space, pod)
    pods.wait_phase(space, "stranger", ("Succeeded", "Failed"), within_s=patience.promised(90))
    said = pods.log(space, "stranger")
    answers = json.loads(said.strip().splitlines()[-1])
    assert answers.pop(RIGHT) == "HTTP/1.1 101 Switching Protocols", said
    assert set(answers.values()) == {""}, said
    assert len(answers) == len(OTHERS) + 2, said

    node = nodes[cluster.workers[0]]
    asked = f"curl -sk --max-time 10 https://{address}:8186{path}"
    code, body = node.try_run(asked)
    assert (code != 0, body.strip()) == (True, ""), f"{code} {body}"
    for place, wanted in (("/healthz", "200"), (path, "404"), ("/", "404"), ("/debug/pprof", "404")):
        shown = node.run(f"curl -sk --max-time 10 -o /dev/null -w '%{{http_code}}' https://{address}:8443{place}")
        assert shown.strip() == wanted, f"{place}: {shown}"
