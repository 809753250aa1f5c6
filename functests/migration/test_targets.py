"""Where the pod of a target may go, and targets that never get ready."""

import signal
from collections.abc import Callable

import pytest

from functests.libs import build, evictions, moves, patience, placement
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, kubevirt_path
from functests.libs.watch import Watch
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)]
NO_IMAGE = "127.0.0.1:1/launcher:1"        # nobody listens there: refused at once, without asking for a name
PENDING_S = 30


def _targets(space: Space, name: str = "vm") -> list[Object]:
    """All pods that were made for a migration of the guest."""
    return [pod for pod in space.pods(space.vmi(name)) if "kubevirt.io/migrationJobUID" in pod["metadata"]["labels"]]


@pytest.mark.case("MIG-018")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=75)
def test_one_whose_pod_does_not_start_is_given_up(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a witness.
    Steps: migrate with a launcher's image that is not to be had, and 30 s for the pod to start; migrate again.
    Expected: the pod waits for its image; Failed after 30 s and not before, the pod is gone and the reason says so; the
        guest did not notice; the second migration moves it.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    annotations = {moves.TARGET_IMAGE: NO_IMAGE,
                   "kubevirt.io/migrationPendingPodTimeoutSeconds": str(PENDING_S)}
    space.rest.post(kubevirt_path(moves.VMIM, space.name), {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": "move", "annotations": annotations}, "spec": {"vmiName": "vm"}}).ok()

    def waiting() -> list[str]:
        return [entry["state"].get("waiting", {}).get("reason", "") for pod in _targets(space)
                for entry in pod["status"].get("containerStatuses", []) if entry["name"] == "compute"]

    patience.eventually(
        "the image is not to be had", waiting, lambda found: found in (["ErrImagePull"], ["ImagePullBackOff"]),
        stop=lambda _: moves.phase(moves.get(space, "move")) in moves.FINAL, within_s=PENDING_S)
    (target,) = _targets(space)
    assert target["status"]["phase"] == "Pending"
    ended = moves.reach(space, "move", "Failed", within_s=patience.promised(PENDING_S))
    age = moves.seconds_between(target["metadata"]["creationTimestamp"], moves.entered(ended, "Failed"))
    assert age >= PENDING_S, age
    told = ended["status"]["migrationState"]["failureReason"]
    assert ("pending" in told, "timeout period exceeded" in told) == (True, True), told
    moves.check_stayed(space, nodes, "vm", before, handed_over=False)
    witness.check(still_s=1)
    moves.migrate(space, "vm", "again")
    moves.reach(space, "again", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "again")
    witness.shell = space.shell("vm")
    witness.check(still_s=2)


@pytest.mark.case("MIG-056")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)
def test_a_target_whose_launcher_ends_at_once(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a witness; the VMI says that launchers that start now end at once.
    Steps: migrate; take that back and migrate again.
    Expected: Failed, people are told that the target's pod has ended; the guest did not notice; the second one moves
        it.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    moves.annotate(space, "vm", moves.FAIL_FAST, "")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Failed")
    told = space.wait_events("move", "FailedMigration", within_s=patience.promised(10))[0]["message"]
    assert "ended" in told or "Target pod is down" in told
    moves.check_stayed(space, nodes, "vm", before, handed_over=bool(moves.state(space.vmi("vm"))))
    witness.check(still_s=1)
    moves.annotate(space, "vm", moves.FAIL_FAST, None)
    moves.migrate(space, "vm", "again")
    moves.reach(space, "again", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "again")


def _bound(space: Space, name: str, node: str) -> None:
    """As a scheduler does it."""
    space.rest.post(core_path("pods", space.name, name) + "/binding", {
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}}).ok()


@pytest.mark.case("MIG-021")
def test_a_target_on_the_guests_own_node_is_refused(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a witness whose pods are placed by a scheduler of its own, which is this test.
    Steps: migrate, and place the target's pod on the guest's node; migrate again, and place it on the other.
    Expected: Failed, and people are told which node it was; nothing was handed over to nodes, the guest did not notice;
        the second one moves it.
    """
    here, there = cluster.workers[:2]
    manifest = build.merged(
        build.kernel_boot_vmi(cluster, "vm"), build.spec_patch(schedulerName=f"of-{space.name}"))
    vmi = space.create(manifest)
    (pod,) = patience.eventually("the guest has a pod", lambda: space.pods(vmi), bool)
    _bound(space, pod["metadata"]["name"], here)
    space.wait_running("vm")
    witness = Witness(space.shell("vm"))
    before = moves.home(space, nodes, "vm")
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        moves.migrate(space, "vm")
        (target,) = patience.eventually("the target has a pod", lambda: _targets(space), bool)
        _bound(space, target["metadata"]["name"], here)
        moves.reach(space, "move", "Failed", within_s=patience.promised(30))
        moves.check_stayed(space, nodes, "vm", before, handed_over=False)
        seen = [each["metadata"]["labels"].get(moves.TARGET_LABEL, "") for _, each in watch.seen("vm")]
    assert not any(seen), seen
    told = space.wait_events("move", "FailedMigration", within_s=patience.promised(10))[0]["message"]
    assert here in told
    witness.check(still_s=1)
    moves.migrate(space, "vm", "again")
    (target,) = patience.eventually(
        "the next target has a pod",
        lambda: [each for each in _targets(space) if each["metadata"]["uid"] != target["metadata"]["uid"]], bool)
    _bound(space, target["metadata"]["name"], there)
    moves.reach(space, "again", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "again")
    witness.shell = space.shell("vm")
    witness.check(still_s=2)


@pytest.mark.serial
@pytest.mark.case("MIG-020")
def test_a_node_that_takes_pods_again_takes_the_target(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest with a witness; the other node is cordoned; a watch of pods.
    Steps: migrate; uncordon.
    Expected: it waits in Scheduling and people are told, the guest does not notice; then it has moved, by this
        migration and its one pod.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    other = next(worker for worker in cluster.workers if worker != before.node)
    with Watch(space.rest, core_path("pods", space.name)) as watch:
        with placement.cordoned(space.rest, other):
            moves.migrate(space, "vm")
            patience.eventually(
                "people are told", lambda: space.reasons("move"),
                lambda reasons: "migrationTargetPodUnschedulable" in reasons, within_s=patience.promised(30))
            assert moves.phase(moves.get(space, "move")) == "Scheduling"
            witness.check(still_s=1)
        moves.reach(space, "move", "Succeeded", within_s=60 + patience.boots(2))
        moves.check_moved(space, nodes, "vm", before, "move")
        made = {pod["metadata"]["uid"] for kind, pod in watch.seen() if kind == "ADDED"}
    assert len(made) == 2, "the guest's first pod, and one of the target"
    assert [each["metadata"]["name"] for each in moves.migrations(space)] == ["move"]
    witness.shell = space.shell("vm")
    witness.check(still_s=2)


MODEL, OWN, VENDOR = (
    "cpu-model-migration.node.kubevirt.io/", "host-model-cpu.node.kubevirt.io/", "cpu-vendor.node.kubevirt.io/")
SKIP = "node-labeller.kubevirt.io/skip-node"


def _labels(space: Space, node: str) -> dict[str, str]:
    return dict(space.rest.get(f"/api/v1/nodes/{node}").ok()["metadata"]["labels"])


@pytest.mark.serial
@pytest.mark.case("MIG-022")
@pytest.mark.case("MIG-019")
def test_a_guest_with_the_cpu_of_its_node_waits_for_such_a_one(
    space: Space, cluster: Cluster, nodes: Nodes
) -> None:
    """
    Preconditions: a guest with host-model and a witness; the other node is not labelled any more, and its label of that
        CPU model was taken away.
    Steps: migrate; give the label back.
    Expected: the target's pod asks for the model and the vendor of the guest's node; it waits in Scheduling, and the
        VMI tells that no node has such a CPU; then it has moved.
    """
    _, shell = space.boot(build.merged(
        build.kernel_boot_vmi(cluster, "vm"), build.domain_patch(cpu={"model": "host-model"})))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    other = next(worker for worker in cluster.workers if worker != before.node)
    here = _labels(space, before.node)
    (model,) = [label.removeprefix(OWN) for label in here if label.startswith(OWN)]
    asked = {f"{MODEL}{model}": "true", **{key: value for key, value in here.items() if key.startswith(VENDOR)}}
    path, label = f"/api/v1/nodes/{other}", f"{MODEL}{model}"
    space.rest.patch(path, {"metadata": {"annotations": {SKIP: "true"}, "labels": {label: None}}}).ok()
    try:
        moves.migrate(space, "vm")
        space.wait_events("vm", "NoSuitableNodesForHostModelMigration", "VirtualMachineInstance")
        assert moves.phase(moves.get(space, "move")) == "Scheduling"
        (target,) = _targets(space)
        assert asked.items() <= target["spec"]["nodeSelector"].items(), target["spec"]["nodeSelector"]
        witness.check(still_s=1)
    finally:
        space.rest.patch(path, {"metadata": {"annotations": {SKIP: None}, "labels": {label: "true"}}}).ok()
    moves.reach(space, "move", "Succeeded", within_s=60 + patience.boots(2))
    moves.check_moved(space, nodes, "vm", before, "move")
    witness.shell = space.shell("vm")
    witness.check(still_s=2)


KILL_AFTER_S, FOR_S = 3.0, 90.0


@pytest.mark.case("MIG-060")
@pytest.mark.demand(memory_mib=900, nodes=2, seconds=150)
def test_an_evacuation_that_never_arrives_is_not_tried_without_pause(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a guest with strategy LiveMigrate whose migrations do not end by themselves; every launcher that
        waits for it is killed 3 s after its node is ready.
    Steps: evict the guest's pod; for 90 s look at what is made.
    Expected: one pod of a target for each migration, three at most; the second begins 20 s after the first has failed;
        the guest did not notice.
    """
    policy(bandwidthPerMigration=moves.HELD)
    _, shell = space.boot(build.merged(
        build.kernel_boot_vmi(cluster, "vm", memory="192Mi"), {"spec": {"evictionStrategy": "LiveMigrate"}}))
    space.wait_condition("vm", "LiveMigratable", "True")
    witness = Witness(shell)
    shell.succeed(moves.DIRTY)
    before = moves.home(space, nodes, "vm")
    ready: dict[str, str] = {}

    def killed() -> int:
        """Launchers whose time is up are killed; how many targets there were."""
        known = {each["metadata"]["uid"]: each for each in moves.migrations(space)}
        for pod in _targets(space):
            found = known.get(pod["metadata"]["labels"]["kubevirt.io/migrationJobUID"])
            if moves.phase(found) not in ("TargetReady", "Running") or pod["metadata"]["uid"] in ready:
                continue
            node = nodes[pod["spec"]["nodeName"]]
            pids = [process.pid for process in node.processes(pod["metadata"]["uid"])
                    if "virt.cli.launcher" in process.argv]
            ready[pod["metadata"]["uid"]] = moves.entered(found, "TargetReady")
            # It may have ended by itself in the meantime.
            node.try_run(f"sleep {KILL_AFTER_S}; kill -{int(signal.SIGKILL)} {' '.join(map(str, pids))}")
        return len(ready)

    with Watch(space.rest, core_path("pods", space.name)) as watch:
        assert evictions.evict(space, before.pod).code == 429
        patience.quiet("a fourth target", killed, lambda count: count > 3, for_s=FOR_S)
        made = {pod["metadata"]["uid"] for kind, pod in watch.seen() if kind == "ADDED"} - {before.pod_uid}
        count = len(moves.migrations(space))
    assert len(made) <= count <= 3, made
    found = patience.eventually(
        "a second one was made", lambda: moves.migrations(space), lambda found: len(found) > 1)
    tried = sorted(found, key=lambda each: str(each["metadata"]["creationTimestamp"]))
    pause = moves.seconds_between(moves.entered(tried[0], "Failed"), tried[1]["metadata"]["creationTimestamp"])
    assert pause >= 19, pause
    assert moves.home(space, nodes, "vm") == before
    witness.check(still_s=1)
