"""Processor models and features, and what a pod asks for on behalf of its guest."""

import pytest

from functests.libs import build, claims, hardware
from functests.libs.build import Manifest
from functests.libs.claims import Claim
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, condition
from functests.libs.rest import core_path
from virt.api import quantity
from virt.api.quantity import MIB

MODEL_LABEL, FEATURE_LABEL = "cpu-model.node.kubevirt.io/", "cpu-feature.node.kubevirt.io/"
# An old model: what it calls itself, a flag that it lacks and one that it has (libvirt's name, the guest's name).
MODEL, NAME = "Penryn", "Intel Core 2 Duo P9xxx (Penryn Class Core 2)"
LACKS, HAS = ("sse4.2", "sse4_2"), ("sse4.1", "sse4_1")
NOWHERE = "no-such-node"


def _domain(vmi: Manifest, **fields: object) -> Manifest:
    return build.merged(vmi, {"spec": {"domain": fields}})


def _labels(cluster: Cluster) -> list[set[str]]:
    """Of each worker."""
    nodes = {node.metadata.name: set(node.metadata.labels) for node in cluster.core.list_node().items}
    return [nodes[name] for name in cluster.workers]


@pytest.mark.case("BOOT-020")
@pytest.mark.case("BOOT-021")
def test_a_named_processor_reaches_the_guest(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: workers that are labelled with an old processor model and with a feature that it lacks.
    Steps: boot a guest with that model, that feature required and another one disabled.
    Expected: the guest names the model; it has the first feature and lacks the second; the pod selects by both labels.
    """
    wanted = {MODEL_LABEL + MODEL, FEATURE_LABEL + LACKS[0]}
    assert all(wanted <= labels for labels in _labels(cluster)), _labels(cluster)
    cpu = {
        "model": MODEL,
        "features": [{"name": LACKS[0], "policy": "require"}, {"name": HAS[0], "policy": "disable"}],
    }
    vmi, shell = space.boot(_domain(build.kernel_boot_vmi(cluster, "vm"), cpu=cpu))
    flags = hardware.cpu_flags(shell)
    selector = space.pod(vmi)["spec"]["nodeSelector"]
    found: list[Claim] = [
        ("model of the guest's processor", hardware.cpu_field(shell, "model name"), NAME),
        ("the required feature", LACKS[1] in flags, True),
        ("the disabled feature", HAS[1] in flags, False),
        *((f"{label} in the pod's selector", selector.get(label), "true") for label in sorted(wanted)),
    ]
    assert claims.wrong(found) == ""


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("BOOT-020")
@pytest.mark.case("BOOT-021")
def test_a_processor_that_no_node_has_is_waited_for(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: workers that are not labelled with model 486, and all with one feature.
    Steps: start a VM with that model, and one that forbids the feature.
    Expected: PodScheduled False, reason Unschedulable; the VMs say ErrorUnschedulable.
    """
    labels = _labels(cluster)
    assert all(MODEL_LABEL + "486" not in each and FEATURE_LABEL + LACKS[0] in each for each in labels), labels
    wishes = {
        "model": {"model": "486"},
        "forbids": {"features": [{"name": LACKS[0], "policy": "forbid"}]},
    }
    for name, cpu in wishes.items():
        space.create(build.vm_of(_domain(build.kernel_boot_vmi(cluster, name), cpu=cpu)))
    for name in wishes:
        space.wait_vm_status(name, "ErrorUnschedulable")
        scheduled = condition(space.vmi(name), "PodScheduled")
        assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable"), f"{name}: {scheduled}"


def _pod(space: Space, name: str) -> Object:
    """The launcher pod of a VMI that no node takes."""
    vmi = space.wait_vmi(name, lambda seen: seen["status"]["phase"] == "Scheduling", "its pod exists")
    return space.pod(vmi)


def _compute(pod: Object) -> Object:
    (found,) = [entry for entry in pod["spec"]["containers"] if entry["name"] == "compute"]
    return dict(found["resources"])


def _overhead(guest: int, *, vcpus: int = 1, graphics: bool = True) -> int:
    """What KubeVirt estimates, in bytes."""
    return 240 * MIB + guest // 512 + 8 * MIB * vcpus + 8 * MIB + (32 * MIB if graphics else 0)


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("BOOT-026")
def test_a_pod_asks_for_the_guest_and_what_it_costs(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: VMIs that no node takes.
    Steps: create them with 1 and 3 vCPUs, without graphics, and with overcommitGuestOverhead.
    Expected: compute requests the guest's memory and the overhead of the formula, the last one the guest's alone;
        status.memory.memoryOverhead is the formula's.
    """
    guest = 256 * MIB
    blind = _overhead(guest, graphics=False)
    shapes: dict[str, tuple[Manifest, int, int]] = {
        "one": ({}, _overhead(guest), _overhead(guest)),
        "three": ({"cpu": {"cores": 3}}, _overhead(guest, vcpus=3), _overhead(guest, vcpus=3)),
        "blind": ({"devices": {"autoattachGraphicsDevice": False}}, blind, blind),
        "bold": ({"resources": {"overcommitGuestOverhead": True}}, 0, _overhead(guest)),
    }
    for name, (fields, _, _) in shapes.items():
        space.create(build.on_node(_domain(build.kernel_boot_vmi(cluster, name, memory="256Mi"), **fields), NOWHERE))
    found: list[Claim] = []
    for name, (_, asked, told) in shapes.items():
        request = quantity.integer(_compute(_pod(space, name))["requests"]["memory"])
        overhead = quantity.integer(space.vmi(name)["status"]["memory"].get("memoryOverhead", 0))
        found += [(f"request of {name}", request, guest + asked), (f"memoryOverhead of {name}", overhead, told)]
    assert claims.wrong(found) == ""


@pytest.mark.case("BOOT-025")
def test_a_guests_memory_follows_its_requests_or_limits(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: none.
    Steps: boot a guest that only requests memory; create one that only has limits of memory and CPU, which no node
        takes; ask for one without any memory.
    Expected: memory.guest is 128Mi in both; the first guest's System RAM is 128 MiB within 2 and its class Burstable,
        on pod and VMI; the second's requests are its limits and its pod's class Guaranteed; 422 without memory.
    """
    bare = build.kernel_boot_vmi(cluster, "requests")
    bare["spec"]["domain"].pop("memory")
    limits = {"memory": "128Mi", "cpu": "1"}
    limited = build.merged(_domain(bare, resources={"limits": limits}), {"metadata": {"name": "limits"}})
    space.create(build.on_node(limited, NOWHERE))
    vmi, shell = space.boot(_domain(bare, resources={"requests": {"memory": "128Mi"}}))
    ram = hardware.system_ram_mib(shell)
    guaranteed = _pod(space, "limits")
    compute = _compute(guaranteed)
    stored = space.vmi("limits")["spec"]["domain"]
    found: list[Claim] = [
        ("memory.guest by requests", space.vmi("requests")["spec"]["domain"]["memory"]["guest"], "128Mi"),
        (f"{ram:.1f} MiB of RAM is 128", abs(ram - 128) <= 2, True),
        ("class of the pod by requests", space.pod(vmi)["status"]["qosClass"], "Burstable"),
        ("class of the VMI by requests", space.vmi("requests")["status"].get("qosClass"), "Burstable"),
        ("memory.guest by limits", stored["memory"]["guest"], "128Mi"),
        ("requests filled from limits", stored["resources"]["requests"], limits),
        ("class of the pod by limits", guaranteed["status"]["qosClass"], "Guaranteed"),
        *((f"{name} of compute", compute["requests"][name], compute["limits"][name]) for name in limits),
    ]
    assert claims.wrong(found) == ""

    refused = space.try_create(build.merged(bare, {"metadata": {"name": "none"}}))
    assert refused.code == 422, refused.text
    above = _domain(limited, memory={"guest": "129Mi"})
    assert [cause.get("field") for cause in space.try_create(above, dry_run=True).causes] in (
        [], ["spec.domain.memory.guest"]), "a guest above its limit is refused under Stage only"


@pytest.mark.demand(vcpus=0, memory_mib=0, boots=0)
@pytest.mark.case("BOOT-019")
def test_a_pod_asks_for_a_part_of_each_processor(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: VMIs that no node takes.
    Steps: create them with 3 cores x 2 sockets, with a CPU request of 500m, and with neither; once more with two vCPUs
        when a quota of the namespace counts limits.
    Expected: compute requests 600m, 500m and 100m and has no limit of CPU or memory; with the quota the limits are the
        vCPUs and twice the requested memory, and the quota admits the pod.
    """
    shapes: dict[str, Manifest] = {
        "six": {"cpu": {"cores": 3, "sockets": 2}},
        "asked": {"resources": {"requests": {"cpu": "500m"}}},
        "none": {},
    }
    for name, fields in shapes.items():
        space.create(build.on_node(_domain(build.kernel_boot_vmi(cluster, name), **fields), NOWHERE))
    computes = {name: _compute(_pod(space, name)) for name in shapes}
    requests = {name: compute["requests"]["cpu"] for name, compute in computes.items()}
    assert requests == {"six": "600m", "asked": "500m", "none": "100m"}
    limits = {name: {"cpu", "memory"} & set(compute["limits"]) for name, compute in computes.items()}
    assert limits == {name: set() for name in shapes}

    hard = {"limits.cpu": "20", "limits.memory": "20Gi"}
    quota = {"metadata": {"name": "limits"}, "spec": {"hard": hard}}
    space.rest.post(core_path("resourcequotas", space.name), quota).ok()
    space.create(build.on_node(_domain(build.kernel_boot_vmi(cluster, "quota"), cpu={"sockets": 2}), NOWHERE))
    compute = _compute(_pod(space, "quota"))
    assert compute["limits"]["cpu"] == "2", compute
    request, limit = (quantity.integer(compute[kind]["memory"]) for kind in ("requests", "limits"))
    assert limit == 2 * request, compute
