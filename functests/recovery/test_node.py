"""Services of a node are restarted under running guests: kubelet, runtime, device plugin; and the node itself."""

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Node, Nodes
from functests.libs.rest import VMI, kubevirt_path
from functests.libs.stack import Stack
from functests.libs.witness import Witness

pytestmark = pytest.mark.serial

_PLUGINS = "/var/lib/kubelet/device-plugins"


def _tun_socket(node: Node) -> str:
    """Name and inode of the tun plugin's socket; "" while there is none."""
    code, seen = node.try_run(f"stat -c '%n %i' {_PLUGINS}/kubevirt*tun*")
    return seen.strip() if code == 0 else ""


@pytest.mark.case("REC-021")
def test_a_kubelet_restart_keeps_guests(space: Space, cluster: Cluster, nodes: Nodes, stack: Stack) -> None:
    """
    Preconditions: a running VMI with a witness; its node takes VMs.
    Steps: restart the node's kubelet; create a VMI there.
    Expected: the launcher's container and QEMU are the same, the guest goes on; within 60 s the node has devices to
        give and takes VMs; the new VMI boots there.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    node = nodes[vmi["status"]["nodeName"]]
    pod = space.pod(vmi)
    qemu = node.qemu(pod["metadata"]["uid"])

    def containers() -> dict[str, str]:
        statuses = space.pod(vmi)["status"]["containerStatuses"]
        return {status["name"]: status["containerID"] for status in statuses}

    before = containers()
    socket = _tun_socket(node)
    node.run("systemctl restart kubelet")
    # What the API says of the node is that of before for some seconds.
    patience.eventually(
        "the plugin serves the new kubelet", lambda: _tun_socket(node), lambda now: now not in ("", socket)
    )
    stack.wait_takes_vms(node.name)
    _, second = space.boot(build.on_node(build.kernel_boot_vmi(cluster, "second"), node.name))
    assert second.succeed("echo $((6*7))") == "42"
    assert containers() == before
    assert node.qemu(pod["metadata"]["uid"]).pid == qemu.pid
    assert space.vmi("vm")["status"]["phase"] == "Running"
    witness.check()


@pytest.mark.case("REC-022")
def test_a_container_runtime_restart_keeps_guests(space: Space, cluster: Cluster, nodes: Nodes, stack: Stack) -> None:
    """
    Preconditions: a running VM with a witness.
    Steps: restart containerd on its node; then console, stop, and a new VMI there.
    Expected: the same QEMU, the guest goes on; console and stop work; the new VMI boots.
    """
    vmi, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    witness = Witness(shell)
    node = nodes[vmi["status"]["nodeName"]]
    uid = space.pod(vmi)["metadata"]["uid"]
    qemu = node.qemu(uid)
    node.run("systemctl restart containerd")
    _, second = space.boot(build.on_node(build.kernel_boot_vmi(cluster, "second"), node.name))
    assert second.succeed("echo $((6*7))") == "42"
    assert node.qemu(uid).pid == qemu.pid
    witness.shell = space.shell("vm")
    witness.check()
    assert space.act_on_vm("vm", "stop").code == 202
    space.wait_vmi_gone("vm", within_s=patience.promised(60))
    patience.eventually("nothing of the pod runs", lambda: node.processes(uid), lambda left: not left)


@pytest.mark.case("REC-023")
def test_a_lost_device_plugin_socket_is_made_anew(space: Space, cluster: Cluster, nodes: Nodes, stack: Stack) -> None:
    """
    Preconditions: a running VMI with a witness.
    Steps: remove the socket of the tun device plugin on its node; create a VMI there.
    Expected: the socket is there again, with devices to give, within 60 s; the guest goes on; the new VMI boots.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    node = nodes[vmi["status"]["nodeName"]]
    socket = _tun_socket(node)
    node.run(f"rm {socket.partition(' ')[0]}")
    patience.eventually(
        "the socket is another one", lambda: _tun_socket(node), lambda now: now not in ("", socket)
    )
    stack.wait_takes_vms(node.name)
    _, second = space.boot(build.on_node(build.kernel_boot_vmi(cluster, "second"), node.name))
    assert second.succeed("echo $((6*7))") == "42"
    witness.check()


@pytest.mark.case("REC-025")
@pytest.mark.timeout(900)
def test_a_restarted_node_runs_its_machines_again(
    space: Space, cluster: Cluster, nodes: Nodes, stack: Stack
) -> None:
    """
    Preconditions: a running Always VM, a running bare VMI and a Halted VM that are placed on one worker.
    Steps: SIGKILL the worker's container and start it again.
    Expected: the bare VMI is Failed, the Always VM runs again under a new uid, the Halted one stays stopped; no process
        of the old pods; label and devices are back.
    """
    node = nodes[cluster.workers[-1]]
    vmi, _ = space.boot(build.vm_of(build.on_node(build.kernel_boot_vmi(cluster, "always"), node.name)))
    bare, _ = space.boot(build.on_node(build.kernel_boot_vmi(cluster, "bare"), node.name))
    space.create(build.vm_of(build.on_node(build.kernel_boot_vmi(cluster, "halted"), node.name), "Halted"))
    uids = [space.pod(each)["metadata"]["uid"] for each in (vmi, bare)]
    node.restart()
    stack.wait_well(within_s=patience.promised(300))
    space.wait_vmi("bare", lambda seen: seen["status"]["phase"] == "Failed", "failed", within_s=patience.promised(120),
                   may_end=True)
    again = space.wait_running("always", not_uid=vmi["metadata"]["uid"], within_s=120 + patience.boots(2))
    assert space.shell("always").succeed("echo $((6*7))") == "42"
    assert again["status"]["nodeName"] == node.name
    assert space.get_vmi("halted") is None
    left = [process for uid in uids for process in node.processes(uid)]
    assert not left, left


@pytest.mark.case("REC-024")
@pytest.mark.timeout(900)
def test_a_stalled_store_stops_no_guest(space: Space, cluster: Cluster, nodes: Nodes, stack: Stack) -> None:
    """
    Preconditions: a running VMI with a witness.
    Steps: SIGSTOP etcd for 25 s, SIGCONT; create a VMI.
    Expected: the guest goes on; leases are held again within 60 s; no VMI changed its phase; the new VMI boots.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    (control_plane,) = (node for node in nodes if node.name not in cluster.workers + cluster.machines)
    pid = control_plane.run("pidof etcd").strip()
    control_plane.run(f"kill -STOP {pid}; sleep 25; kill -CONT {pid}")
    # Until its store answers again, the API server refuses even to be asked.
    patience.eventually(
        "the API server has its store again", lambda: space.rest.get(kubevirt_path(VMI, space.name, "vm")).code,
        lambda code: code == 200, within_s=patience.promised(60),
    )  # fmt: skip
    stack.wait_well(within_s=patience.promised(120))
    for lease in ("virt-controller", "virt-operator"):
        assert stack.leader(lease)
    assert space.vmi("vm")["status"]["phase"] == "Running"
    _, second = space.boot(build.kernel_boot_vmi(cluster, "second"))
    assert second.succeed("echo $((6*7))") == "42"
    witness.shell = space.shell("vm")
    witness.check()
