"""Straight to virt-api, past kube-apiserver: whose certificate is believed, and what is open to anybody."""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from functests.libs import build, patience, pods
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VM, VMI, core_path, subresource_path
from functests.libs.stack import API, NAMESPACE, is_ready

pytestmark = pytest.mark.demand(vcpus=0, memory_mib=200, boots=0)

GROUP = "/apis/subresources.kubevirt.io"
PKI = "/etc/kubernetes/pki"
ADMINISTRATOR = {"X-Remote-User": "admin", "X-Remote-Group": "system:masters"}

# Asks argv[1]:8443 each question of the JSON list in argv[2] on a connection of its own; one JSON line per answer.
# "certificate" is a file's name under /certificates. A failed handshake shows when the answer is read (TLS 1.3).
ASK = """
import http.client, json, ssl, sys
for question in json.loads(sys.argv[2]):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if question["certificate"]:
        context.load_cert_chain("/certificates/" + question["certificate"])
    connection = http.client.HTTPSConnection(sys.argv[1], 8443, context=context, timeout=15)
    try:
        connection.request(question["method"], question["path"], question["body"] or None, question["headers"])
        answer = connection.getresponse()
        said = {"code": answer.status, "text": answer.read().decode(errors="replace")[:4000]}
    except OSError as error:
        said = {"code": 0, "text": repr(error)}
    print(json.dumps(said), flush=True)
"""


@dataclass(frozen=True)
class Question:
    path: str
    method: str = "GET"
    certificate: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    def document(self) -> dict[str, Any]:
        return asdict(self)


def _asked(
    space: Space, cluster: Cluster, questions: list[Question], certificates: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The answers {"code", "text"} of virt-api to a pod; code 0 is a connection that failed. ``certificates``: PEM
    with its key, by name."""
    servers = space.rest.get(f"{core_path('pods', NAMESPACE)}?labelSelector=kubevirt.io%3D{API}").ok()["items"]
    address = next(pod["status"]["podIP"] for pod in servers if is_ready(pod))
    text = json.dumps([question.document() for question in questions])
    pod = pods.python_pod(cluster, "asker", ASK, address, text)
    data = {name: base64.b64encode(pem.encode()).decode() for name, pem in certificates.items()}
    space.rest.post(core_path("secrets", space.name), {"metadata": {"name": "certificates"}, "data": data}).ok()
    pod["spec"]["volumes"] = [{"name": "certificates", "secret": {"secretName": "certificates"}}]
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "certificates", "mountPath": "/certificates"}]
    pods.start(space, pod)
    pods.wait_phase(space, "asker", ("Succeeded", "Failed"), within_s=patience.promised(120))
    said = pods.log(space, "asker").strip().splitlines()
    assert len(said) == len(questions), said
    return [json.loads(line) for line in said]


def _authority(name: str) -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    built = _dated(subject, subject, key).add_extension(constraints, critical=True)
    return built.sign(key, hashes.SHA256()), key


def _issued(ca: x509.Certificate, ca_key: Any, name: str) -> str:
    """PEM of a client certificate and its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    made = _dated(subject, ca.subject, key).add_extension(usage, critical=False).sign(ca_key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return (made.public_bytes(serialization.Encoding.PEM) + private).decode()


def _dated(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
    )  # fmt: skip


@pytest.mark.case("RBAC-012")
def test_only_the_front_proxy_speaks_for_others(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a stopped VM; the front proxy's own certificate starts it in a dry run as an administrator named in
        headers (the control).
    Steps: from a pod, straight to virt-api with the same headers: without a certificate; with one of the cluster's
        client CA; of a CA of our own, with the front proxy's name; of the front proxy's CA, with another name.
    Expected: 401 for the first, 401 or a failed handshake for the second, a failed handshake for the others; the VM is
        as it was.
    """
    space.create(build.vm_of(build.on_node(build.kernel_boot_vmi(cluster, "vm"), "no-such-node"), "Halted"))
    before = space.wait_vm_status("vm", "Stopped")["metadata"]["resourceVersion"]
    (control_plane,) = (node for node in nodes if node.name not in cluster.workers + cluster.machines)

    def pki(*names: str) -> str:
        return "\n".join(control_plane.run(f"cat {PKI}/{name}") for name in names)

    proxy_ca = x509.load_pem_x509_certificate(pki("front-proxy-ca.crt").encode())
    proxy_key = serialization.load_pem_private_key(pki("front-proxy-ca.key").encode(), None)
    own = pki("front-proxy-client.crt", "front-proxy-client.key")
    name = x509.load_pem_x509_certificate(own.encode()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    certificates = {
        "control": own,
        "client": pki("apiserver-kubelet-client.crt", "apiserver-kubelet-client.key"),
        "stranger": _issued(*_authority("front-proxy-ca"), str(name)),
        "other": _issued(proxy_ca, proxy_key, "somebody-else"),
    }
    start = subresource_path(VM, space.name, "vm", "start")
    rehearsal = '{"dryRun": ["All"]}'
    questions = [Question(start, "PUT", "control", ADMINISTRATOR, rehearsal)]
    questions += [Question(start, "PUT", which, ADMINISTRATOR) for which in ("", "client", "stranger", "other")]
    control, bare, client, stranger, other = _asked(space, cluster, questions, certificates)
    assert control["code"] == 202, control
    assert bare["code"] == 401, bare
    assert client["code"] in (0, 401), client
    assert stranger["code"] == 0, stranger
    assert other["code"] == 0, other
    vm = space.vm("vm")
    assert (vm["metadata"]["resourceVersion"], vm["spec"]["runStrategy"]) == (before, "Halted")


@pytest.mark.case("RBAC-013")
def test_strangers_learn_what_there_is_and_not_whose(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a stopped VM.
    Steps: from a pod without a certificate, straight to virt-api: discovery, version, health, OpenAPI; then paths of
        the VM, of one that does not exist, and of a namespace that does not exist.
    Expected: 200 for the first; 401 for all others, in the same words whether the object exists or not.
    """
    space.create(build.vm_of(build.on_node(build.kernel_boot_vmi(cluster, "vm"), "no-such-node"), "Halted"))
    public = ["/", "/apis", GROUP, "/openapi/v2", "/openapi/v3", "/healthz"]
    public += [f"{GROUP}/{version}{end}" for version in ("v1", "v1alpha3")
               for end in ("", "/version", "/guestfs", "/healthz")]  # fmt: skip
    private = [
        (method, subresource_path(plural, namespace, name, verb))
        for namespace, name in ((space.name, "vm"), (space.name, "unknown"), ("nowhere", "vm"))
        for method, plural, verb in (
            ("PUT", VM, "start"), ("GET", VM, "expand-spec"), ("GET", VMI, "console"), ("PUT", VMI, "pause"),
            ("GET", VMI, "guestosinfo"),
        )
    ]  # fmt: skip
    questions = [Question(path) for path in public]
    questions += [Question(path, method, headers=ADMINISTRATOR) for method, path in private]
    answers = _asked(space, cluster, questions, {})
    closed = {path: said["code"] for path, said in zip(public, answers, strict=False) if said["code"] != 200}
    assert not closed, closed
    guarded = answers[len(public) :]
    opened = [(where, said) for where, said in zip(private, guarded, strict=True) if said["code"] != 401]
    assert not opened, opened
    assert len({said["text"] for said in guarded}) == 1, {said["text"] for said in guarded}
    assert space.name not in guarded[0]["text"], guarded[0]
