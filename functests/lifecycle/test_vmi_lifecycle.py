"""VirtualMachineInstance: shutdown, pause, reset, as the guest feels them."""

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.console import Console
from functests.libs.guest import Ticker
from functests.libs.kube import Space, condition, phases
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, kubevirt_path
from functests.libs.watch import Watch


def boot_id(shell: Console) -> str:
    return shell.succeed("cat /proc/sys/kernel/random/boot_id")


@pytest.mark.demand(boots=3)
@pytest.mark.case("LIF-020")
def test_a_guest_that_saves_on_shutdown_is_given_the_time(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI with a PVC and two minutes of grace; its guest writes a line when the button comes.
    Steps: delete the VMI; boot another one on the PVC.
    Expected: Succeeded before the object goes, all over within 15 s; the line is on the PVC.
    """
    space.rest.post(f"/api/v1/namespaces/{space.name}/persistentvolumeclaims", build.pvc("data")).ok()
    source = {"persistentVolumeClaim": {"claimName": "data"}}
    manifest = build.with_disk(build.with_grace(build.kernel_boot_vmi(cluster, "first"), 120), "data", source)
    _, shell = space.boot(manifest)
    shell.succeed("mke2fs -q -t ext4 /dev/vda && mkdir -p /mnt && mount /dev/vda /mnt")
    # tiny runs this file on the power button, before it powers off.
    shell.succeed(
        "printf '#!/bin/sh\\necho saved >> /mnt/line\\nsync\\n' > /etc/powerbutton; chmod +x /etc/powerbutton"
    )

    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        space.delete_vmi("first").ok()
        last = watch.wait_for("the VMI is gone", lambda kind, _: kind == "DELETED", within_s=patience.promised(15))
    assert phases(last)[-1] == "Succeeded", phases(last)

    _, shell = space.boot(build.with_disk(build.kernel_boot_vmi(cluster, "second"), "data", source))
    assert shell.succeed("mkdir -p /mnt && mount /dev/vda /mnt && cat /mnt/line") == "saved"


@pytest.mark.demand(boots=2)
@pytest.mark.case("LIF-022")
def test_shutdown_needs_no_agent(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI with two minutes of grace whose guest runs no agent though the channel is there.
    Steps: delete it.
    Expected: Succeeded and gone within 12 s.
    """
    manifest = build.with_grace(build.kernel_boot_vmi(cluster, "vm", kernel_args="tiny.agent=0"), 120)
    _, shell = space.boot(manifest)
    assert "org.qemu.guest_agent.0" in shell.succeed("cat /sys/class/virtio-ports/*/name")
    assert not shell.succeed("pidof qemu-ga || true")

    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        space.delete_vmi("vm").ok()
        last = watch.wait_for("the VMI is gone", lambda kind, _: kind == "DELETED", within_s=patience.promised(12))
    assert phases(last)[-1] == "Succeeded", phases(last)


@pytest.mark.case("LIF-033")
def test_a_paused_guest_stands_still_and_goes_on(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VM whose guest prints a numbered tick every 100 ms.
    Steps: pause, wait 3 s, unpause.
    Expected: no tick, no CPU time while paused; conditions, status, events say so; no tick is lost or repeated.
    """
    vmi, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    same = boot_id(shell)
    ticker = Ticker(shell)

    answer = space.act_on_vmi("vm", "pause")
    assert answer.code == 200, answer.text
    paused = space.wait_condition("vm", "Paused", "True")
    assert condition(paused, "Paused")["reason"] == "PausedByUser"
    node = nodes[vmi["status"]["nodeName"]]
    pod = space.pod(vmi)
    qemu = node.qemu(pod["metadata"]["uid"])
    ticker.rests(for_s=1)               # what was on its way when the guest was paused has come
    position = shell.position
    # The whole point is that nothing happens, so this is a measured span and not a wait: CPU ticks of QEMU over 3 s.
    before, after = (
        int(ticks)
        for ticks in node.run(
            f"awk '{{print $14+$15}}' /proc/{qemu.pid}/stat; sleep 3; awk '{{print $14+$15}}' /proc/{qemu.pid}/stat"
        ).split()
    )
    assert after - before <= 15, f"QEMU used {after - before} ticks of 10 ms in 3 s while paused"
    assert b"tick" not in shell.transcript.encode()[position:]
    space.wait_vm_status("vm", "Paused")
    gate = "kubevirt.io/virtual-machine-unpaused"
    patience.eventually(
        f"the pod's condition {gate} is False", lambda: condition(space.pod(vmi), gate).get("status"),
        lambda status: status == "False",
    )  # fmt: skip
    ready = space.wait_condition("vm", "Ready", "False")
    assert condition(ready, "Ready")["reason"] == "ReadinessGatesNotReady"
    last = ticker.ticks()[-1]

    assert space.act_on_vmi("vm", "unpause").code == 200
    shell.wait_for(rf"tick-{last + 1}\r", within_s=patience.promised(20))
    space.wait_condition("vm", "Paused", "")
    space.wait_vm_status("vm", "Running")
    ticks = ticker.ticks()
    assert ticks == list(range(len(ticks))), "ticks are missing or repeated"
    assert boot_id(ticker.stop()) == same
    space.wait_reasons("vm", "VirtualMachineInstance", "Paused", "Unpaused")


@pytest.mark.demand(boots=3)
@pytest.mark.case("LIF-038")
def test_reset_is_a_hard_reboot_of_the_same_machine(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI with an emptyDisk.
    Steps: write to a tmpfs and to the disk; reset; then let the guest panic and hang, and reset again.
    Expected: 200, same VMI and pod, new boot; the tmpfs is gone, the disk is not; after the panic reset brings a shell.
    """
    manifest = build.with_disk(build.kernel_boot_vmi(cluster, "vm"), "data", {"emptyDisk": {"capacity": "64Mi"}})
    vmi, shell = space.boot(manifest)
    pod = space.pod(vmi)["metadata"]["uid"]
    first = boot_id(shell)
    shell.succeed("echo gone > /tmp/file; echo kept-on-disk | dd of=/dev/vda bs=512 conv=sync,fsync 2>/dev/null")

    since = shell.position
    answer = space.act_on_vmi("vm", "reset")
    assert answer.code == 200, answer.text
    shell.wait_for("tiny: ready", within_s=patience.boots(1), since=since)
    shell.login(within_s=patience.boots(1))
    second = boot_id(shell)
    assert second != first
    assert shell.run("test -e /tmp/file").code == 1
    assert shell.succeed("head -c 12 /dev/vda") == "kept-on-disk"
    assert space.vmi("vm")["metadata"]["uid"] == vmi["metadata"]["uid"]
    assert space.pod(vmi)["metadata"]["uid"] == pod
    space.wait_events("vm", "Reset", "VirtualMachineInstance")

    shell.send("echo 0 > /proc/sys/kernel/panic; echo c > /proc/sysrq-trigger\n")
    shell.wait_panic(within_s=patience.promised(20))
    after_panic = space.console("vm")
    space.wait_vmi("vm", lambda seen: seen["status"]["phase"] == "Running", "still runs")
    assert space.act_on_vmi("vm", "reset").code == 200
    assert boot_id(after_panic.login(within_s=patience.boots(1))) not in (first, second)
