"""Input made to hurt: no answer is a 5xx, nothing reaches the domain but as text, no process dies of it."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from functests.libs import build, roles
from functests.libs.build import Manifest, merged
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VM, VMI, Answer, kubevirt_path
from functests.libs.stack import COMPONENTS, NAMESPACE

MARKUP = """"/><qemu:commandline>]]>&lt;&amp;'<!--"""
POISONS = {
    "markup": MARKUP,
    "end of a comment": "--><x/>",
    "newline": "a\nb",
    "control character": "a\x01b",
    "emoji": "\U0001f600",
    "64 KiB": "x" * 65536,
    "format": "%s%n{0}${HOME}$(id)`id`",
}


def _component_restarts(space: Space) -> dict[str, int]:
    """Restarts of each component's container, by pod."""
    items = space.rest.get(f"/api/v1/namespaces/{NAMESPACE}/pods").ok()["items"]
    return {
        pod["metadata"]["name"]: status["restartCount"]
        for pod in items
        if pod["metadata"]["labels"].get("kubevirt.io") in COMPONENTS
        for status in pod["status"].get("containerStatuses", [])
    }


def _places(cluster: Cluster) -> dict[str, Any]:
    """Where a tenant may write text that ends in the domain, on the node, or in a status: place -> (text -> patch)."""
    image = cluster.image("tiny")
    return {
        "disk serial": lambda text: {"spec": {"domain": {"devices": {"disks": [
            {"name": "root", "disk": {"bus": "virtio"}, "serial": text}]}}}},
        "disk name": lambda text: {"spec": {
            "volumes": [{"name": text, "containerDisk": {"image": image}}],
            "domain": {"devices": {"disks": [{"name": text, "disk": {"bus": "virtio"}}]}}}},
        "firmware serial": lambda text: {"spec": {"domain": {"firmware": {"serial": text}}}},
        "firmware uuid": lambda text: {"spec": {"domain": {"firmware": {"uuid": text}}}},
        "cpu model": lambda text: {"spec": {"domain": {"cpu": {"model": text}}}},
        "cpu feature": lambda text: {"spec": {"domain": {"cpu": {"features": [{"name": text}]}}}},
        "machine type": lambda text: {"spec": {"domain": {"machine": {"type": text}}}},
        "interface name": lambda text: {"spec": {
            "networks": [{"name": text, "pod": {}}],
            "domain": {"devices": {"interfaces": [{"name": text, "masquerade": {}}]}}}},
        "interface model": lambda text: {"spec": {"domain": {"devices": {"interfaces": [
            {"name": "default", "masquerade": {}, "model": text}]}}}},
        "mac address": lambda text: {"spec": {"domain": {"devices": {"interfaces": [
            {"name": "default", "masquerade": {}, "macAddress": text}]}}}},
        "image": lambda text: {"spec": {"volumes": [{"name": "root", "containerDisk": {"image": text}}]}},
        "hostname": lambda text: {"spec": {"hostname": text}},
        "node selector": lambda text: {"spec": {"nodeSelector": {"a": text}}},
        "claim": lambda text: {"spec": {"volumes": [
            {"name": "root", "persistentVolumeClaim": {"claimName": text}}]}},
        "label": lambda text: {"metadata": {"labels": {"a": text}}},
    }  # fmt: skip


@pytest.mark.case("SEC-020")
def test_poisoned_text_is_refused_or_stays_text(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: put markup, newlines, control characters, an emoji, 64 KiB and format strings into every text field that
        reaches the domain or the pod, one at a time, as VMI and in a VM (dry run).
    Expected: 201 or a 4xx Status that names a field or says why; never 5xx; no component is restarted.
    """
    control = build.disk_boot_vmi(cluster, "vm")
    assert space.try_create(control, dry_run=True).code == 201
    before = _component_restarts(space)
    misses = []
    for place, patch in _places(cluster).items():
        for what, text in POISONS.items():
            poisoned = merged(control, patch(text))
            for manifest in (poisoned, build.vm_of(poisoned)):
                answer = space.try_create(manifest, dry_run=True)
                is_status = answer.body.get("kind") == "Status" and bool(answer.message)
                if not (answer.code == 201 or (400 <= answer.code < 500 and is_status)):
                    misses.append(f"{what} in {place} of a {manifest['kind']}: {answer.code} {answer.text[:200]}")
    assert not misses, "\n".join(misses)
    assert _component_restarts(space) == before


@pytest.mark.case("SEC-020")
def test_markup_reaches_the_guest_as_text(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: none.
    Steps: boot a VMI with markup in its kernel arguments, its serial number, labels and annotations.
    Expected: the guest's command line and DMI show the literal text; QEMU has no argument that came from the markup.
    """
    markup = """"/><qemu:commandline><qemu:arg-value='-S'/></qemu:commandline>&lt;"""
    base = build.kernel_boot_vmi(cluster, "vm", kernel_args=f"poison={markup}")
    manifest = merged(base, {
        "metadata": {"annotations": {"example.com/text": markup}},
        "spec": {"domain": {"firmware": {"serial": "a&b<c>'d'"}}},
    })  # fmt: skip
    answer = space.try_create(manifest, dry_run=True)
    if answer.code == 422:
        fields = [str(cause.get("field")) for cause in answer.causes]
        assert fields == ["spec.domain.firmware.serial"], answer.text
        manifest = merged(base, {"metadata": {"annotations": {"example.com/text": markup}}})
    vmi, shell = space.boot(manifest)
    assert f"poison={markup}" in shell.succeed("cat /proc/cmdline")
    if "serial" in manifest["spec"]["domain"]["firmware"]:
        assert shell.succeed("cat /sys/class/dmi/id/product_serial") == "a&b<c>'d'"
    qemu = nodes[vmi["status"]["nodeName"]].qemu(space.pod(vmi)["metadata"]["uid"])
    assert [word for word in qemu.argv if "qemu:commandline" in word] == [
        word for word in qemu.argv if word.startswith("console=")
    ], qemu.argv


@pytest.mark.case("ADM-042")
def test_unknown_fields_are_told(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: create a VM with an unknown field, strictly and as by default.
    Expected: 400 that names the full path; 201 with a Warning header, and the stored object lacks the field; an unknown
        annotation of the template stays.
    """
    vm = build.vm_of(build.disk_boot_vmi(cluster, "vm"), "Halted")
    vm["spec"]["template"]["spec"]["domain"]["foo"] = "bar"
    vm["spec"]["template"]["metadata"]["annotations"] = {"example.com/unknown": "kept"}
    path = kubevirt_path(VM, space.name)
    strict = space.rest.post(f"{path}?fieldValidation=Strict", vm)
    assert (strict.code, "spec.template.spec.domain.foo" in strict.message) == (400, True), strict.text
    lenient = space.rest.post(f"{path}?fieldValidation=Warn", vm)
    assert lenient.code == 201, lenient.text
    assert "spec.template.spec.domain.foo" in lenient.headers.get("Warning", ""), lenient.headers
    template = space.vm("vm")["spec"]["template"]
    assert "foo" not in template["spec"]["domain"], template
    assert template["metadata"]["annotations"]["example.com/unknown"] == "kept", template


@pytest.mark.case("ADM-044")
def test_what_is_no_machine_is_refused_in_time(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: create a VM with a word for a number, without template, from no JSON, with 4 MiB of annotation,
        with a template that is a list.
    Expected: each a 4xx Status with a text; never 5xx.
    """
    vm = build.vm_of(build.disk_boot_vmi(cluster, "vm"), "Halted")
    path = kubevirt_path(VM, space.name)
    bodies: dict[str, object] = {
        "a word for a number": merged(vm, {"spec": {"template": {"spec": {"domain": {"cpu": {"cores": "two"}}}}}}),
        "no template": merged(vm, {"spec": {"template": None}}),
        "a list for a template": {**vm, "spec": {"runStrategy": "Halted", "template": []}},
        "no JSON": "this is no JSON {",
        "4 MiB": merged(vm, {"metadata": {"annotations": {"a": "x" * 4 * 2**20}}}),
        "deep": '{"a":' * 5000 + "1" + "}" * 5000,
        "null": "null",
    }
    misses = []
    for what, body in bodies.items():
        answer = space.rest.post(path, body)
        if not (400 <= answer.code < 500 and answer.body.get("kind") == "Status" and answer.message):
            misses.append(f"{what}: {answer.code} {answer.text[:200]}")
    assert not misses, "\n".join(misses)
    assert space.get_vm("vm") is None


@pytest.mark.case("ADM-046")
def test_a_crowd_gets_its_answers(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: 100 dry-run creates of VMs, 16 at a time, every other one with a disk that has no volume.
    Expected: 50 are admitted, 50 refused at the disk's name; no 5xx.
    """
    good = build.vm_of(build.disk_boot_vmi(cluster, "vm"), "Halted")
    disks = [{"name": "nowhere", "disk": {"bus": "virtio"}}]
    bad = build.vm_of(
        merged(build.disk_boot_vmi(cluster, "vm"), {"spec": {"domain": {"devices": {"disks": disks}}}}), "Halted"
    )

    def one(number: int) -> Answer:
        return space.try_create(bad if number % 2 else good, dry_run=True)

    with ThreadPoolExecutor(16) as crowd:
        answers = list(crowd.map(one, range(100)))
    codes = [answer.code for answer in answers]
    assert (codes.count(201), codes.count(422)) == (50, 50), sorted(codes)
    wrong = [answer.text for answer in answers if answer.code == 422 and "disks[" not in answer.text]
    assert not wrong, wrong[0]


def _mutated(chance: random.Random, document: Any) -> Any:
    """``document`` with one value somewhere in it replaced by something of another kind."""
    junk: tuple[Any, ...] = (None, -1, 2**63, 1.5, "", "x" * 5000, MARKUP, "-1Mi", "1e400", [], {}, [[]], True, "\0")
    if isinstance(document, dict) and document and chance.random() < 0.9:
        key = chance.choice(sorted(document))
        return {**document, key: _mutated(chance, document[key])}
    if isinstance(document, list) and document and chance.random() < 0.9:
        place = chance.randrange(len(document))
        return [*document[:place], _mutated(chance, document[place]), *document[place + 1 :]]
    return chance.choice(junk)


@pytest.mark.case("ADM-047")
def test_random_faults_never_break_the_webhook(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VM that is admitted (the control).
    Steps: 300 dry-run creates of it, each with a random value replaced by junk (the seed is in the failure).
    Expected: every answer is 2xx or a 4xx Status; no virt-api is restarted.
    """
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    vmi = build.with_disk(
        build.with_disk(build.disk_boot_vmi(cluster, "vm"), "data", {"emptyDisk": {"capacity": "16Mi"}}),
        "seed", {"cloudInitNoCloud": {"userData": "#cloud-config"}},
    )  # fmt: skip
    full = merged(vmi, {"spec": {
        "hostname": "a", "evictionStrategy": "None", "nodeSelector": {"a": "b"},
        "readinessProbe": {"tcpSocket": {"port": 22}, "periodSeconds": 3},
        "domain": {
            "cpu": {"cores": 1, "sockets": 1, "threads": 1, "model": "host-model", "features": [{"name": "sse"}]},
            "resources": {"requests": {"memory": "128Mi", "cpu": "100m"}, "limits": {"memory": "512Mi"}},
            "firmware": {"uuid": "5d307ca9-b3ef-428c-8861-06e72d69f223", "serial": "a"},
            "clock": {"utc": {}, "timer": {"hpet": {"present": False}}},
            "machine": {"type": "q35"},
        },
    }})  # fmt: skip
    document = build.vm_of(full, "Halted")
    control = space.try_create(document, dry_run=True)
    assert control.code == 201, control.text
    before = _component_restarts(space)
    mutants: list[Manifest] = [
        {**document, "spec": _mutated(chance, document["spec"])} for _ in range(300)
    ]

    def one(mutant: Manifest) -> str:
        answer = space.try_create(mutant, dry_run=True)
        is_status = answer.body.get("kind") == "Status"
        if answer.code == 201 or (400 <= answer.code < 500 and is_status):
            return ""
        return f"{answer.code} {answer.text[:300]} for {json.dumps(mutant['spec'])[:1500]}"

    with ThreadPoolExecutor(4) as crowd:
        misses = [text for text in crowd.map(one, mutants) if text]
    assert not misses, f"seed {seed}: {len(misses)} misses, the first: {misses[0]}"
    assert _component_restarts(space) == before


@pytest.mark.case("ADM-030")
def test_labels_of_the_product_are_not_a_tenants(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a user with the role admin.
    Steps: the user creates a VMI with each label that the product itself sets, and a VM with it in its template; the
        controller's account creates the VMI.
    Expected: 422 where the label stands, "reserved"; the controller's is admitted (dry run).
    """
    _, user = roles.user_with(space, "admin")
    path, machines = (f"{kubevirt_path(kind, space.name)}?dryRun=All" for kind in (VMI, VM))
    control = build.disk_boot_vmi(cluster, "vm")
    assert user.post(path, control).code == 201
    misses = []
    for label in ("created-by", "nodeName", "schedulable"):
        labels = {"metadata": {"labels": {f"kubevirt.io/{label}": "x"}}}
        marked = merged(control, labels)
        for where, manifest, place in (
            (path, marked, "metadata.labels"),
            (machines, build.vm_of(marked, "Halted"), "spec.template.metadata.labels"),
        ):
            answer = user.post(where, manifest)
            fields = [cause.get("field") for cause in answer.causes]
            if (answer.code, fields) != (422, [place]) or "reserved" not in answer.message:
                misses.append(f"{label} at {place}: {answer.code} at {fields}: {answer.message[:300]}")
        own = space.rest.as_user("system:serviceaccount:kubevirt:kubevirt-controller").post(path, marked)
        if own.code != 201:
            misses.append(f"{label} by the controller: {own.code} {own.message[:300]}")
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-041")
@pytest.mark.parametrize("kind", ["VirtualMachine", "VirtualMachineInstance"])
def test_a_dry_run_leaves_no_trace(space: Space, cluster: Cluster, kind: str) -> None:
    """
    Preconditions: none.
    Steps: create, patch and delete with dryRun=All.
    Expected: the answers show defaults and changes; afterwards no object, no new resourceVersion, no event, no pod.
    """
    vmi = build.on_node(build.disk_boot_vmi(cluster, "vm"), "no-such-node")
    manifest, plural = (build.vm_of(vmi, "Halted"), VM) if kind == "VirtualMachine" else (vmi, VMI)
    path = kubevirt_path(plural, space.name)
    created = space.rest.post(f"{path}?dryRun=All", manifest)
    assert created.code == 201, created.text
    template = created.body["spec"]["template"]["spec"] if plural == VM else created.body["spec"]
    assert template["domain"]["firmware"]["uuid"], "the answer lacks defaults"
    assert space.rest.get(f"{path}/vm").code == 404
    assert space.rest.get(f"/api/v1/namespaces/{space.name}/pods").ok()["items"] == []
    assert space.events("vm") == []
