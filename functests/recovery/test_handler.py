"""virt-handler dies, is replaced, or is away for a while: guests do not notice, and what was missed is caught up on.

"Held away" means: the node's kubelet is stopped and the handler killed, so nothing starts it again until the kubelet
runs. That is far shorter than a node takes to count as lost.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from functests.libs import build, patience, undo
from functests.libs.cluster import Cluster
from functests.libs.console import Console, ConsoleRefused
from functests.libs.kube import Space, phases
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, kubevirt_path
from functests.libs.stack import Stack
from functests.libs.watch import Watch
from functests.libs.witness import Witness

pytestmark = pytest.mark.serial


@contextmanager
def away(stack: Stack, node: str) -> Iterator[None]:
    """The handler of ``node`` is dead inside the block, and ready again after it."""
    pod, start = stack.handler(node), "systemctl start kubelet"
    note = undo.noted(undo.Script(node=node, script=start))
    stack.nodes[node].run("systemctl stop kubelet")
    try:
        stack.kill(pod)
        yield
    finally:
        stack.nodes[node].run(start)
        note.done()
        stack.wait_restarted(pod)


@pytest.mark.case("REC-006")
def test_guests_survive_their_handlers_pod(space: Space, cluster: Cluster, nodes: Nodes, stack: Stack) -> None:
    """
    Preconditions: a running VMI with a witness and two minutes of grace.
    Steps: delete the handler's pod of its node; then console, pause, unpause and delete through the new one.
    Expected: the node's label schedulable is false, then true; the guest and its QEMU go on, the phase stays Running;
        all actions work.
    """
    vmi, shell = space.boot(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 120))
    witness = Witness(shell)
    name = vmi["status"]["nodeName"]
    pod = space.pod(vmi)["metadata"]["uid"]
    qemu = nodes[name].qemu(pod)
    old = stack.handler(name)

    path = f"/api/v1/nodes?fieldSelector=metadata.name%3D{name}"
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as vmis, Watch(space.rest, path) as labels:
        stack.replace(old)
        labels.wait_for(
            "the node takes no VMs",
            lambda _, obj: obj["metadata"]["labels"].get("kubevirt.io/schedulable") == "false",
            within_s=patience.promised(30),
        )
        patience.eventually(
            "the node takes VMs again", lambda: stack.schedulable(name), lambda label: label == "true",
            within_s=patience.promised(60),
        )
        shell.wait_closed(within_s=patience.promised(10))
        witness.shell = space.shell("vm")
        witness.check()
        assert stack.handler(name)["metadata"]["uid"] != old["metadata"]["uid"]
        assert space.act_on_vmi("vm", "pause").code == 200
        space.wait_condition("vm", "Paused", "True")
        assert space.act_on_vmi("vm", "unpause").code == 200
        space.wait_condition("vm", "Paused", "")
        assert nodes[name].qemu(pod).pid == qemu.pid
        seen = {obj["status"].get("phase") for _, obj in vmis.seen("vm")}
        assert seen == {"Running"}, seen
        space.delete_vmi("vm").ok()
        last = vmis.wait_for("the VMI is gone", lambda kind, _: kind == "DELETED", within_s=patience.promised(40))
    assert phases(last)[-1] == "Succeeded", phases(last)


@pytest.mark.case("CON-019")
def test_a_console_comes_back_after_its_handler(space: Space, cluster: Cluster, stack: Stack) -> None:
    """
    Preconditions: a running VMI with an open console.
    Steps: SIGKILL the handler of its node; open a console again.
    Expected: the stream ends; 15 s after the handler is ready there is a console of the same boot.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    handler = stack.handler(vmi["status"]["nodeName"])
    stack.kill(handler)
    shell.wait_closed(within_s=patience.promised(10))
    stack.wait_restarted(handler)
    console = patience.eventually(
        "the console opens", lambda: _console(space), lambda seen: seen is not None, within_s=patience.promised(15)
    )
    assert console is not None
    witness.shell = console.login(within_s=patience.boots(1))
    witness.check()


def _console(space: Space) -> Console | None:
    """None while it is refused."""
    try:
        return space.console("vm")
    except ConsoleRefused:
        return None


@pytest.mark.case("REC-007")
def test_a_start_goes_on_after_its_handler_was_killed(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack
) -> None:
    """
    Preconditions: none.
    Steps: create a VMI on a node; SIGKILL the node's handler when the VMI becomes Scheduled.
    Expected: it ends Running, with one QEMU and a shell.
    """
    node = cluster.workers[0]
    handler = stack.handler(node)
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        space.create(build.on_node(build.kernel_boot_vmi(cluster, "vm"), node))
        watch.wait_for(
            "Scheduled",
            lambda _, obj: obj.get("status", {}).get("phase") == "Scheduled",
            within_s=patience.boots(1),
        )
        stack.kill(handler)
    vmi = space.wait_running("vm", within_s=patience.promised(60))
    assert space.shell("vm").succeed("echo $((6*7))") == "42"
    assert phases(vmi) == ["Pending", "Scheduling", "Scheduled", "Running"], phases(vmi)
    assert nodes[node].qemu(space.pod(vmi)["metadata"]["uid"]).is_qemu
    stack.wait_restarted(handler)


@pytest.mark.case("REC-007")
def test_a_grace_period_holds_while_the_handler_is_killed(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack
) -> None:
    """
    Preconditions: a running VM with 20 s of grace whose guest ignores the power button.
    Steps: stop it; SIGKILL the handler of its node at once.
    Expected: the guest ends when its grace is over, not at once and not never; nothing of it is left on the node.
    """
    manifest = build.with_grace(build.kernel_boot_vmi(cluster, "vm", kernel_args="tiny.powerbutton=0"), 20)
    vmi, _ = space.boot(build.vm_of(manifest))
    node = nodes[vmi["status"]["nodeName"]]
    pod = space.pod(vmi)["metadata"]["uid"]
    handler = stack.handler(node.name)
    began = time.monotonic()
    assert space.act_on_vm("vm", "stop").code == 202
    patience.eventually(
        "the VMI is being deleted",
        lambda: space.vmi("vm")["metadata"].get("deletionTimestamp"),
        lambda stamp: stamp is not None,
        within_s=patience.promised(10),
    )
    stack.kill(handler)
    patience.quiet(
        "QEMU ended before its grace was over",
        lambda: [process for process in node.processes(pod) if process.is_qemu],
        lambda found: not found,
        for_s=max(0.0, 14 - (time.monotonic() - began)),
    )
    space.wait_vmi_gone("vm", within_s=patience.promised(60))
    patience.eventually("nothing of the pod runs", lambda: node.processes(pod), lambda left: not left)
    space.wait_vm_status("vm", "Stopped")
    stack.wait_restarted(handler)


@pytest.mark.case("REC-008")
@pytest.mark.parametrize(("end", "phase"), [("poweroff", "Succeeded"), ("kill", "Failed")])
def test_an_end_without_a_handler_is_told_later(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack, end: str, phase: str
) -> None:
    """
    Preconditions: a running VMI; the handler of its node is held away.
    Steps: power off inside the guest, or SIGKILL its QEMU; let the handler come back.
    Expected: Running while nobody can know; then Succeeded, or Failed for the killed one.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    node = nodes[vmi["status"]["nodeName"]]
    pod = space.pod(vmi)["metadata"]["uid"]
    if end == "poweroff":
        # It must happen after the console is gone with the handler.
        shell.succeed("{ setsid sh -c 'sleep 6; poweroff -f' > /dev/null 2>&1 < /dev/null & }")
    with away(stack, node.name):
        if end == "kill":
            node.run(f"kill -9 {node.qemu(pod).pid}")
        patience.eventually(
            "QEMU has ended",
            lambda: [process for process in node.processes(pod) if process.is_qemu],
            lambda left: not left,
            within_s=patience.promised(30),
        )
        assert space.vmi("vm")["status"]["phase"] == "Running"
    ended = space.wait_vmi(
        "vm", lambda seen: seen["status"]["phase"] != "Running", "ended", within_s=patience.promised(60), may_end=True
    )
    assert ended["status"]["phase"] == phase, phases(ended)


@pytest.mark.case("REC-009")
def test_a_guest_whose_handler_is_unreachable_is_not_given_up(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack
) -> None:
    """
    Preconditions: a running VMI with a witness.
    Steps: stop the launcher's main process (SIGSTOP), so that it cannot dial; kill the handler; let 60 s pass after it
        is back; let the launcher go on.
    Expected: still Running after that time; pause and unpause work soon after; the guest went on all the time.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    node = nodes[vmi["status"]["nodeName"]]
    launchers = [
        process
        for process in node.processes(space.pod(vmi)["metadata"]["uid"])
        if "virt.cli.launcher" in process.argv and process.argv[0].startswith("python")
    ]
    assert len(launchers) == 1, launchers
    handler = stack.handler(node.name)
    node.run(f"kill -STOP {launchers[0].pid}")
    try:
        stack.kill(handler)
        stack.wait_restarted(handler)
        patience.quiet(
            "the VMI left Running", lambda: space.vmi("vm")["status"]["phase"], lambda seen: seen != "Running", for_s=60
        )
    finally:
        node.run(f"kill -CONT {launchers[0].pid}")
    patience.eventually(
        "pause works again", lambda: space.act_on_vmi("vm", "pause"), lambda answer: answer.code == 200
    )
    space.wait_condition("vm", "Paused", "True")
    assert space.act_on_vmi("vm", "unpause").code == 200
    witness.shell = space.shell("vm")
    witness.check(still_s=patience.boots(1))


@pytest.mark.case("REC-012")
def test_a_vmi_forced_away_meanwhile_leaves_nothing(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack
) -> None:
    """
    Preconditions: a running VMI; the handler of its node is held away.
    Steps: delete the VMI and its pod by force; let the handler come back; create a VMI of the same name there.
    Expected: no process, mount or network namespace link of the pod is left within 60 s; the new VMI boots.
    """
    vmi, _ = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    node = nodes[vmi["status"]["nodeName"]]
    pod = space.pod(vmi)
    uid = pod["metadata"]["uid"]
    with away(stack, node.name):
        space.delete_vmi("vm").ok()
        forced = {"gracePeriodSeconds": 0}
        space.rest.delete(core_path("pods", space.name, pod["metadata"]["name"]), forced)
    space.wait_vmi_gone("vm", within_s=patience.promised(60))
    patience.eventually("nothing of the pod runs", lambda: node.processes(uid), lambda left: not left)
    patience.eventually(
        "nothing of the pod is mounted",
        lambda: node.run(f"grep -c {uid} /proc/mounts || true").strip(),
        lambda count: count == "0",
        within_s=patience.promised(60),
    )
    patience.eventually(
        "the handler has no file of the pod",
        lambda: node.run(f"find /var/run/kubevirt -name '*{uid}*'").split(),
        lambda left: not left,
        within_s=patience.promised(30),
    )
    _, shell = space.boot(build.on_node(build.kernel_boot_vmi(cluster, "vm"), node.name))
    assert shell.succeed("echo $((6*7))") == "42"
