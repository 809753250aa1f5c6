"""Processes of a launcher pod die: libvirt's daemon, the launcher itself, the log reader."""

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space, condition, phases
from functests.libs.nodes import Node, Nodes, Process
from functests.libs.rest import VMI, core_path, kubevirt_path
from functests.libs.watch import Watch
from functests.libs.witness import Witness


def _program(node: Node, pod: str, name: str) -> Process:
    """The one process of the pod that runs ``name``, by its file or its Python module."""
    found = [
        process
        for process in node.processes(pod)
        if process.argv and (process.argv[0].rpartition("/")[2] == name or name in process.argv[1:3])
    ]
    assert len(found) == 1, f"expected one {name} of pod {pod}, found {found} in {node.processes(pod)}"
    return found[0]


@pytest.mark.case("REC-003")
def test_a_killed_libvirt_daemon_comes_back_to_its_guest(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VMI with a witness and two minutes of grace.
    Steps: SIGKILL libvirtd; open the console, pause, unpause; delete the VMI.
    Expected: the same QEMU, the guest goes on; libvirtd is back within 30 s; all actions work; Succeeded, by the
        guest's own power-off.
    """
    vmi, shell = space.boot(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 120))
    witness = Witness(shell)
    pod = space.pod(vmi)["metadata"]["uid"]
    node = nodes[vmi["status"]["nodeName"]]
    qemu, daemon = node.qemu(pod), _program(node, pod, "libvirtd")

    node.run(f"kill -9 {daemon.pid}")
    patience.eventually(
        "another libvirtd runs",
        lambda: [each.pid for each in node.processes(pod) if each.argv and each.argv[0].endswith("libvirtd")],
        lambda pids: bool(pids) and daemon.pid not in pids,
        within_s=patience.promised(30),
    )
    assert node.qemu(pod).pid == qemu.pid
    witness.check()
    witness.shell = space.shell("vm")
    paused = patience.eventually(
        "pause is accepted", lambda: space.act_on_vmi("vm", "pause"), lambda answer: answer.code == 200,
        within_s=patience.promised(30),
    )
    assert paused.code == 200, paused.text
    space.wait_condition("vm", "Paused", "True")
    unpaused = space.act_on_vmi("vm", "unpause")
    assert unpaused.code == 200, unpaused.text
    space.wait_condition("vm", "Paused", "")
    witness.check(still_s=patience.boots(1))

    since = witness.shell.position
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        space.delete_vmi("vm").ok()
        witness.shell.wait_for("power button, shutting down", within_s=patience.promised(20), since=since)
        last = watch.wait_for("the VMI is gone", lambda kind, _: kind == "DELETED", within_s=patience.promised(30))
    assert phases(last)[-1] == "Succeeded", phases(last)


@pytest.mark.demand(boots=2)
@pytest.mark.case("LIF-019")
@pytest.mark.case("REC-004")
@pytest.mark.parametrize(
    ("program", "signal", "phase"),
    [
        pytest.param("virt.cli.launcher", "KILL", "Failed", id="launcher-killed"),
        pytest.param("virt.cli.launcher", "TERM", "Succeeded", id="launcher-told"),
        pytest.param("launcher-init", "KILL", "Failed", id="first-process-killed"),
    ],
)
def test_the_launcher_takes_its_guest_along(
    space: Space, cluster: Cluster, nodes: Nodes, program: str, signal: str, phase: str
) -> None:
    """
    Preconditions: a running VMI with 30 s of grace.
    Steps: send the signal to the launcher's main process, or to the first process of its container, on the node; after
        the latter boot another VMI there.
    Expected: KILL: Failed; TERM: the guest gets the power button, Succeeded. The pod ends; no process, mount or cgroup
        of it is left; the other VMI boots.
    """
    vmi, shell = space.boot(build.with_grace(build.kernel_boot_vmi(cluster, "vm"), 30))
    pod = space.pod(vmi)
    uid = pod["metadata"]["uid"]
    node = nodes[vmi["status"]["nodeName"]]
    since = shell.position
    node.run(f"kill -{signal} {_program(node, uid, program).pid}")
    ended = space.wait_vmi(
        "vm", lambda seen: seen["status"]["phase"] in ("Succeeded", "Failed"), "ended", may_end=True
    )
    assert ended["status"]["phase"] == phase, phases(ended)
    assert ("power button, shutting down" in shell.transcript[since:]) == (signal == "TERM"), shell.transcript[since:]
    path = core_path("pods", space.name, pod["metadata"]["name"])
    patience.eventually(
        "the pod has ended",
        lambda: space.rest.get(path).body.get("status", {}).get("phase", "gone"),
        lambda seen: seen in ("Succeeded", "Failed", "gone"),
        within_s=patience.promised(40),
    )
    patience.eventually("no process of it is left", lambda: node.processes(uid), lambda left: not left)
    stopped = [event["type"] for event in space.wait_events("vm", "Stopped", "VirtualMachineInstance")]
    assert stopped == [{"Failed": "Warning", "Succeeded": "Normal"}[phase]], stopped
    if program != "launcher-init":
        return
    space.delete_vmi("vm").ok()
    space.wait_vmi_gone("vm", within_s=patience.promised(40))
    remains = (
        f"grep {uid} /proc/mounts; find /sys/fs/cgroup -name '*{uid}*' -o -name '*{uid.replace('-', '_')}*'; true"
    )
    patience.eventually("the node is clean", lambda: node.run(remains), lambda left: not left.strip())
    _, second = space.boot(build.on_node(build.kernel_boot_vmi(cluster, "second"), node.name))
    assert second.succeed("echo $((6*7))") == "42"


@pytest.mark.case("REC-005")
def test_a_qemu_that_stands_still_is_not_a_dead_one(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VMI with a witness.
    Steps: SIGSTOP its QEMU for 20 s, then SIGCONT.
    Expected: the VMI stays Running all the time; the guest goes on where it was.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    node = nodes[vmi["status"]["nodeName"]]
    qemu = node.qemu(space.pod(vmi)["metadata"]["uid"])
    node.run(f"kill -STOP {qemu.pid}")
    try:
        patience.quiet(
            "the VMI left Running", lambda: space.vmi("vm")["status"]["phase"], lambda seen: seen != "Running", for_s=20
        )
    finally:
        node.run(f"kill -CONT {qemu.pid}")
    witness.check(still_s=25)
    assert space.vmi("vm")["status"]["phase"] == "Running"
    assert condition(space.vmi("vm"), "Synchronized").get("status", "True") == "True", space.vmi("vm")["status"]
