"""Operator, controller and API server die or stand still: guests go on, another process takes over, nothing is lost."""

from datetime import UTC, datetime, timedelta

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console, ConsoleRefused
from functests.libs.kube import Space
from functests.libs.rest import VMI, core_path, kubevirt_path
from functests.libs.stack import API, CONTROLLER, NAMESPACE, OPERATOR, Stack, container, is_ready
from functests.libs.watch import Watch
from functests.libs.witness import Witness

pytestmark = pytest.mark.serial

_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
_KUBEVIRTS = f"/apis/kubevirt.io/v1/namespaces/{NAMESPACE}/kubevirts"
_DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
_HEARTBEAT = "kubevirt.io/heartbeat"


@pytest.mark.case("REC-013")
def test_another_controller_takes_over(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running VMI with a witness.
    Steps: delete the pod of the leading virt-controller; create a VMI at once.
    Expected: another pod holds the lease within 30 s; the new VMI runs; the first guest goes on.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "first"))
    witness = Witness(shell)
    old = stack.leader(CONTROLLER)["metadata"]["name"]
    stack.rest.delete(core_path("pods", NAMESPACE, old)).ok()
    space.create(build.kernel_boot_vmi(cluster, "second"))
    holder = patience.eventually(
        "another controller leads", lambda: stack.holder(CONTROLLER), lambda name: name not in ("", old),
        within_s=patience.promised(30),
    )
    assert holder in [pod["metadata"]["name"] for pod in stack.pods(CONTROLLER)], holder
    space.wait_running("second", within_s=patience.promised(30))
    assert space.shell("second").succeed("echo $((6*7))") == "42"
    witness.check()


@pytest.mark.case("REC-014")
def test_a_leader_that_stood_still_leads_no_more(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: the controller's lease is held.
    Steps: SIGSTOP the leader for 25 s; create five VMIs meanwhile, four of which fit on no node; SIGCONT.
    Expected: another holder before the old one goes on; the old process exits; each VMI got exactly one launcher pod;
        the one that can run does.
    """
    names = ["vm", "far-0", "far-1", "far-2", "far-3"]
    old = stack.leader(CONTROLLER)
    with Watch(space.rest, core_path("pods", space.name)) as pods:
        node, process = stack.process(old)
        node.run(f"kill -STOP {process.pid}")
        try:
            for name in names:
                manifest = build.kernel_boot_vmi(cluster, name)
                space.create(manifest if name == "vm" else build.on_node(manifest, "no-such-node"))
            patience.quiet("the old leader is gone", lambda: node.try_run(f"kill -0 {process.pid}")[0], bool, for_s=25)
            holder = stack.holder(CONTROLLER)
            assert holder != old["metadata"]["name"], "a process that stood still for 25 s still holds the lease"
        finally:
            node.run(f"kill -CONT {process.pid}")
        stack.wait_restarted(old)
        space.wait_running("vm", within_s=patience.promised(60))
        for name in names:
            space.wait_vmi(name, lambda vmi: bool(vmi["status"].get("activePods")), "has its pod")
        made = [
            (obj["metadata"]["labels"].get("kubevirt.io/created-by"), obj["metadata"]["uid"])
            for kind, obj in pods.seen()
            if kind == "ADDED"
        ]
    uids = {space.vmi(name)["metadata"]["uid"] for name in names}
    assert len(set(made)) == len(names), made
    assert {owner for owner, _ in made} == uids, made
    assert stack.holder(CONTROLLER) != old["metadata"]["name"]
    assert space.shell("vm").succeed("echo $((6*7))") == "42"


@pytest.mark.case("REC-020")
def test_guests_survive_the_death_of_all_api_servers(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running VMI with a witness and an open console.
    Steps: SIGKILL every virt-api process at once; create a VMI right then, and again later.
    Expected: the console ends; the create fails at the webhook and stores nothing; within 60 s create and console work;
        the guest went on; no other component was restarted.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "first"))
    witness = Witness(shell)
    before = stack.restarts()
    pods = stack.pods(API)
    by_node: dict[str, list[int]] = {}
    for pod in pods:
        node, process = stack.process(pod)
        by_node.setdefault(node.name, []).append(process.pid)
    for name, pids in by_node.items():
        stack.nodes[name].run(f"kill -9 {' '.join(map(str, pids))}")
    refused = space.try_create(build.kernel_boot_vmi(cluster, "second"))
    assert (refused.code, "failed calling webhook" in refused.message) == (500, True), refused.text
    assert space.get_vmi("second") is None
    shell.wait_closed(within_s=patience.promised(10))

    patience.eventually(
        "a VMI is admitted again",
        lambda: space.try_create(build.kernel_boot_vmi(cluster, "second")),
        lambda answer: answer.code == 201,
        within_s=patience.promised(60),
    )
    for pod in pods:
        stack.wait_restarted(pod)
    # kube-apiserver takes its time to see that the aggregated API is there again.
    console = patience.eventually(
        "a console opens", lambda: _console(space, "first"), lambda seen: seen is not None
    )
    assert console is not None
    witness.shell = console.login(within_s=patience.boots(1))
    witness.check()
    space.wait_running("second")
    assert space.shell("second").succeed("echo $((6*7))") == "42"
    killed = {pod["metadata"]["name"] for pod in pods}
    others = {name: count for name, count in stack.restarts().items() if name not in killed}
    assert others == {name: count for name, count in before.items() if name not in killed}


def _console(space: Space, name: str) -> Console | None:
    """None while it is refused."""
    try:
        return space.console(name)
    except ConsoleRefused:
        return None


@pytest.mark.case("REC-020")
@pytest.mark.parametrize("component", [CONTROLLER, OPERATOR])
def test_guests_survive_the_death_of_a_whole_component(
    space: Space, cluster: Cluster, stack: Stack, component: str
) -> None:
    """
    Preconditions: a running VM with a witness.
    Steps: SIGKILL every process of the component at once; stop the VM and start it again when it is back.
    Expected: the guest goes on in the same QEMU; all processes come back; stop and start work.
    """
    vmi, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    witness = Witness(shell)
    node = stack.nodes[vmi["status"]["nodeName"]]
    uid = space.pod(vmi)["metadata"]["uid"]
    qemu = node.qemu(uid)
    pods = stack.pods(component)
    for pod in pods:
        stack.kill(pod)
    witness.check()
    for pod in pods:
        stack.wait_restarted(pod)
    assert node.qemu(uid).pid == qemu.pid
    witness.check()
    assert space.act_on_vm("vm", "stop").code == 202
    space.wait_vmi_gone("vm", within_s=patience.promised(60))
    assert space.act_on_vm("vm", "start").code == 202
    space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.promised(60))
    assert space.shell("vm").succeed("echo $((6*7))") == "42"


@pytest.mark.case("OPR-021")
def test_another_operator_finishes_a_change(stack: Stack) -> None:
    """
    Preconditions: two operators, one leads.
    Steps: ask for three replicas of the control plane; SIGKILL the leading operator at once and take its pod away.
    Expected: the other one holds the lease soon after the lease's 15 s; virt-api and virt-controller get three
        replicas; all components ready; the lease went from one holder to the other, never back.
    """
    (kubevirt,) = stack.rest.get(_KUBEVIRTS).ok()["items"]
    path = f"{_KUBEVIRTS}/{kubevirt['metadata']['name']}"
    before = (kubevirt["spec"].get("infra") or {}).get("replicas")
    old = stack.leader(OPERATOR)
    name = old["metadata"]["name"]
    try:
        with Watch(stack.rest, f"{_LEASES}?fieldSelector=metadata.name%3D{OPERATOR}") as leases:
            stack.rest.patch(path, {"spec": {"infra": {"replicas": 3}}}).ok()
            stack.kill(old)
            stack.rest.delete(core_path("pods", NAMESPACE, name), {"gracePeriodSeconds": 0}).ok()
            patience.eventually(
                "another operator leads", lambda: stack.holder(OPERATOR), lambda holder: holder not in ("", name),
                within_s=max(20.0, 15 + patience.boot_s()),
            )  # fmt: skip
            for component in (API, CONTROLLER):
                patience.eventually(
                    f"{component} has three replicas",
                    lambda component=component: len([pod for pod in stack.pods(component) if is_ready(pod)]),  # type: ignore[misc]
                    lambda count: count == 3,
                    within_s=patience.promised(60),
                )
            stack.wait_well()
            holders = [obj["spec"].get("holderIdentity") for _, obj in leases.seen()]
        changes = [holder for index, holder in enumerate(holders) if index == 0 or holder != holders[index - 1]]
        assert len(changes) == 2, changes
        assert changes[0] == name, changes
    finally:
        stack.rest.patch(path, {"spec": {"infra": {"replicas": before}}}).ok()
        for component in (API, CONTROLLER):
            patience.eventually(
                f"{component} has its replicas again",
                lambda component=component: stack.rest.get(f"{_DEPLOYMENTS}/{component}").ok()["spec"]["replicas"],  # type: ignore[misc]
                lambda count: count == (before or 2),
                within_s=patience.promised(60),
            )


@pytest.mark.case("REC-029")
@pytest.mark.parametrize("lie", ["future", "garbage"])
def test_a_heartbeat_that_lies_kills_no_node(
    space: Space, cluster: Cluster, stack: Stack, lie: str
) -> None:
    """
    Preconditions: a running VMI.
    Steps: write a heartbeat of the future, or one that is no time, on its node.
    Expected: the node keeps its label, the VMI its phase; no controller is restarted; the next heartbeat is a time
        that has passed.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    node = vmi["status"]["nodeName"]
    before = stack.restarts()
    text = "garbage" if lie == "garbage" else (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    stack.rest.patch(f"/api/v1/nodes/{node}", {"metadata": {"annotations": {_HEARTBEAT: text}}}).ok()

    def heartbeat() -> str:
        assert stack.schedulable(node) == "true", "the node was taken for dead"
        assert space.vmi("vm")["status"]["phase"] == "Running"
        return str(stack.node(node)["metadata"]["annotations"][_HEARTBEAT])

    told = patience.eventually(
        "the heartbeat is written anew", heartbeat, lambda seen: seen != text, within_s=patience.promised(90))
    age = datetime.now(UTC) - datetime.fromisoformat(told)
    assert timedelta(0) <= age < timedelta(seconds=60), told
    assert stack.restarts() == before
    assert shell.succeed("echo $((6*7))") == "42"


@pytest.mark.case("REC-029")
def test_a_lease_of_the_future_is_not_for_ever(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: the controller's lease is held.
    Steps: write into it a holder that does not exist and a time of renewal in an hour; create a VMI.
    Expected: within 60 s a controller that exists leads; the VMI runs.
    """
    pods = {pod["metadata"]["name"]: container(pod)["containerID"] for pod in stack.pods(CONTROLLER)}
    future = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    lie = {"holderIdentity": "virt-controller-gone", "renewTime": future}
    stack.rest.patch(f"{_LEASES}/{CONTROLLER}", {"spec": lie}).ok()
    space.create(build.kernel_boot_vmi(cluster, "vm"))
    patience.eventually(
        "a controller leads", lambda: stack.holder(CONTROLLER), lambda holder: holder in pods
    )
    space.wait_running("vm", within_s=patience.promised(60))
    assert space.shell("vm").succeed("echo $((6*7))") == "42"
    stamp = stack.rest.get(f"{_LEASES}/{CONTROLLER}").ok()["spec"]["renewTime"]
    assert datetime.fromisoformat(stamp) < datetime.now(UTC) + timedelta(seconds=5), stamp


@pytest.mark.case("REC-006")
def test_one_process_of_each_component_dies(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running VMI with a witness.
    Steps: SIGKILL one process of every component, one after the other.
    Expected: no phase but Running is ever seen; the guest goes on; afterwards the VMI is paused, unpaused and deleted.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        killed = [stack.leader(OPERATOR), stack.leader(CONTROLLER), stack.pods(API)[0]]
        killed.append(stack.handler(vmi["status"]["nodeName"]))
        for pod in killed:
            stack.kill(pod)
        for pod in killed:
            stack.wait_restarted(pod)
        # kube-apiserver takes its time to see that the aggregated API is there again.
        console = patience.eventually("a console opens", lambda: _console(space, "vm"), lambda seen: seen is not None)
        assert console is not None
        witness.shell = console.login(within_s=patience.boots(1))
        witness.check()
        assert {obj["status"].get("phase") for _, obj in watch.seen("vm")} == {"Running"}
    paused = space.act_on_vmi("vm", "pause")
    assert paused.code == 200, paused.text
    space.wait_condition("vm", "Paused", "True")
    assert space.act_on_vmi("vm", "unpause").code == 200
    space.wait_condition("vm", "Paused", "")
    space.delete_vmi("vm").ok()
    space.wait_vmi_gone("vm", within_s=patience.promised(60))
