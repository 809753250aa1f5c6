"""Pods that are to be evicted: the guest moves instead, or somebody else is to see to it."""

import pytest

from functests.libs import build, moves, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition
from functests.libs.nodes import Nodes
from functests.libs.rest import Answer, core_path
from functests.libs.witness import Witness

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=800, nodes=2)]
IN_PROGRESS = "descheduler.alpha.kubernetes.io/eviction-in-progress"


def evict(space: Space, pod: str, **options: object) -> Answer:
    return space.rest.post(core_path("pods", space.name, pod) + "/eviction", {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": space.name},
        **({"deleteOptions": options} if options else {})})


def _strategy(vmi: Manifest, strategy: str) -> Manifest:
    return build.merged(vmi, {"spec": {"evictionStrategy": strategy}})


@pytest.mark.demand(memory_mib=800, nodes=2, seconds=45)
@pytest.mark.case("DRN-001")
def test_an_evicted_guest_moves(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI with strategy LiveMigrate and a witness.
    Steps: evict its pod.
    Expected: 429 with the words that the descheduler knows; one migration, marked; the guest moved; nothing of the
        request is left; no second migration within 20 s.
    """
    _, shell = space.boot(_strategy(build.kernel_boot_vmi(cluster, "vm"), "LiveMigrate"))
    space.wait_condition("vm", "LiveMigratable", "True")
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    answer = evict(space, before.pod)
    text = f'Eviction triggered evacuation of VMI "{space.name}/vm"'
    assert (answer.code, text in answer.message) == (429, True), answer.text
    found = patience.eventually(
        "a migration was made", lambda: moves.migrations(space), lambda seen: len(seen) == 1, within_s=15)[0]
    name = found["metadata"]["name"]
    assert name.startswith("kubevirt-evacuation-"), name
    assert found["metadata"]["annotations"]["kubevirt.io/evacuationMigration"] == before.node
    requested = space.wait_condition("vm", "EvictionRequested", "True", within_s=10)
    assert requested["status"]["evacuationNodeName"] == before.node
    pod = space.rest.get(core_path("pods", space.name, before.pod)).ok()
    assert IN_PROGRESS in pod["metadata"]["annotations"]
    moves.reach(space, name, "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, name)
    vmi = space.wait_condition("vm", "EvictionRequested", "", within_s=10)
    assert not vmi["status"].get("evacuationNodeName")
    assert IN_PROGRESS not in space.rest.get(core_path("pods", space.name, after.pod)).ok()["metadata"]["annotations"]
    witness.shell = space.shell("vm")
    witness.check(still_s=2)
    patience.quiet(
        "a second migration", lambda: [each["metadata"]["name"] for each in moves.migrations(space)],
        lambda names: names != [name], for_s=20)


@pytest.mark.demand(memory_mib=400, nodes=2, seconds=30)
@pytest.mark.case("DRN-003")
def test_an_external_controller_is_left_to_act(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI with strategy External and a witness.
    Steps: evict its pod every half second for 10 s, without grace.
    Expected: 429 each time, first that it was triggered, then that it is in progress; no migration; the guest goes on.
    """
    _, shell = space.boot(_strategy(build.kernel_boot_vmi(cluster, "vm"), "External"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    answers = []
    patience.quiet(
        "an eviction was let through", lambda: answers.append(evict(space, before.pod, gracePeriodSeconds=0)),
        lambda _: answers[-1].code != 429, for_s=10, every_s=0.5)
    assert "Eviction triggered evacuation" in answers[0].message, answers[0].text
    assert all("Evacuation in progress" in answer.message for answer in answers[1:]), answers[1].text
    assert len(answers) > 10
    vmi = space.vmi("vm")
    assert vmi["status"]["evacuationNodeName"] == before.node
    assert condition(vmi, "EvictionRequested")["status"] == "True"
    assert moves.migrations(space) == []
    assert moves.home(space, nodes, "vm") == before
    witness.check(still_s=1)
