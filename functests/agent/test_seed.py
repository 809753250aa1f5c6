"""cloud-init data from where it is given to the bytes in the guest."""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping

import pytest

from functests.libs import build, guest, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.kube import Space
from functests.libs.refusal import misfit
from functests.libs.rest import core_path

LIMIT = 2048


def _digest(data: str) -> str:
    return hashlib.sha256(data.encode()).hexdigest()


def _text(length: int) -> str:
    """Random text, with what markup and shells would trip over."""
    head = "#cloud-config\n# <&>\"'\n# "
    return head + secrets.token_hex(length)[: length - len(head)]


def _secret(space: Space, name: str, data: Mapping[str, str]) -> None:
    space.rest.post(core_path("secrets", space.name), {"metadata": {"name": name}, "stringData": dict(data)}).ok()


def _seeded(manifest: Manifest, name: str, source: object) -> Manifest:
    return build.with_disk(manifest, name, {"cloudInitNoCloud": source}, serial=f"seed-{name}")


def _files(shell: Console, name: str) -> dict[str, str]:
    """SHA-256 of each file of the seed, read from the disk anew."""
    device = guest.disk(shell, f"seed-{name}")
    shell.succeed(f"mkdir -p /tmp/{name} && mount -o ro {device} /tmp/{name}")
    lines = shell.succeed(f"cd /tmp/{name} && sha256sum * ; cd / ; umount /tmp/{name}").splitlines()
    return {line.split()[1]: line.split()[0] for line in lines}


@pytest.mark.case("AGT-014")
@pytest.mark.case("AGT-013")
@pytest.mark.case("AGT-012")
def test_seeds_arrive_from_wherever_they_come(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: secrets with user data (keys userData and userdata) and network data.
    Steps: boot a VMI with a seed of each kind: base64, a secret, two secrets, inline user and network data, 2048 bytes
        inline, 100 KiB by a secret; create VMIs with 2049 bytes inline.
    Expected: the same bytes in the guest, each; no text of a secret in the VMI, its pod or their events; 422 that names
        the limit.
    """
    user, network, large = _text(300), _text(200), _text(100 << 10)
    plain, plain_network, encoded, longest = _text(100), _text(120), _text(500), _text(LIMIT)
    _secret(space, "camel", {"userData": user})
    _secret(space, "lower", {"userdata": user})
    _secret(space, "network", {"networkdata": network})
    _secret(space, "large", {"userdata": large})
    reference = {"name": "lower"}
    sources: dict[str, tuple[object, dict[str, str]]] = {
        "base64": ({"userDataBase64": base64.b64encode(encoded.encode()).decode()}, {"user-data": encoded}),
        "secret": ({"secretRef": {"name": "camel"}}, {"user-data": user}),
        "two": (
            {"secretRef": reference, "networkDataSecretRef": {"name": "network"}},
            {"user-data": user, "network-config": network},
        ),
        "inline": (
            {"userData": plain, "networkData": plain_network}, {"user-data": plain, "network-config": plain_network},
        ),
        "longest": ({"userData": longest}, {"user-data": longest}),
        "large": ({"secretRef": {"name": "large"}}, {"user-data": large}),
    }  # fmt: skip
    base = build.kernel_boot_vmi(cluster, "vm")
    manifest = base
    for name, (source, _) in sources.items():
        manifest = _seeded(manifest, name, source)
    vmi, shell = space.boot(manifest)
    lost = []
    for name, (_, files) in sources.items():
        found = _files(shell, name)
        found.pop("meta-data")
        if found != {file: _digest(text) for file, text in files.items()}:
            lost.append(f"{name}: {found}")
    assert not lost, lost
    told = json.dumps([space.vmi("vm"), space.pod(vmi), space.events("vm")])
    for text in (user, network, large):
        assert text[-60:] not in told
        assert base64.b64encode(text.encode()).decode()[:60] not in told

    for field in ("userData", "networkData"):
        answer = space.try_create(_seeded(base, "seed", {field: _text(LIMIT + 1)}), dry_run=True)
        wrong = misfit(answer, "spec.volumes[0].cloudInitNoCloud")
        assert not wrong, wrong
        assert f"{field.lower()} exceeds {LIMIT} byte limit" in answer.message, answer.message


@pytest.mark.case("AGT-016")
def test_a_secret_that_comes_late_is_waited_for(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: create a VMI whose user data secret does not exist; when its pod complains, create the secret.
    Expected: Scheduling, an event FailedMount of the pod that names the secret; then the same VMI boots with the data.
    """
    space.create(_seeded(build.kernel_boot_vmi(cluster, "vm"), "late", {"secretRef": {"name": "not-there-yet"}}))
    vmi = space.wait_vmi("vm", lambda seen: seen["status"].get("phase") == "Scheduling", "Scheduling")
    pod = space.pod(vmi)["metadata"]["name"]
    complaints = [event["message"] for event in
                  space.wait_events(pod, "FailedMount", "Pod", within_s=patience.promised(40))]
    assert any("not-there-yet" in text for text in complaints), complaints
    assert space.vmi("vm")["status"]["phase"] == "Scheduling"
    text = _text(200)
    _secret(space, "not-there-yet", {"userdata": text})
    running = space.wait_running("vm", within_s=patience.promised(60))
    assert running["metadata"]["uid"] == vmi["metadata"]["uid"]
    assert _files(space.shell("vm"), "late")["user-data"] == _digest(text)


@pytest.mark.demand(boots=3)
@pytest.mark.case("AGT-018")
@pytest.mark.case("AGT-020")
def test_a_running_guest_keeps_its_seed(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM whose user data is a secret's.
    Steps: edit the secret; reboot inside the guest; restart the VM.
    Expected: the guest's seed is the same byte for byte, also after its reboot; after the restart it has the new data
        and the instance-id of before.
    """
    first, second = _text(200), _text(250)
    _secret(space, "seed", {"userdata": first})
    manifest = _seeded(build.kernel_boot_vmi(cluster, "vm"), "seed", {"secretRef": {"name": "seed"}})
    vmi, shell = space.boot(build.vm_of(manifest))
    device = guest.disk(shell, "seed-seed")

    def instance_id(console: Console) -> str:
        console.succeed(f"mkdir -p /tmp/id && mount -o ro {device} /tmp/id")
        return str(json.loads(console.succeed("cat /tmp/id/meta-data; umount /tmp/id"))["instance-id"])

    whole, identity = shell.succeed(f"sha256sum < {device}"), instance_id(shell)
    assert identity == vmi["spec"]["domain"]["firmware"]["uuid"]
    assert _files(shell, "seed")["user-data"] == _digest(first)
    space.rest.patch(core_path("secrets", space.name, "seed"), {"stringData": {"userdata": second}}).ok()
    assert shell.succeed(f"sha256sum < {device}") == whole
    since = shell.position
    shell.send("reboot -f\n")
    shell.wait_for("tiny: ready", within_s=patience.boots(1), since=since)
    shell.login(within_s=patience.boots(1))
    assert shell.succeed(f"sha256sum < {device}") == whole

    assert space.act_on_vm("vm", "restart").code == 202
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(2))
    again = space.shell("vm")
    assert _files(again, "seed")["user-data"] == _digest(second)
    assert instance_id(again) == identity
