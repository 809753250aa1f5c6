"""What people and tenants do to a guest, or to its pods, while it is on its way."""

import signal
from collections.abc import Callable

import pytest

from functests.libs import build, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space
from functests.libs.nodes import Nodes
from functests.libs.rest import core_path, kubevirt_path
from functests.libs.watch import Watch
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=900, nodes=2, seconds=45)]


def _held(space: Space, cluster: Cluster, policy: Policy, *, vm: bool = False) -> tuple[Witness, Object]:
    """A guest whose migration runs and does not end by itself; its VMI."""
    policy(bandwidthPerMigration=moves.HELD)
    manifest = build.kernel_boot_vmi(cluster, "vm", memory="192Mi")
    _, shell = space.boot(build.vm_of(manifest) if vm else manifest)
    witness = Witness(shell)
    shell.succeed(moves.DIRTY)
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    return witness, space.vmi("vm")


def _target(space: Space, vmi: Object) -> Object:
    name = moves.state(vmi)["targetPod"]
    return space.rest.get(core_path("pods", space.name, name)).ok()


def _failed(jobs: Watch) -> None:
    """Until the migration has failed; it goes with the VMI that its VM replaces, soon after."""
    jobs.wait_for("the migration has failed", lambda _, job: moves.phase(job) == "Failed",
                  within_s=patience.promised(60))


def _all_gone(nodes: Nodes, pods: list[Object]) -> None:
    patience.eventually(
        "nothing of the old guest is left",
        lambda: [" ".join(process.argv)[:80] for pod in pods for process in
                 nodes[pod["spec"]["nodeName"]].processes(pod["metadata"]["uid"])],
        lambda found: not found, within_s=patience.promised(60))


@pytest.mark.case("MIG-010")
def test_a_guest_that_shuts_down_on_the_way_has_ended(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a VM Always whose migration runs.
    Steps: power off in the guest.
    Expected: the migration is Failed and says that the guest has shut down, or what became of its VMI; nothing of both
        sides is left; the VM starts anew.
    """
    witness, vmi = _held(space, cluster, policy, vm=True)
    pods = space.pods(vmi)
    assert len(pods) == 2
    with Watch(space.rest, kubevirt_path(moves.VMIM, space.name)) as jobs:
        witness.shell.send("poweroff -f\n")
        _failed(jobs)
    told = space.wait_events("move", "FailedMigration", within_s=patience.promised(10))[0]["message"]
    assert any(words in told for words in ("shut down", "Succeeded", "being deleted")), told
    _all_gone(nodes, pods)
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"])
    assert space.shell("vm").succeed("echo $((6*7))") == "42"


@pytest.mark.case("MIG-051")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)
def test_one_that_waits_for_its_pod_is_cancelled(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a migration that no node takes.
    Steps: delete it.
    Expected: it is gone with its pod within 30 s; the VMI knows nothing of it; the next one moves the guest.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm", addedNodeSelector={"no-such": "node"})
    moves.reach(space, "move", "Scheduling")
    patience.eventually(
        "people are told", lambda: space.reasons("move"),
        lambda reasons: "migrationTargetPodUnschedulable" in reasons, within_s=patience.promised(30))
    space.rest.delete(kubevirt_path(moves.VMIM, space.name, "move")).ok()
    patience.eventually(
        "the migration is gone", lambda: moves.get(space, "move"), lambda found: found is None)
    moves.check_stayed(space, nodes, "vm", before, handed_over=False)
    assert moves.state(space.vmi("vm")) == {}
    moves.migrate(space, "vm", "again")
    moves.reach(space, "again", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "again")
    witness.shell = space.shell("vm")
    witness.check(still_s=2)


@pytest.mark.case("MIG-053")
def test_a_vmi_that_is_deleted_on_the_way_is_gone(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a VM Always whose migration runs.
    Steps: delete the VMI.
    Expected: both pods and the migration go; another VMI boots.
    """
    _, vmi = _held(space, cluster, policy, vm=True)
    pods = space.pods(vmi)
    space.delete_vmi("vm").ok()
    _all_gone(nodes, pods)
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"])
    patience.eventually(
        "the migration is over or gone", lambda: moves.get(space, "move"),
        lambda found: found is None or moves.phase(found) == "Failed", within_s=patience.promised(30))
    assert space.shell("vm").succeed("echo $((6*7))") == "42"


@pytest.mark.case("MIG-056")
def test_the_targets_pod_is_deleted(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a migration that runs.
    Steps: delete the target's pod without grace.
    Expected: the migration is Failed within 30 s and tells why; the guest did not notice.
    """
    witness, vmi = _held(space, cluster, policy)
    before = moves.Home(
        vmi["metadata"]["uid"], vmi["status"]["nodeName"], moves.state(vmi)["sourcePod"], "", 0)
    source = space.rest.get(core_path("pods", space.name, before.pod)).ok()["metadata"]["uid"]
    qemu = nodes[before.node].qemu(source).pid
    target = _target(space, vmi)
    space.rest.delete(
        core_path("pods", space.name, target["metadata"]["name"]), {"gracePeriodSeconds": 0}).ok()
    moves.reach(space, "move", "Failed", within_s=patience.promised(30))
    space.wait_events("move", "FailedMigration")
    told = moves.state(space.vmi("vm"))
    assert (told["failed"], told["completed"]) == (True, True), told
    assert told["failureReason"], told
    assert {"startTimestamp", "endTimestamp"} <= told.keys(), told
    assert nodes[before.node].qemu(source).pid == qemu
    _all_gone(nodes, [target])
    witness.check(still_s=1)


@pytest.mark.case("MIG-058")
def test_the_sources_hypervisor_dies(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a VM Always whose migration runs.
    Steps: SIGKILL the guest's QEMU.
    Expected: the VMI has failed, and so has the migration; half a memory does not come to life; the VM starts anew.
    """
    _, vmi = _held(space, cluster, policy, vm=True)
    pods = space.pods(vmi)
    source = next(pod for pod in pods if pod["metadata"]["name"] == moves.state(vmi)["sourcePod"])
    node = nodes[vmi["status"]["nodeName"]]
    with Watch(space.rest, kubevirt_path(moves.VMIM, space.name)) as jobs:
        node.run(f"kill -{int(signal.SIGKILL)} {node.qemu(source['metadata']['uid']).pid}")
        _failed(jobs)
    _all_gone(nodes, pods)
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"])
    assert space.shell("vm").run("test -e /run/witness.blob").code == 1, "the new guest has the old one's memory"


@pytest.mark.case("MIG-051")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)
def test_one_whose_target_does_not_get_ready_is_cancelled(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a migration that stays in PreparingTarget.
    Steps: delete it; let targets get ready again.
    Expected: it says that an abort was asked for, and is gone with its pod within 30 s; the next one moves the guest.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    moves.annotate(space, "vm", moves.BLOCK, "")
    with Watch(space.rest, kubevirt_path(moves.VMIM, space.name)) as watch:
        moves.migrate(space, "vm")
        moves.reach(space, "move", "PreparingTarget")
        space.rest.delete(kubevirt_path(moves.VMIM, space.name, "move")).ok()
        patience.eventually(
            "the migration is gone", lambda: moves.get(space, "move"), lambda found: found is None,
            within_s=patience.promised(30))
        seen = [found.get("status", {}) for _, found in watch.seen("move")]
    kinds = {each["type"] for status in seen for each in status.get("conditions", [])}
    assert "migrationAbortRequested" in kinds
    assert moves.check_stayed(space, nodes, "vm", before) == "Live migration has been aborted"
    moves.annotate(space, "vm", moves.BLOCK, None)
    moves.migrate(space, "vm", "again")
    moves.reach(space, "again", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "again")
    witness.shell = space.shell("vm")
    witness.check(still_s=2)


@pytest.mark.case("MIG-054")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)
def test_a_vm_is_stopped_on_the_way(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VM whose migration stays in PreparingTarget.
    Steps: restart it without grace; migrate again, held as before; stop it.
    Expected: another VMI, then none; nothing of the old ones is left on either node.
    """
    vmi, _ = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    moves.annotate(space, "vm", moves.BLOCK, "")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "PreparingTarget")
    pods = space.pods(vmi)
    assert len(pods) == 2
    assert space.act_on_vm("vm", "restart", {"gracePeriodSeconds": 0}).code == 202
    again = space.wait_running("vm", not_uid=vmi["metadata"]["uid"])
    _all_gone(nodes, pods)
    moves.annotate(space, "vm", moves.BLOCK, "")
    moves.migrate(space, "vm", "second")
    moves.reach(space, "second", "PreparingTarget")
    pods = space.pods(again)
    assert space.act_on_vm("vm", "stop").code == 202
    space.wait_vm_status("vm", "Stopped")
    _all_gone(nodes, pods)
    space.wait_vmi_gone("vm")


@pytest.mark.case("MIG-049")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=75)
def test_only_the_last_failures_are_kept(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a VMI whose migrations fail.
    Steps: migrate it seven times, one after the other.
    Expected: each has failed with the reason; the last five are kept; no pod of a target is left; the guest goes on.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    moves.annotate(space, "vm", moves.FAIL, "")
    for number in range(7):
        name = moves.migrate(space, "vm", f"move-{number}")
        ended = moves.reach(space, name, "Failed")
        assert "force-launcher-migration-failure" in ended["status"]["migrationState"]["failureReason"], ended["status"]
        moves.check_stayed(space, nodes, "vm", before)
    left = patience.eventually(
        "the oldest are gone", lambda: sorted(each["metadata"]["name"] for each in moves.migrations(space)),
        lambda names: len(names) <= 5, within_s=patience.promised(30))
    assert left == [f"move-{number}" for number in range(2, 7)]
    witness.check(still_s=1)


@pytest.mark.case("MIG-023")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)
def test_a_quota_makes_a_migration_wait(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VMI; a quota of the namespace that allows no second pod.
    Steps: migrate; raise the quota.
    Expected: Pending with condition migrationRejectedByResourceQuota and no pod; then it goes on within 15 s and moves,
        and the condition is gone.
    """
    space.boot(build.kernel_boot_vmi(cluster, "vm"))
    before = moves.home(space, nodes, "vm")
    quota = core_path("resourcequotas", space.name)
    space.rest.post(quota, {"metadata": {"name": "pods"}, "spec": {"hard": {"pods": "1"}}}).ok()
    patience.eventually(
        "the quota counts", lambda: space.rest.get(f"{quota}/pods").ok(),
        lambda found: found.get("status", {}).get("used", {}).get("pods") == "1", within_s=patience.promised(30))
    moves.migrate(space, "vm")
    rejected = "migrationRejectedByResourceQuota"
    seen = patience.eventually(
        "it says so", lambda: moves.get(space, "move") or {},
        lambda found: rejected in [each["type"] for each in found.get("status", {}).get("conditions", [])])
    assert moves.phase(seen) == "Pending"
    assert len(space.pods(space.vmi("vm"))) == 1
    space.rest.patch(f"{quota}/pods", {"spec": {"hard": {"pods": "5"}}}).ok()
    patience.eventually(
        "it goes on", lambda: moves.phase(moves.get(space, "move")),
        lambda phase: phase not in ("", "Pending"), within_s=patience.promised(15))
    ended = moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    assert rejected not in [each["type"] for each in ended["status"].get("conditions", [])]


@pytest.mark.case("MIG-042")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)
def test_the_policy_that_says_most_counts(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a VMI with label app=web; policies for its namespace: without labels, for app=web, for app=web and
        one label that it lacks.
    Steps: migrate.
    Expected: the second one counts, and its bandwidth with the cluster's other settings.
    """
    policy(bandwidthPerMigration="11Mi")
    chosen = policy(bandwidthPerMigration="64Mi", vmi_labels={"app": "web"})
    policy(bandwidthPerMigration="13Mi", vmi_labels={"app": "web", "tier": "gold"})
    manifest = build.merged(build.kernel_boot_vmi(cluster, "vm"), {"metadata": {"labels": {"app": "web"}}})
    space.boot(manifest)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    told = moves.state(space.vmi("vm"))
    assert told["migrationPolicyName"] == chosen, told
    settings = told["migrationConfiguration"]
    assert settings["bandwidthPerMigration"] == "64Mi", settings
    assert settings["progressTimeout"] > 0, settings
