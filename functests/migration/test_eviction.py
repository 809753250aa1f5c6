"""Pods that are to be evicted: the guest moves instead, or somebody else is to see to it."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from functests.libs import build, moves, patience
from functests.libs.build import Manifest
from functests.libs.cluster import Cluster
from functests.libs.evictions import evict
from functests.libs.kube import Space, condition
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path, kubevirt_path
from functests.libs.witness import Witness

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=800, nodes=2)]
IN_PROGRESS = "descheduler.alpha.kubernetes.io/eviction-in-progress"


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
        "a migration was made", lambda: moves.migrations(space), lambda seen: len(seen) == 1)[0]
    name = found["metadata"]["name"]
    assert name.startswith("kubevirt-evacuation-"), name
    assert found["metadata"]["annotations"]["kubevirt.io/evacuationMigration"] == before.node
    requested = space.wait_condition("vm", "EvictionRequested", "True", within_s=patience.promised(10))
    assert requested["status"]["evacuationNodeName"] == before.node
    pod = space.rest.get(core_path("pods", space.name, before.pod)).ok()
    assert IN_PROGRESS in pod["metadata"]["annotations"]
    moves.reach(space, name, "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, name)
    vmi = space.wait_condition("vm", "EvictionRequested", "", within_s=patience.promised(10))
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


@pytest.mark.case("DRN-006")
@pytest.mark.demand(memory_mib=400, nodes=2, seconds=30)
def test_a_dry_run_evicts_nothing(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI with strategy LiveMigrate.
    Steps: evict its pod as a dry run.
    Expected: 429 as without; the VMI is not marked and no migration is made for 15 s.
    """
    space.boot(_strategy(build.kernel_boot_vmi(cluster, "vm"), "LiveMigrate"))
    space.wait_condition("vm", "LiveMigratable", "True")
    before = moves.home(space, nodes, "vm")
    answer = evict(space, before.pod, dryRun=["All"])
    assert (answer.code, "evacuation" in answer.message) == (429, True), answer.text
    patience.quiet(
        "something was done", lambda: (space.vmi("vm")["status"].get("evacuationNodeName"), moves.migrations(space)),
        lambda seen: seen != (None, []), for_s=15)
    assert moves.home(space, nodes, "vm") == before


def _on_a_claim(space: Space, cluster: Cluster) -> Manifest:
    """A VMI that cannot move: its disk is on one node."""
    space.rest.post(core_path("persistentvolumeclaims", space.name), build.pvc("data")).ok()
    source = {"persistentVolumeClaim": {"claimName": "data"}}
    return build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", source)


@pytest.mark.case("DRN-002")
@pytest.mark.parametrize("strategy", ["None", "LiveMigrate", "LiveMigrateIfPossible"])
@pytest.mark.demand(memory_mib=400, nodes=2, seconds=30)
def test_a_guest_that_cannot_move_ends_or_blocks(space: Space, cluster: Cluster, strategy: str) -> None:
    """
    Preconditions: a VM Always on a ReadWriteOnce claim (of strategy None: one that could move).
    Steps: evict its pod.
    Expected: None and LiveMigrateIfPossible: allowed, and another VMI boots; LiveMigrate: 429 with the reason, the
        guest stays and is not marked.
    """
    plain = build.kernel_boot_vmi(cluster, "vm") if strategy == "None" else _on_a_claim(space, cluster)
    vmi, shell = space.boot(build.vm_of(_strategy(plain, strategy)))
    space.wait_condition("vm", "LiveMigratable", "True" if strategy == "None" else "False")
    pod = space.pod(vmi)["metadata"]["name"]
    answer = evict(space, pod)
    if strategy == "LiveMigrate":
        assert (answer.code, "not live-migratable" in answer.message) == (429, True), answer.text
        assert space.pod(space.vmi("vm"))["metadata"]["name"] == pod
        assert not space.vmi("vm")["status"].get("evacuationNodeName")
        assert shell.succeed("echo $((6*7))") == "42"
        return
    assert answer.code == 201, answer.text
    again = space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(2))
    assert "migrationState" not in again["status"]
    assert moves.migrations(space) == []


@pytest.mark.case("DRN-012")
@pytest.mark.demand(memory_mib=900, nodes=2, seconds=75)
def test_an_evacuation_is_called_off(space: Space, cluster: Cluster, nodes: Nodes, policy: Callable[..., str]) -> None:
    """
    Preconditions: a VMI whose evacuation runs and does not end by itself.
    Steps: cancel it with the name of another node, then with the right one, then once more; delete the migration.
    Expected: refused, naming the field; done, the mark and its condition are gone; done, nothing was there; no other
        migration is made for 40 s.
    """
    policy(bandwidthPerMigration=moves.HELD)
    _, shell = space.boot(_strategy(build.kernel_boot_vmi(cluster, "vm", memory="192Mi"), "LiveMigrate"))
    space.wait_condition("vm", "LiveMigratable", "True")
    witness = Witness(shell)
    shell.succeed(moves.DIRTY)
    before = moves.home(space, nodes, "vm")
    assert evict(space, before.pod).code == 429
    found = patience.eventually(
        "a migration was made", lambda: moves.migrations(space), lambda seen: len(seen) == 1)[0]
    name = found["metadata"]["name"]
    moves.reach(space, name, "Running")
    answer = space.act_on_vmi("vm", "evacuate/cancel", {"evacuationNodeName": "elsewhere"})
    assert (answer.code, "evacuationNodeName" in answer.message) == (400, True), answer.text
    assert space.vmi("vm")["status"]["evacuationNodeName"] == before.node
    assert space.act_on_vmi("vm", "evacuate/cancel", {"evacuationNodeName": before.node}).code == 200
    assert not space.vmi("vm")["status"].get("evacuationNodeName")
    space.wait_condition("vm", "EvictionRequested", "", within_s=patience.promised(10))
    assert space.act_on_vmi("vm", "evacuate/cancel").code == 200
    space.rest.delete(kubevirt_path(moves.VMIM, space.name, name)).ok()
    patience.eventually(
        "the migration is gone", lambda: moves.get(space, name), lambda seen: seen is None)
    patience.quiet(
        "another migration", lambda: moves.migrations(space), lambda seen: seen != [], for_s=40)
    moves.check_stayed(space, nodes, "vm", before)
    witness.check(still_s=1)


@pytest.mark.case("DRN-013")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)
def test_budgets_do_not_keep_a_guest(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI; a budget as older releases made them, owned by it; a tenant's own that allows no disruption.
    Steps: wait; migrate.
    Expected: the first is gone within 60 s, the second stays; the guest moves; no other budget was made.
    """
    manifest = build.merged(build.kernel_boot_vmi(cluster, "vm"), {"metadata": {"labels": {"app": "web"}}})
    vmi, _ = space.boot(manifest)
    path = f"/apis/policy/v1/namespaces/{space.name}/poddisruptionbudgets"
    owner = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": "vm", "controller": True,
             "blockOwnerDeletion": True, "uid": vmi["metadata"]["uid"]}
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
    for name, owners in (("kubevirt-disruption-budget-old", [owner]), ("mine", [])):
        space.rest.post(path, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
                               "metadata": {"name": name, "ownerReferences": owners}, "spec": spec}).ok()
    left = patience.eventually(
        "the old budget is gone", lambda: [each["metadata"]["name"] for each in space.rest.get(path).ok()["items"]],
        lambda names: "kubevirt-disruption-budget-old" not in names, within_s=patience.promised(60))
    assert left == ["mine"]
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    assert [each["metadata"]["name"] for each in space.rest.get(path).ok()["items"]] == ["mine"]


@pytest.mark.case("DRN-005")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)
def test_neither_pod_is_evicted_on_the_way(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Callable[..., str]
) -> None:
    """
    Preconditions: a VMI with strategy LiveMigrate that a person migrates, slowly.
    Steps: evict both of its pods all the time until it has moved; then the finished one.
    Expected: 429 each time; it has moved; then 201.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    space.boot(_strategy(build.kernel_boot_vmi(cluster, "vm"), "LiveMigrate"))
    space.wait_condition("vm", "LiveMigratable", "True")
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    target = moves.state(space.vmi("vm"))["targetPod"]
    answers: dict[str, list[tuple[int, str]]] = {"source": [], "target": []}

    def asked() -> str:
        """Its phase before both were asked for, so that no answer is of a time when it was over."""
        both = {"source": evict(space, before.pod), "target": evict(space, target)}
        phase = moves.phase(moves.get(space, "move"))
        if phase == "Running":
            for side, answer in both.items():
                answers[side].append((answer.code, answer.message))
        return phase

    patience.eventually(
        "it is over", asked, lambda phase: phase in moves.FINAL, within_s=patience.boots(3), every_s=1)
    moves.check_moved(space, nodes, "vm", before, "move")
    assert answers["source"], "it was over before anything was asked"
    assert {code for each in answers.values() for code, _ in each} == {429}, answers
    for _, message in answers["target"]:
        assert "Eviction request for target Pod" in message or "Evacuation in progress" in message, message
    assert evict(space, before.pod).code == 201


@pytest.mark.case("DRN-011")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=120)
def test_failed_evacuations_wait_longer_and_longer(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI with strategy LiveMigrate whose migrations fail.
    Steps: evict its pod; let migrations succeed after the third.
    Expected: the second begins 20 s after the first has failed, the third 40 s after the second; people are told; the
        mark stays; no target's pod is marked for the descheduler; then the guest moves.
    """
    _, shell = space.boot(_strategy(build.kernel_boot_vmi(cluster, "vm"), "LiveMigrate"))
    space.wait_condition("vm", "LiveMigratable", "True")
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    moves.annotate(space, "vm", moves.FAIL, "")
    assert evict(space, before.pod).code == 429

    def failed() -> list[dict[str, Any]]:
        found = [dict(each) for each in moves.migrations(space) if moves.phase(each) == "Failed"]
        return sorted(found, key=lambda each: each["metadata"]["creationTimestamp"])

    seen = patience.eventually(
        "three have failed", failed, lambda found: len(found) == 3, within_s=60 + patience.boots(3))
    moves.annotate(space, "vm", moves.FAIL, None)
    pauses = [moves.seconds_between(moves.entered(one, "Failed"), other["metadata"]["creationTimestamp"])
              for one, other in itertools.pairwise(seen)]
    assert pauses[0] >= 19, pauses
    assert pauses[1] >= 39, pauses
    space.wait_events("vm", "MigrationBackoff")
    assert space.vmi("vm")["status"]["evacuationNodeName"] == before.node
    marked = [pod["metadata"]["name"] for pod in space.pods(space.vmi("vm"))
              if IN_PROGRESS in pod["metadata"].get("annotations", {})]
    assert marked == [before.pod]
    witness.check(still_s=1)
    last = patience.eventually(
        "a fourth was made", lambda: moves.migrations(space),
        lambda found: any(moves.phase(each) != "Failed" for each in found), within_s=patience.promised(120))
    name = next(each["metadata"]["name"] for each in last if moves.phase(each) != "Failed")
    moves.reach(space, name, "Succeeded")
    moves.check_moved(space, nodes, "vm", before, name)
