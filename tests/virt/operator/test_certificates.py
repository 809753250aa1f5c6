"""When certificates are renewed, in which order peers learn of it, and that what is issued can be used."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from virt.api import v1
from virt.kube.http import Certificates
from virt.operator.certificates import issue, plan
from virt.operator.certificates.plan import Held, Settings, Span
from virt.operator.certificates.renewal import Renewal, renewal
from virt.operator.resources import Json
from virt.operator.strategy import certificates as documents
from virt.operator.strategy.certificates import KeyPair

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEFAULT = plan.settings(v1.KubeVirtCertificateRotateStrategy())


class Store:
    """Secrets and bundle as the operator wrote them, and a clock."""

    def __init__(self, settings: Settings = DEFAULT) -> None:
        self.settings = settings
        self.now = NOW
        self.secrets: dict[str, Json | None] = {}
        self.bundle: Json | None = None

    def renew(self) -> Renewal:
        found = renewal(self.secrets, self.bundle, "kubevirt", self.settings, self.now)
        for document in documents.documents("kubevirt", found.material):
            name = document["metadata"]["name"]
            if document["kind"] == "Secret":
                self.secrets[name] = document
            elif name == "kubevirt-ca":
                self.bundle = document
        return found

    def cas(self) -> int:
        assert self.bundle is not None
        return len(issue.authorities(self.bundle["data"]["ca-bundle"]))

    def signers(self) -> set[int]:
        """Positions in the bundle of the CAs that signed the certificates in use."""
        assert self.bundle is not None
        trusted = issue.authorities(self.bundle["data"]["ca-bundle"])
        keys = [ca.held.key_id for ca in trusted]
        pairs = [issue.pair_in(self.secrets[name]) for name in plan.LEAVES]
        return {keys.index(issue.held(pair, trusted).signer) for pair in pairs if pair}


def test_defaults_of_the_object() -> None:
    assert Settings(Span("168h", timedelta(hours=33.6)), Span("24h", timedelta(hours=4.8))) == DEFAULT
    own = v1.KubeVirtSelfSignConfiguration(
        ca=v1.CertConfig(duration="5m", renew_before="90s"), server=v1.CertConfig(duration="2m", renew_before="30s"))
    found = plan.settings(v1.KubeVirtCertificateRotateStrategy(self_signed=own))
    assert found.overlap == timedelta(seconds=90)
    assert found.propagation == timedelta(seconds=45)


def test_first_issue_then_nothing_until_the_first_deadline() -> None:
    store = Store()
    first = store.renew()
    assert set(first.issued) == {plan.CA, *plan.LEAVES}
    assert first.wake_at == NOW + timedelta(hours=24 - 4.8)
    store.now += HOUR
    assert store.renew().issued == ()
    store.now = first.wake_at
    assert set(store.renew().issued) == set(plan.LEAVES)


def test_a_new_ca_is_published_before_it_signs_and_the_old_one_goes_after_the_overlap() -> None:
    store = Store()
    store.renew()
    store.secrets[plan.CA] = None
    store.now += HOUR
    rotated = store.renew()
    assert rotated.issued == (plan.CA,)
    assert (store.cas(), store.signers()) == (2, {1})
    assert rotated.wake_at == store.now + plan.PROPAGATION
    store.now = rotated.wake_at
    signed = store.renew()
    assert set(signed.issued) == set(plan.LEAVES)
    assert (store.cas(), store.signers()) == (2, {0})
    store.now = NOW + HOUR + DEFAULT.overlap
    store.renew()
    assert store.cas() == 1


def test_short_lives_never_leave_a_certificate_without_a_trusted_ca() -> None:
    settings = Settings(Span("5m", timedelta(seconds=90)), Span("2m", timedelta(seconds=30)))
    store = Store(settings)
    rotations = 0
    while store.now < NOW + timedelta(minutes=30):
        found = store.renew()
        rotations += plan.CA in found.issued
        assert store.signers()
        for name in plan.LEAVES:
            pair = issue.pair_in(store.secrets[name])
            assert pair is not None
            held = issue.held(pair, issue.authorities(found.material.bundle))
            assert held.signer
            assert held.not_after > store.now
        for ca in issue.authorities(found.material.bundle):
            assert ca.held.not_after > store.now
        assert found.wake_at > store.now
        store.now = found.wake_at
    assert rotations >= 8


@pytest.mark.parametrize("broken", [
    {}, {"data": {"tls.crt": "", "tls.key": ""}}, {"data": {"tls.crt": "eA==", "tls.key": "eA=="}},
    {"data": {"tls.crt": "=", "tls.key": "="}},
])
def test_unreadable_secrets_count_as_missing(broken: Json) -> None:
    assert issue.pair_in({"metadata": {"name": "x"}, **broken}) is None


def test_a_key_of_another_certificate_counts_as_missing() -> None:
    one, other = (issue.new_ca("1h", HOUR, NOW) for _ in range(2))
    mixed = documents._secret("n", "x", KeyPair(one.certificate, other.key, "1h"))
    assert issue.pair_in(mixed) is None


def test_leaves_are_due() -> None:
    ca = Held("ca", NOW - plan.BACKDATE, NOW + 168 * HOUR, "168h")
    good = Held("a", NOW - plan.BACKDATE, NOW + 24 * HOUR, "24h", "ca")
    cases = {
        "good": good, "missing": None, "stranger": Held("b", NOW, NOW + 24 * HOUR, "24h", ""),
        "other duration": Held("c", NOW, NOW + 24 * HOUR, "12h", "ca"),
        "old": Held("d", NOW, NOW + 4 * HOUR, "24h", "ca"),
    }
    assert plan.due_leaves(ca, cases, DEFAULT, NOW) == ("missing", "stranger", "other duration", "old")
    ending = Held("ca", NOW - 150 * HOUR, NOW + 17 * HOUR, "168h")
    assert plan.leaf_deadline(ending, good, DEFAULT) == ending.not_after - DEFAULT.overlap / 2


def test_bundle_holds_at_most_fifty_newest_first() -> None:
    current = Held("now", NOW - plan.BACKDATE, NOW + 168 * HOUR)
    older = [Held(str(n), NOW - n * HOUR, NOW + HOUR) for n in range(2, 90)] + [Held("dead", NOW - HOUR, NOW)]
    found = plan.bundle(current, older, DEFAULT, NOW)
    assert [ca.key_id for ca in found[:3]] == ["now", "2", "3"]
    assert len(found) == plan.MOST_CAS


def test_names_of_servers_and_clients() -> None:
    api = issue.subject("kubevirt-virt-api-certs", "kubevirt")
    assert api.common_name == "virt-api.kubevirt.pod.cluster.local"
    assert {"virt-api", "virt-api.kubevirt", "virt-api.kubevirt.svc"} <= set(api.dns_names)
    assert issue.subject("kubevirt-virt-handler-certs", "kubevirt").common_name == (
        "kubevirt.io:system:client:virt-handler")


def test_openssl_takes_both_sides(tmp_path: Path) -> None:
    """A handshake in memory between two components, while two CAs of one name are in the bundle."""
    store = Store()
    store.now = datetime.now(UTC)
    store.renew()
    store.secrets[plan.CA] = None
    found = store.renew()
    ca_file = tmp_path / "ca-bundle"
    ca_file.write_text(found.material.bundle)
    contexts = {}
    for name in ("kubevirt-virt-handler-server-certs", "kubevirt-virt-handler-certs"):
        folder = tmp_path / name
        folder.mkdir()
        folder.joinpath("tls.crt").write_text(found.material.pairs[name].certificate)
        folder.joinpath("tls.key").write_text(found.material.pairs[name].key)
        contexts[name] = Certificates(folder, client_ca=ca_file)
    server_side = contexts["kubevirt-virt-handler-server-certs"].server
    client_side = contexts["kubevirt-virt-handler-certs"].client
    client_side.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    done: set[str] = set()
    for _ in range(6):
        for name, side in (("client", client), ("server", server)):
            try:
                side.do_handshake()
                done.add(name)
            except ssl.SSLWantReadError:
                continue
    assert done == {"client", "server"}
    assert dict(part[0] for part in (server.getpeercert() or {})["subject"])["commonName"] == (  # type: ignore[misc]
        "kubevirt.io:system:client:virt-handler")
