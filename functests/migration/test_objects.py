"""What may be written of a migration, where its pod may go, and which settings count."""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from functests.libs import build, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import JSON_PATCH, core_path, kubevirt_path
from functests.libs.watch import Watch
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)]
VMI_LABEL = "kubevirt.io/vmi-name"


def _target(space: Space, name: str = "vm") -> Object:
    """The pod of the migration that is under way."""
    found = [pod for pod in space.pods(space.vmi(name)) if "kubevirt.io/migrationJobUID" in pod["metadata"]["labels"]]
    assert len(found) == 1, [pod["metadata"]["name"] for pod in found]
    return found[0]


@pytest.mark.case("MIG-012")
def test_one_under_way_is_not_changed(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a migration under way.
    Steps: change its VMI, its selector, its label; remove the label; once more when it is over.
    Expected: four times 422; the label may change afterwards.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    space.boot(build.kernel_boot_vmi(cluster, "vm"))
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    path = kubevirt_path(moves.VMIM, space.name, "move")
    for change in (
        {"spec": {"vmiName": "other"}}, {"spec": {"addedNodeSelector": {"k": "x"}}},
        {"metadata": {"labels": {VMI_LABEL: "other"}}}, {"metadata": {"labels": {VMI_LABEL: None}}},
    ):
        answer = space.rest.patch(path, change)
        assert answer.code == 422, f"{change}: {answer.text}"
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    assert space.rest.patch(path, {"metadata": {"labels": {VMI_LABEL: "other"}}}).code == 200


@pytest.mark.case("MIG-013")
def test_of_ten_at_once_one_moves_the_guest(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a witness, a watch of its pods.
    Steps: create ten migrations at the same moment.
    Expected: one has succeeded; the others were refused, or failed because of another one; one pod of a target was
        made; the guest moved once.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    # Only the newest five of those that are over are kept, so the last word of each is the watch's.
    with (
        Watch(space.rest, core_path("pods", space.name)) as watch,
        Watch(space.rest, kubevirt_path(moves.VMIM, space.name)) as jobs,
    ):
        with ThreadPoolExecutor(10) as threads:
            answers = list(threads.map(lambda number: moves.try_migrate(space, "vm", f"move-{number}"), range(10)))
        accepted = [each.body["metadata"]["name"] for each in answers if each.code == 201]
        assert accepted, [each.text for each in answers]
        for answer in answers:
            assert answer.code in (201, 400), answer.text
            assert answer.code == 201 or "in-flight migration" in answer.message, answer.text
        ended = patience.eventually(
            "all are over", lambda: {job["metadata"]["name"]: job for _, job in jobs.seen()},
            lambda found: all(moves.phase(found.get(name)) in moves.FINAL for name in accepted),
            within_s=patience.boots(4))
        made = {pod["metadata"]["uid"] for kind, pod in watch.seen() if kind == "ADDED"}
    moved = [name for name, each in ended.items() if moves.phase(each) == "Succeeded"]
    assert len(moved) == 1, {name: each.get("status") for name, each in ended.items()}
    for name in set(accepted) - set(moved):
        warnings = [event["message"] for event in space.wait_events(name, "FailedMigration")]
        assert any("another migration job is in progress" in text for text in warnings), warnings
    assert len(made) == 2, "the guest's first pod, and one of a target"
    moves.check_moved(space, nodes, "vm", before, ended[moved[0]])
    witness.shell = space.shell("vm")
    witness.check(still_s=2)


@pytest.mark.case("MIG-016")
def test_a_migration_may_narrow_the_choice_of_nodes(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI whose selector names an operating system.
    Steps: migrate with a selector of its own, which also contradicts the VMI's; migrate back without.
    Expected: the target's pod has the added label and the VMI's own value; the VMI is unchanged; the next pod lacks it.
    """
    system = "kubernetes.io/os"
    manifest = build.merged(build.kernel_boot_vmi(cluster, "vm"), {"spec": {"nodeSelector": {system: "linux"}}})
    space.boot(manifest)
    before = moves.home(space, nodes, "vm")
    other = next(worker for worker in cluster.workers if worker != before.node)
    hostname = space.rest.get(f"/api/v1/nodes/{other}").ok()["metadata"]["labels"]["kubernetes.io/hostname"]
    added = {"kubernetes.io/hostname": hostname, system: "windows"}
    moves.migrate(space, "vm", addedNodeSelector=added)
    moves.reach(space, "move", "Succeeded")
    selector = space.rest.get(core_path(
        "pods", space.name, moves.state(space.vmi("vm"))["targetPod"])).ok()["spec"]["nodeSelector"]
    assert (selector["kubernetes.io/hostname"], selector[system]) == (hostname, "linux"), selector
    assert space.vmi("vm")["spec"]["nodeSelector"] == {system: "linux"}
    after = moves.check_moved(space, nodes, "vm", before, "move")
    moves.migrate(space, "vm", "back")
    moves.reach(space, "back", "Succeeded")
    selector = space.rest.get(core_path(
        "pods", space.name, moves.state(space.vmi("vm"))["targetPod"])).ok()["spec"]["nodeSelector"]
    assert "kubernetes.io/hostname" not in selector, selector
    moves.check_moved(space, nodes, "vm", after, "back")


@pytest.mark.case("MIG-017")
@pytest.mark.demand(memory_mib=400, nodes=2, seconds=60)
def test_one_that_no_node_takes_is_given_up(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a witness.
    Steps: migrate to a node that is not there, with 20 s to find one; then with a time that is no number.
    Expected: people are told; Failed after 20 s, the pod is deleted and an event says why; the second still waits after
        30 s; the guest did not notice.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    timeout = "kubevirt.io/migrationUnschedulablePodTimeoutSeconds"
    for name, value in (("move", "20"), ("second", "abc")):
        space.rest.post(kubevirt_path(moves.VMIM, space.name), {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
            "metadata": {"name": name, "annotations": {timeout: value}},
            "spec": {"vmiName": "vm", "addedNodeSelector": {"no-such": "node"}}}).ok()
        patience.eventually(
            "people are told", functools.partial(space.reasons, name),
            lambda reasons: "migrationTargetPodUnschedulable" in reasons, within_s=patience.promised(20))
        assert moves.phase(moves.get(space, name)) == "Scheduling"
        if value == "20":
            target = _target(space)
            moves.reach(space, name, "Failed", within_s=patience.promised(60))
            told = [event["message"] for event in space.wait_events(name, "SuccessfulDelete")]
            assert any("timeout period exceeded" in text for text in told), told
            age = moves.seconds_between(
                target["metadata"]["creationTimestamp"], moves.entered(moves.get(space, name), "Failed"))
            assert 20 <= age <= 45, age
            moves.check_stayed(space, nodes, "vm", before, handed_over=False)
    patience.quiet(
        "the second is over", lambda: moves.phase(moves.get(space, "second")),
        lambda phase: phase != "Scheduling", for_s=30)
    witness.check(still_s=1)


@pytest.mark.case("MIG-019")
def test_the_pod_of_a_target_says_what_it_is_for(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a migration that runs slowly.
    Steps: look at both pods and at the VMI.
    Expected: the target's pod names its migration, belongs to the VMI and must not be where a pod of it is; the VMI
        lists both; the source's pod is as it was.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    vmi, _ = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    first = space.pod(vmi)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    pod, found = _target(space), moves.get(space, "move")
    assert found is not None
    meta = pod["metadata"]
    assert meta["labels"]["kubevirt.io/migrationJobUID"] == found["metadata"]["uid"]
    assert meta["annotations"]["kubevirt.io/migrationJobName"] == "move"
    assert [(owner["kind"], owner["uid"]) for owner in meta["ownerReferences"]] == [
        ("VirtualMachineInstance", vmi["metadata"]["uid"])]
    apart = pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    wanted = {"kubevirt.io/created-by": vmi["metadata"]["uid"]}
    assert [(each["labelSelector"]["matchLabels"], each["topologyKey"]) for each in apart] == [
        (wanted, "kubernetes.io/hostname")]
    assert space.vmi("vm")["status"]["activePods"] == {
        first["metadata"]["uid"]: before.node, meta["uid"]: pod["spec"]["nodeName"]}
    assert space.rest.get(core_path("pods", space.name, first["metadata"]["name"])).ok()["spec"] == first["spec"]
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")


@pytest.mark.case("MIG-043")
def test_settings_in_force_stay(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a policy with bandwidth and post-copy; a migration under it.
    Steps: change the policy and delete it while the migration runs; migrate again.
    Expected: the cluster's settings with these two, and disruption allowed; they stay; the next one has the cluster's.
    """
    name = policy(bandwidthPerMigration=moves.SLOW, allowPostCopy=True)
    space.boot(build.kernel_boot_vmi(cluster, "vm"))
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    told = moves.state(space.vmi("vm"))["migrationConfiguration"]
    assert (told["bandwidthPerMigration"], told["allowPostCopy"], told["allowWorkloadDisruption"]) == (
        moves.SLOW, True, True), told
    path = f"{moves.POLICIES}/{name}"
    space.rest.patch(path, [{"op": "replace", "path": "/spec/bandwidthPerMigration", "value": "1Mi"}], JSON_PATCH).ok()
    space.rest.delete(path).ok()
    moves.reach(space, "move", "Succeeded")
    state = moves.state(space.vmi("vm"))
    assert (state["migrationConfiguration"], state["migrationPolicyName"]) == (told, name), state
    after = moves.check_moved(space, nodes, "vm", before, "move")
    moves.migrate(space, "vm", "again")
    moves.reach(space, "again", "Succeeded")
    moves.check_moved(space, nodes, "vm", after, "again")
    state = moves.state(space.vmi("vm"))
    assert not state.get("migrationPolicyName"), state
    assert state["migrationConfiguration"]["allowPostCopy"] is False, state
    assert state["migrationConfiguration"]["bandwidthPerMigration"] in ("0", 0), state
