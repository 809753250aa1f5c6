"""Post-copy that goes wrong: memory is on two nodes and one of them is lost, or the kernel's part is not to be had."""

import signal
import uuid
from collections.abc import Callable

import pytest

from functests.libs import build, launcher, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, phases
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, kubevirt_path
from functests.libs.stack import Stack
from functests.libs.watch import Watch
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=900, nodes=2, seconds=75)]
# So much random memory that most of it is missing when post-copy begins.
FILL = "head -c 157286400 /dev/urandom > /run/much"         # less than half of it: a tmpfs has no more


def _live(space: Space, nodes: Nodes, found: list[Object]) -> list[int]:
    """QEMUs of the pods."""
    return [process.pid for pod in found for process in nodes[pod["spec"]["nodeName"]].processes(pod["metadata"]["uid"])
            if process.is_qemu]


@pytest.mark.serial
@pytest.mark.disruptive
@pytest.mark.needs("two-nodes", "post-copy")
@pytest.mark.case("MIG-039")
@pytest.mark.demand(memory_mib=1100, nodes=2, boots=2, seconds=120)
def test_a_guest_whose_memory_is_lost_on_the_way_has_failed(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, policy: Policy
) -> None:
    """
    Preconditions: a VM RerunOnFailure with 150 MiB of random memory; a slow policy with 5 s for each GB that allows
        post-copy; a watch.
    Steps: migrate; SIGKILL the source's handler as soon as the guest runs at the target while memory is missing.
    Expected: the migration has failed; the VMI is Failed, never Succeeded; no QEMU of it is left on either node; the VM
        starts another VMI, which moves.
    """
    name = policy(bandwidthPerMigration=moves.SLOW, completionTimeoutPerGiB=5, allowPostCopy=True)
    vmi, shell = space.boot(build.vm_of(
        build.kernel_boot_vmi(cluster, "vm", memory="384Mi"), run_strategy="RerunOnFailure"))
    shell.succeed(FILL, within_s=patience.boots(1))
    before = moves.home(space, nodes, "vm")
    handler = stack.handler(before.node)
    node, process = stack.process(handler)
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        moves.migrate(space, "vm")
        launcher.Launcher(node, before.pod_uid).once_by_halves(
            f"kill -{int(signal.SIGKILL)} {process.pid}", within_s=patience.boots(4))
        both = space.pods(vmi)
        assert len(both) == 2, [pod["metadata"]["name"] for pod in both]
        watch.wait_for(
            "the VMI has failed",
            lambda _, seen: seen["metadata"]["uid"] == before.uid and seen.get("status", {}).get("phase") == "Failed",
            within_s=patience.promised(90))
        seen = [each for _, each in watch.seen("vm") if each["metadata"]["uid"] == before.uid]
    assert "Succeeded" not in phases(seen[-1]), phases(seen[-1])
    patience.eventually(
        "neither QEMU is left", lambda: _live(space, nodes, both), lambda left: not left,
        within_s=patience.promised(60))
    patience.eventually(
        "the migration has failed, or is gone with its VMI", lambda: moves.get(space, "move"),
        lambda found: found is None or moves.phase(found) == "Failed", within_s=patience.promised(60))
    space.rest.delete(f"{moves.POLICIES}/{name}").ok()
    stack.wait_restarted(handler)
    space.wait_running("vm", not_uid=before.uid, within_s=patience.boots(2))
    assert space.shell("vm").run("test -e /run/much").code == 1, "the new guest has the old one's memory"
    space.wait_condition("vm", "LiveMigratable", "True")
    again = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm", "again")
    moves.reach(space, "again", "Succeeded")
    moves.check_moved(space, nodes, "vm", again, "again")


@pytest.mark.case("MIG-040")
def test_post_copy_that_is_not_to_be_had_costs_no_guest(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a busy guest with a witness; the target's pod was made while post-copy was not allowed, so its QEMU
        may not use the kernel's userfaultfd.
    Steps: allow post-copy, with 5 s for each GB, before the pod finds a node; let it find one.
    Expected: Failed with a reason that names post-copy or userfaultfd; the guest did not notice; the next one, without
        post-copy, moves it.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm", memory="192Mi"))
    witness = Witness(shell)
    shell.succeed(moves.DIRTY)
    before = moves.home(space, nodes, "vm")
    other = next(worker for worker in cluster.workers if worker != before.node)
    label = f"functest.example/{uuid.uuid4().hex[:12]}"
    moves.migrate(space, "vm", addedNodeSelector={label: "here"})
    patience.eventually(
        "people are told", lambda: space.reasons("move"),
        lambda reasons: "migrationTargetPodUnschedulable" in reasons, within_s=patience.promised(30))
    name = policy(bandwidthPerMigration=moves.HELD, completionTimeoutPerGiB=5, allowPostCopy=True)
    path = f"/api/v1/nodes/{other}"
    space.rest.patch(path, {"metadata": {"labels": {label: "here"}}}).ok()
    try:
        moves.reach(space, "move", "Failed", within_s=60 + patience.boots(2))
    finally:
        space.rest.patch(path, {"metadata": {"labels": {label: None}}}).ok()
    reason = moves.check_stayed(space, nodes, "vm", before).lower()
    told = moves.state(space.vmi("vm"))
    assert told["migrationConfiguration"]["allowPostCopy"] is True, told
    assert any(word in reason for word in ("post-copy", "postcopy", "userfault")), reason
    witness.check(still_s=1)
    moves.check_moves_after_all(space, nodes, before, name, witness)
    pods = space.rest.get(core_path("pods", space.name)).ok()["items"]
    asked = [limits for pod in pods for one in pod["spec"]["containers"]
             if "devices.kubevirt.io/userfaultfd" in (limits := one.get("resources", {}).get("limits", {}))]
    assert asked == [], "a target was given userfaultfd all the same"
