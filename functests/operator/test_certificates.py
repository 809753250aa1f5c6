"""Certificates of the components: replaced when somebody spoils them, and when their authority changes."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from functests.libs import build, patience, settings
from functests.libs.cluster import Cluster
from functests.libs.console import ConsoleRefused, open_socket
from functests.libs.kube import Space
from functests.libs.rest import VMI, Rest, core_path, subresource_path
from functests.libs.stack import NAMESPACE, Stack

pytestmark = pytest.mark.serial

WEBHOOK = "kubevirt-operator-webhook"
# Secret -> common name, and the service whose names stand in it.
LEAVES = {
    "kubevirt-operator-certs": (f"{WEBHOOK}.{NAMESPACE}.pod.cluster.local", WEBHOOK),
    "kubevirt-virt-api-certs": (f"virt-api.{NAMESPACE}.pod.cluster.local", "virt-api"),
    "kubevirt-controller-certs": (f"virt-controller.{NAMESPACE}.pod.cluster.local", "virt-controller"),
    "kubevirt-virt-handler-certs": ("kubevirt.io:system:client:virt-handler", "virt-handler"),
    "kubevirt-virt-handler-server-certs": ("kubevirt.io:system:node:virt-handler", "virt-handler"),
}
CA = "kubevirt-ca"


def _pem(rest: Rest, secret: str) -> tuple[bytes, bytes]:
    """Certificate and key as the secret holds them; empty when there is no secret."""
    answer = rest.get(core_path("secrets", NAMESPACE, secret))
    data = {} if answer.code == 404 else answer.ok().get("data", {})
    return base64.b64decode(data.get("tls.crt", "")), base64.b64decode(data.get("tls.key", ""))


def _certificate(rest: Rest, secret: str) -> x509.Certificate | None:
    """None while there is none."""
    certificate, key = _pem(rest, secret)
    return x509.load_pem_x509_certificate(certificate) if certificate and key else None


def _bundles(rest: Rest) -> dict[str, list[x509.Certificate]]:
    """The authorities that each place trusts: the ConfigMap, the webhooks, both versions of the API."""
    text = rest.get(core_path("configmaps", NAMESPACE, CA)).ok()["data"]["ca-bundle"]
    found = {"configmap": [text]}
    admission = "/apis/admissionregistration.k8s.io/v1"
    for place in (
        "validatingwebhookconfigurations/virt-api-validator", "validatingwebhookconfigurations/virt-operator-validator",
        "mutatingwebhookconfigurations/virt-api-mutator",
    ):  # fmt: skip
        webhooks = rest.get(f"{admission}/{place}").ok()["webhooks"]
        found[place] = [base64.b64decode(webhook["clientConfig"]["caBundle"]).decode() for webhook in webhooks]
    for version in ("v1", "v1alpha3"):
        service = rest.get(f"/apis/apiregistration.k8s.io/v1/apiservices/{version}.subresources.kubevirt.io").ok()
        found[version] = [base64.b64decode(service["spec"]["caBundle"]).decode()]
    assert all(len(set(texts)) == 1 for texts in found.values()), found
    return {place: x509.load_pem_x509_certificates(texts[0].encode()) for place, texts in found.items()}


def _is_signed(leaf: x509.Certificate, by: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(by)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _console_opens(rest: Rest, namespace: str) -> str:
    """"" when it does, else why not."""
    try:
        open_socket(rest, subresource_path(VMI, namespace, "vm", "console")).close()
    except ConsoleRefused as refused:
        return str(refused)
    return ""


@pytest.mark.demand(seconds=60)
@pytest.mark.case("OPR-015")
def test_spoiled_certificates_are_replaced(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running guest.
    Steps: put empty bytes into certificate and key of operator, API, controller, the handler's client and server.
    Expected: within 10 s each has a new pair that the same authority signed, with its common name and service names;
        within 60 s a console opens; no component was restarted.
    """
    space.boot(build.kernel_boot_vmi(cluster, "vm"))
    for console in space.opened:
        console.close()
    restarts = stack.restarts()
    authority = _certificate(stack.rest, CA)
    assert authority is not None
    old = {name: _pem(stack.rest, name) for name in LEAVES}
    for name in LEAVES:
        empty = {"data": {"tls.crt": "", "tls.key": ""}}
        stack.rest.patch(core_path("secrets", NAMESPACE, name), empty).ok()
    new = patience.eventually(
        "every secret has a pair",
        lambda: {name: _certificate(stack.rest, name) for name in LEAVES}, lambda seen: all(seen.values()),
    )  # fmt: skip
    for name, (common_name, service) in LEAVES.items():
        leaf = new[name]
        assert leaf is not None
        assert _pem(stack.rest, name)[1] != old[name][1], f"{name} has its old key"
        assert _is_signed(leaf, authority), name
        assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == common_name
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        wanted = {service, f"{service}.{NAMESPACE}", f"{service}.{NAMESPACE}.svc"}
        assert wanted <= set(names.get_values_for_type(x509.DNSName)), (name, names)
    patience.eventually(
        "a console opens", lambda: _console_opens(stack.rest, space.name), lambda why: not why
    )
    assert _certificate(stack.rest, CA) == authority
    assert stack.restarts() == restarts


@dataclass
class Traffic:
    """What people do all the time; ``faults``: what did not work, and when."""

    space: Space
    create: Callable[[], str]
    faults: list[str] = field(default_factory=list)
    rounds: int = 0

    def once(self) -> None:
        self.rounds += 1
        seen = {"create": self.create(), "console": _console_opens(self.space.rest, self.space.name)}
        for verb, status in (("pause", "True"), ("unpause", "")):
            act = self.space.act_on_vmi("vm", verb)
            seen[verb] = "" if act.code == 200 else f"{act.code} {act.text}"
            if act.code == 200:
                self.space.wait_condition("vm", "Paused", status)
        clock = time.strftime("%T")
        self.faults += [f"{clock} {what}: {why[:300]}" for what, why in seen.items() if why]


@pytest.mark.demand(seconds=230)
@pytest.mark.timeout(480)
@pytest.mark.case("OPR-016")
def test_a_new_authority_disturbs_nobody(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running guest.
    Steps: delete the secret kubevirt-ca; for three minutes, every second: create a VMI (dry run), open a console,
        pause and unpause.
    Expected: a new authority; ConfigMap, webhooks and both API versions trust it and the old one, the new one first;
        not one failure; in the end the new one has signed all five certificates; no component was restarted.
    """
    space.boot(build.kernel_boot_vmi(cluster, "vm"))
    for console in space.opened:
        console.close()
    restarts = stack.restarts()
    old = _certificate(stack.rest, CA)
    assert old is not None

    def create() -> str:
        answer = space.try_create(build.kernel_boot_vmi(cluster, "other"), dry_run=True)
        return "" if answer.code == 201 else f"{answer.code} {answer.text}"

    traffic = Traffic(space, create)
    stack.rest.delete(core_path("secrets", NAMESPACE, CA)).ok()
    new = patience.eventually(
        "there is a new authority", lambda: _certificate(stack.rest, CA),
        lambda seen: seen is not None and seen != old, within_s=patience.promised(30),
    )  # fmt: skip
    assert new is not None
    patience.eventually(
        "everything trusts the new one and the old one", lambda: _bundles(stack.rest),
        lambda seen: all(bundle == [new, old] for bundle in seen.values()), within_s=patience.promised(30),
    )  # fmt: skip

    def look() -> list[str]:
        traffic.once()
        return traffic.faults

    patience.quiet("something fails while the authority changes", look, bool, for_s=180)
    assert traffic.rounds > 60, f"only {traffic.rounds} rounds in three minutes"
    signed = patience.eventually(
        "the new authority has signed all",
        lambda: {name: leaf is not None and _is_signed(leaf, new)
                 for name in LEAVES for leaf in [_certificate(stack.rest, name)]},
        lambda seen: all(seen.values()),
        within_s=patience.promised(30),
    )  # fmt: skip
    assert len(signed) == len(LEAVES)
    patience.eventually(
        "a console opens", lambda: _console_opens(stack.rest, space.name), lambda why: not why
    )
    settings.wait_applied(stack.rest)
    assert stack.restarts() == restarts
