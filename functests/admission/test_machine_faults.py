"""Faults of a machine as a whole, in tables: each is refused at its own field while the control is admitted.

Refused means 422 with exactly one cause. All are dry runs, nothing is stored; a table reports all its misses at once.
"""

from typing import Any

import pytest

from functests.libs import build, refusal
from functests.libs.build import Manifest, merged
from functests.libs.cluster import Cluster
from functests.libs.kube import Space


@pytest.mark.case("ADM-003")
def test_a_refusal_lists_ten_causes_and_counts_the_rest(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with twelve disks that have no volume.
    Expected: 422 with ten causes; the message ends by counting the other two; nothing is stored.
    """
    control = build.disk_boot_vmi(cluster, "vm")
    assert space.try_create(control, dry_run=True).code == 201
    disks = [{"name": f"disk-{number}", "disk": {"bus": "virtio"}} for number in range(12)]
    answer = space.try_create(merged(control, build.devices_patch(disks=[build.ROOT_DISK, *disks])))
    assert answer.code == 422, answer.text
    assert len(answer.causes) == 10, answer.causes
    assert answer.message.rstrip(".").endswith("and 2 more validation errors"), answer.message
    assert space.get_vmi("vm") is None


@pytest.mark.case("ADM-006")
def test_impossible_memory_is_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with negative, tiny and contradictory memory resources.
    Expected: 422 at the field of each.
    """
    resources = "spec.domain.resources"
    requested = build.domain_patch(memory=None, resources={"requests": {"memory": "128Mi"}})
    control = merged(build.disk_boot_vmi(cluster, "vm"), requested)

    def memory(**values: str) -> Manifest:
        return build.domain_patch(resources={kind: {"memory": value} for kind, value in values.items()})

    misses = refusal.misses(space, control, [
        ("negative request", f"{resources}.requests.memory", memory(requests="-1Mi")),
        ("negative limit", f"{resources}.limits.memory", memory(limits="-1Mi")),
        ("less than 1M", f"{resources}.requests.memory", memory(requests="512k")),
        ("more than its limit", f"{resources}.requests.memory", memory(requests="256Mi", limits="128Mi")),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-008")
def test_a_machine_without_memory_says_so(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: create a VMI, and a VM of strategy Always, that ask for no memory.
    Expected: the VMI is refused: "no memory requested"; the VM is admitted, then has condition Failure with reason
        FailedCreate and that text, and an event; no VMI and no pod.
    """
    manifest = merged(build.disk_boot_vmi(cluster, "vm"), build.domain_patch(memory=None))
    answer = space.try_create(manifest)
    assert (answer.code, "no memory requested" in answer.message) == (422, True), answer.text
    assert [cause["reason"] for cause in answer.causes] == ["FieldValueRequired"], answer.causes

    space.create(build.vm_of(manifest))

    def failure(vm: Any) -> dict[str, Any]:
        found = [entry for entry in vm.get("status", {}).get("conditions", []) if entry["type"] == "Failure"]
        return dict(found[0]) if found else {}

    vm = space.wait_vm("vm", lambda vm: failure(vm).get("status") == "True", "condition Failure")
    assert failure(vm)["reason"] == "FailedCreate", failure(vm)
    assert "no memory requested" in failure(vm)["message"], failure(vm)
    events = space.wait_events("vm", "FailedCreate", "VirtualMachine")
    assert "no memory requested" in events[0]["message"], events
    assert space.get_vmi("vm") is None


@pytest.mark.case("ADM-010")
def test_impossible_cpus_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with contradictory CPU resources, an unknown policy, absurd counts.
    Expected: 422 at the field of each.
    """
    resources, cpu = "spec.domain.resources", "spec.domain.cpu"
    misses = refusal.misses(space, build.disk_boot_vmi(cluster, "vm"), [
        ("more than its limit", f"{resources}.requests.cpu",
         build.domain_patch(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
        ("negative request", f"{resources}.requests.cpu", build.domain_patch(resources={"requests": {"cpu": "-1"}})),
        ("unknown policy", f"{cpu}.features[0].policy",
         build.domain_patch(cpu={"features": [{"name": "sse", "policy": "maybe"}]})),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-010")
@pytest.mark.parametrize(
    "cpu", [{"cores": -1}, {"cores": 0x1_0000_0000}, {"sockets": "two"}, {"cores": 100_000, "sockets": 100_000}],
    ids=["negative", "beyond 32 bits", "a word", "ten thousand million"],
)  # fmt: skip
def test_an_absurd_number_of_cpus_is_refused(space: Space, cluster: Cluster, cpu: dict[str, Any]) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with that number of CPUs, as a VMI and in a VM.
    Expected: a 4xx Status that names the field; nothing is stored.
    """
    control = build.disk_boot_vmi(cluster, "vm")
    assert space.try_create(control, dry_run=True).code == 201
    absurd = merged(control, build.domain_patch(cpu=cpu))
    for manifest in (absurd, build.vm_of(absurd)):
        answer = space.try_create(manifest)
        assert 400 <= answer.code < 500, answer.text
        assert "domain.cpu" in answer.text, answer.text
    assert space.get_vmi("vm") is None
    assert space.get_vm("vm") is None


@pytest.mark.case("ADM-013")
def test_paths_that_lead_out_of_an_image_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI of each boot form that is admitted (the controls).
    Steps: create it with kernelPath, initrdPath, containerDisk.path set to a root, a relative path, a way upwards.
    Expected: 422 at that field; the message says root or relative components.
    """
    boot = "spec.domain.firmware.kernelBoot.container"
    image = cluster.image("tiny")
    misses = []
    for control in (build.disk_boot_vmi(cluster, "vm"), build.kernel_boot_vmi(cluster, "vm")):
        assert space.try_create(control, dry_run=True).code == 201
    for path in ("/", "disk/img", "/disk/../../etc/shadow"):
        faults = [
            ("spec.volumes[0].containerDisk", build.disk_boot_vmi(cluster, "vm"),
             build.spec_patch(volumes=[{"name": "root", "containerDisk": {"image": image, "path": path}}])),
            *(
                (f"{boot}.{key}", build.kernel_boot_vmi(cluster, "vm"),
                 build.domain_patch(firmware={"kernelBoot": {"container": {key: path}}}))
                for key in ("kernelPath", "initrdPath")
            ),
        ]  # fmt: skip
        for field, control, patch in faults:
            answer = space.try_create(merged(control, patch), dry_run=True)
            fields = [str(cause.get("field")) for cause in answer.causes]
            if answer.code != 422 or len(fields) != 1 or not fields[0].startswith(field.rpartition(".")[0]):
                misses.append(f"{path} at {field}: {answer.code} at {fields}: {answer.message[:300]}")
            elif not ("root" in answer.message or "relative" in answer.message or "absolute" in answer.message):
                misses.append(f"{path} at {field}: {answer.message[:300]}")
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-015")
def test_names_that_are_no_names_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with impossible host names, subdomain and topology spread.
    Expected: 422 at the field of each.
    """
    spread = {"topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 0}
    misses = refusal.misses(space, build.disk_boot_vmi(cluster, "vm"), [
        ("capitals and underscore", "spec.hostname", build.spec_patch(hostname="Bad_Host")),
        ("64 characters", "spec.hostname", build.spec_patch(hostname="a" * 64)),
        ("starts with a dash", "spec.subdomain", build.spec_patch(subdomain="-a")),
        ("no skew", "spec.topologySpreadConstraints[0].maxSkew", build.spec_patch(topologySpreadConstraints=[spread])),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-016")
def test_impossible_name_resolution_is_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with an unknown DNS policy, None without or with an unusable configuration.
    Expected: 422 with one cause at the field of each, the inner ones named as KubeVirt names them.
    """
    def none(**config: Any) -> Manifest:
        return build.spec_patch(dnsPolicy="None", dnsConfig=config)

    long = [f"{'a' * 50}{number}.example" for number in range(5)]
    misses = refusal.misses(space, build.disk_boot_vmi(cluster, "vm"), [
        ("unknown policy", "spec.dnsPolicy", build.spec_patch(dnsPolicy="Foo")),
        ("no configuration", "spec.dnsConfig", build.spec_patch(dnsPolicy="None")),
        ("no name server", "nameservers", none(searches=["example"])),
        ("four name servers", "nameservers", none(nameservers=["1.1.1.1"] * 4)),
        ("no address", "nameservers", none(nameservers=["x"])),
        ("long search list", "searchDomains", none(nameservers=["1.1.1.1"], searches=long)),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-017")
def test_unknown_strategies_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI that is admitted (the control).
    Steps: create it with unknown eviction and start strategies, and paused at the start with a liveness probe.
    Expected: 422 at the field of each.
    """
    probe = {"tcpSocket": {"port": 22}}
    misses = refusal.misses(space, build.disk_boot_vmi(cluster, "vm"), [
        ("unknown eviction strategy", "spec.evictionStrategy", build.spec_patch(evictionStrategy="Maybe")),
        ("unknown start strategy", "spec.startStrategy", build.spec_patch(startStrategy="Stopped")),
        ("paused and watched", "spec.startStrategy", build.spec_patch(startStrategy="Paused", livenessProbe=probe)),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)


@pytest.mark.case("ADM-019")
def test_impossible_probes_are_refused(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a VMI with a readiness probe that is admitted (the control).
    Steps: create it with no handler in the probe, with two, with one by the network but no network.
    Expected: 422 at the field of each.
    """
    control = merged(build.disk_boot_vmi(cluster, "vm"), build.spec_patch(readinessProbe={"tcpSocket": {"port": 22}}))
    http = {"port": 80}
    bare = {"autoattachPodInterface": False, "interfaces": None}
    misses = refusal.misses(space, control, [
        ("two handlers", "spec.readinessProbe", build.spec_patch(readinessProbe={"httpGet": http})),
        ("no handler", "spec.readinessProbe", build.spec_patch(readinessProbe={"tcpSocket": None, "periodSeconds": 3})),
        ("no network", "spec.readinessProbe.tcpSocket",
         {"spec": {"networks": None, "domain": {"devices": bare}}}),
    ])  # fmt: skip
    assert not misses, "\n".join(misses)
