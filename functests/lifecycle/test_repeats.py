"""VMs that are started and stopped again and again, or cannot start at all."""

import random
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.guest import boot_id
from functests.libs.kube import Object, Space
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import VM, VMI, core_path, kubevirt_path
from functests.libs.watch import Watch


def _pods(space: Space) -> list[Object]:
    return list(space.rest.get(core_path("pods", space.name)).ok()["items"])


@pytest.mark.demand(boots=5)
@pytest.mark.case("LIF-003")
def test_five_starts_and_stops_in_a_row(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a stopped VM.
    Steps: start and stop it five times, the next call as soon as the VMI object is there or gone.
    Expected: five VMIs and five boots; at the end no pod, and no process or mount of any on the nodes.
    """
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "Halted"))
    uids, boots, ran = set(), set(), {}
    for _ in range(5):
        assert space.act_on_vm("vm", "start").code == 202
        vmi = space.wait_running("vm")
        boots.add(boot_id(space.shell("vm")))
        uids.add(vmi["metadata"]["uid"])
        ran[space.pod(vmi)["metadata"]["uid"]] = nodes[vmi["status"]["nodeName"]]
        assert space.act_on_vm("vm", "stop").code == 202
        space.wait_vmi_gone("vm", within_s=patience.promised(40))
    assert (len(uids), len(boots), len(ran)) == (5, 5, 5), (uids, boots)
    assert _pods(space) == []
    patience.eventually(
        "the nodes are clean",
        lambda: [
            f"{node.name}: {pod}" for pod, node in ran.items()
            if node.processes(pod) or node.run(f"grep -c {pod} /proc/mounts || true").strip() != "0"
        ],
        lambda left: not left, within_s=patience.promised(20),
    )  # fmt: skip


@pytest.mark.demand(boots=4)
@pytest.mark.case("LIF-031")
def test_start_and_stop_in_quick_turns(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a Halted VM.
    Steps: five times start, then stop 0 to 2 s later, the seed is printed; then a last start.
    Expected: each stop is 202; each time it ends Stopped with no VMI and no pod; the last start boots.
    """
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    chance = random.Random(seed)
    space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm"), "Halted"))
    for number in range(5):
        space.wait_vm_status("vm", "Stopped")
        assert space.act_on_vm("vm", "start").code == 202, number
        # How far the guest gets meanwhile is the chance: from no VMI at all to a Running one.
        patience.quiet(
            "the VM ended by itself", lambda: space.vm("vm")["spec"]["runStrategy"], lambda seen: seen != "Always",
            for_s=2 * chance.random(), every_s=0.2,
        )  # fmt: skip
        stopped = space.act_on_vm("vm", "stop")
        assert stopped.code == 202, (number, stopped.text)
        space.wait_vmi_gone("vm", within_s=patience.promised(40))
        patience.eventually("no pod is left", lambda: _pods(space), lambda left: not left)
    space.wait_vm_status("vm", "Stopped")
    assert space.act_on_vm("vm", "start").code == 202
    space.wait_running("vm")
    assert space.shell("vm").succeed("echo $((6*7))") == "42"


@pytest.mark.demand(boots=2, seconds=60)
@pytest.mark.case("LIF-010")
def test_a_recreated_claim_starts_nothing(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running RerunOnFailure VM with a PVC.
    Steps: stop it; delete the PVC and create it again; after 30 s start the VM.
    Expected: 202, the strategy is kept, Stopped; so for 30 s; then another VMI boots, the strategy is kept.
    """
    path = f"/api/v1/namespaces/{space.name}/persistentvolumeclaims"
    space.rest.post(path, build.pvc("data")).ok()
    manifest = build.with_disk(
        build.kernel_boot_vmi(cluster, "vm"), "data", {"persistentVolumeClaim": {"claimName": "data"}}
    )
    vmi, _ = space.boot(build.vm_of(manifest, "RerunOnFailure"))
    assert space.act_on_vm("vm", "stop").code == 202
    space.wait_vmi_gone("vm", within_s=patience.promised(40))
    assert space.wait_vm_status("vm", "Stopped")["spec"]["runStrategy"] == "RerunOnFailure"
    space.rest.delete(f"{path}/data").ok()
    patience.eventually("the PVC is gone", lambda: space.rest.get(f"{path}/data").code, lambda code: code == 404)
    space.rest.post(path, build.pvc("data")).ok()
    patience.quiet("a VMI came", lambda: space.get_vmi("vm"), lambda seen: seen is not None, for_s=30)
    assert space.act_on_vm("vm", "start").code == 202
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.promised(30))
    assert space.shell("vm").succeed("echo $((6*7))") == "42"
    assert space.vm("vm")["spec"]["runStrategy"] == "RerunOnFailure"


_MOST_KILLS = 2000      # for each node: several minutes


@contextmanager
def _deadly(space: Space, nodes: Nodes) -> Iterator[None]:
    """Inside the block each launcher of the namespace is killed as soon as it is there, on every node."""
    mine = f"grep -lsz '^VMI_NAMESPACE={space.name}$' /proc/[0-9]*/environ"
    kill = f"for p in $({mine}); do p=${{p%/environ}}; kill -9 ${{p#/proc/}}; done"
    # It has an end even where this process is killed.
    loop = shlex.quote(f"for i in $(seq {_MOST_KILLS}); do {kill}; sleep 0.2; done")
    killers: list[tuple[Node, str]] = []
    try:
        for node in nodes:
            killers.append((node, node.run(f"setsid sh -c {loop} > /dev/null 2>&1 < /dev/null & echo $!").strip()))
        yield
    finally:
        # One that is at work may still kill a launcher that comes now.
        for node, pid in killers:
            node.run(f"kill -9 {pid}; while kill -0 {pid}; do sleep 0.1; done 2> /dev/null; true")


@pytest.mark.demand(boots=1, seconds=75)
@pytest.mark.case("LIF-044")
def test_a_vm_that_cannot_start_is_tried_more_and_more_rarely(
    space: Space, cluster: Cluster, nodes: Nodes
) -> None:
    """
    Preconditions: every launcher of the namespace is killed on its node before its guest runs.
    Steps: create an Always VM; after the second failure stop it; let launchers live, start it.
    Expected: CrashLoopBackOff; the count is 1, then 2; the next try is due 10 to 15 s, then 40 to 60 s after the
        failure, and no VMI is made earlier; Stopped at once, without startFailure; then a VMI at once, and it runs.
    """
    with (
        Watch(space.rest, kubevirt_path(VMI, space.name)) as vmis,
        Watch(space.rest, kubevirt_path(VM, space.name)) as vms,
        _deadly(space, nodes),
    ):
        space.create(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
        dues, failed = [], set[str]()
        for count, least, most in ((1, 10, 15), (2, 40, 60)):
            # The back-off may be over before somebody who asks now and then has seen it.
            vm = vms.wait_for(
                f"backs off, has failed {count} times", lambda _, vm, count=count: (  # type: ignore[misc]
                    _failure(vm).get("consecutiveFailCount") == count
                    and vm["status"].get("printableStatus") == "CrashLoopBackOff"),
                within_s=patience.promised(60),
            )  # fmt: skip
            ended = vmis.wait_for(
                "a VMI has failed", lambda _, vmi, failed=failed: (  # type: ignore[misc]
                    vmi.get("status", {}).get("phase") == "Failed" and vmi["metadata"]["uid"] not in failed),
                within_s=patience.promised(30),
            )  # fmt: skip
            failed.add(ended["metadata"]["uid"])
            failed_at = _time(ended["status"]["phaseTransitionTimestamps"][-1]["phaseTransitionTimestamp"])
            due = _time(_failure(vm)["retryAfterTimestamp"])
            dues.append(due)
            # Timestamps have whole seconds, and the pause begins when the controller has seen the failure.
            assert least - 1 <= (due - failed_at).total_seconds() <= most + 5, (failed_at, due)
        made = {obj["metadata"]["uid"]: _time(obj["metadata"]["creationTimestamp"]) for _, obj in vmis.seen("vm")}
        assert made.keys() == failed, (made, failed)
        assert max(made.values()) >= dues[0], (made, dues)
        assert space.act_on_vm("vm", "stop").code == 202
        vm = space.wait_vm_status("vm", "Stopped", within_s=20)     # half of what is left of the pause
        assert "startFailure" not in vm["status"], vm["status"]
    assert space.act_on_vm("vm", "start").code == 202
    # The one that failed may still be going.
    space.wait_vmi("vm", lambda vmi: vmi["metadata"]["uid"] not in made, "is made at once", may_end=True)
    space.wait_running("vm")
    assert space.shell("vm").succeed("echo $((6*7))") == "42"


def _failure(vm: Object) -> Object:
    return dict(vm.get("status", {}).get("startFailure") or {})


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
