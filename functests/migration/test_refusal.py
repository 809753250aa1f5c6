"""Migrations that are refused, and VMIs that say why they cannot move."""

from collections.abc import Callable

import pytest

from functests.libs import build, moves
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition
from functests.libs.nodes import Nodes

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes")]


@pytest.mark.demand(vcpus=2, memory_mib=800, nodes=2, boots=2)
@pytest.mark.case("MIG-011")
def test_what_cannot_be_is_refused(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a running VMI that can move, slowly; one on a ReadWriteOnce claim; one that has ended.
    Steps: create migrations: without a name, of no VMI, of each of the others, a second one, one with a priority.
    Expected: 422 with the field, or 400 with the reason; nothing is stored and no pod is made.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    space.boot(build.kernel_boot_vmi(cluster, "vm"))
    space.rest.post(f"/api/v1/namespaces/{space.name}/persistentvolumeclaims", build.pvc("data")).ok()
    source = {"persistentVolumeClaim": {"claimName": "data"}}
    _, ended = space.boot(build.with_disk(build.kernel_boot_vmi(cluster, "bound"), "data", source))
    space.wait_condition("bound", "LiveMigratable", "False")
    for name, code, text in (
        ("", 422, "vmiName"), ("nobody", 400, "does not exist"), ("bound", 400, "Reason: DisksNotLiveMigratable"),
    ):
        answer = moves.try_migrate(space, name, "refused")
        assert (answer.code, text in answer.message) == (code, True), answer.text
        if code == 422:
            assert [cause["field"] for cause in answer.causes] == ["spec.vmiName"], answer.text
    answer = moves.try_migrate(space, "vm", "refused", priority="system-critical")
    assert (answer.code, [cause["field"] for cause in answer.causes]) == (422, ["spec.migrationPriority"]), answer.text
    ended.send("poweroff -f\n")
    space.wait_vmi("bound", lambda vmi: vmi["status"]["phase"] == "Succeeded", "has ended", may_end=True)
    answer = moves.try_migrate(space, "bound", "refused")
    assert (answer.code, "finalized state" in answer.message) == (400, True), answer.text

    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    uid = (moves.get(space, "move") or {})["metadata"]["uid"]
    answer = moves.try_migrate(space, "vm", "refused")
    assert (answer.code, "in-flight migration detected" in answer.message, uid in answer.message) == (
        400, True, True), answer.text
    assert [each["metadata"]["name"] for each in moves.migrations(space)] == ["move"]
    assert len(space.pods(space.vmi("vm"))) == 2
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")


@pytest.mark.case("MIG-014")
@pytest.mark.parametrize("network", ["masquerade", "bridge"])
def test_a_vmi_says_why_it_cannot_move(space: Space, cluster: Cluster, network: str) -> None:
    """
    Preconditions: a VMI with a ReadWriteOnce claim, on the pod network by masquerade or by bridge.
    Steps: boot it.
    Expected: LiveMigratable False with the first obstacle; StorageLiveMigratable looks at the network alone.
    """
    space.rest.post(f"/api/v1/namespaces/{space.name}/persistentvolumeclaims", build.pvc("data")).ok()
    source = {"persistentVolumeClaim": {"claimName": "data"}}
    manifest = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", source)
    manifest = build.merged(manifest, {"spec": {"domain": {"devices": {
        "interfaces": [{"name": "default", network: {}}]}}}})
    space.create(manifest)
    space.wait_running("vm")
    vmi = space.wait_condition("vm", "LiveMigratable", "False")
    found, storage = condition(vmi, "LiveMigratable"), condition(vmi, "StorageLiveMigratable")
    if network == "masquerade":
        assert found["reason"] == "DisksNotLiveMigratable", found
        assert storage["status"] == "True", storage
        return
    assert found["reason"] == "InterfaceNotLiveMigratable", found
    assert (storage["status"], storage["reason"]) == ("False", "NotMigratable"), storage
    assert "default" in storage["message"], storage
    assert "data" not in storage["message"], storage
