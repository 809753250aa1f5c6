"""Reboots that the guest carries out itself: by its agent, by ACPI, by its own command."""

import pytest

from functests.libs import build, patience
from functests.libs.cluster import Cluster
from functests.libs.guest import boot_id
from functests.libs.kube import Space
from functests.libs.rest import VMI, kubevirt_path
from functests.libs.watch import Watch

# What the guest agent calls, with a word on the console before it does as tiny's own script does.
_SAYS = "printf '#!/bin/sh\\necho the-agent-reboots > /dev/console\\nreboot -f\\n' > /usr/sbin/shutdown"


@pytest.mark.demand(boots=4)
@pytest.mark.case("LIF-039")
def test_a_soft_reboot_is_the_guests_own(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VMI whose guest runs the agent and answers the power button.
    Steps: soft reboot; stop the agent and soft reboot; reboot inside the guest.
    Expected: each time another boot of the same VMI and pod, no phase but Running; the guest's own shutdown on the
        console, by the agent, by the power button, by its command; an event SoftRebooted for each of the first two.
    """
    vmi, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    pod = space.pod(vmi)["metadata"]["uid"]
    boots = [boot_id(shell)]

    def rebooted(since: int, words: str) -> None:
        shell.wait_for(words, within_s=patience.promised(20), since=since)
        shell.wait_for("tiny: ready", within_s=patience.boots(1), since=since)
        boots.append(boot_id(shell.login(within_s=patience.boots(1))))

    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        space.wait_condition("vm", "AgentConnected", "True")
        shell.succeed(_SAYS)
        since = shell.position
        assert space.act_on_vmi("vm", "softreboot").code == 200
        rebooted(since, "the-agent-reboots")

        space.wait_condition("vm", "AgentConnected", "True")
        shell.succeed("agent stop")
        space.wait_condition("vm", "AgentConnected", "")
        since = shell.position
        assert space.act_on_vmi("vm", "softreboot").code == 200
        rebooted(since, "power button, shutting down")

        shell.succeed("cat /proc/uptime")
        since = shell.position
        shell.send("echo by-comm''and; reboot -f\n")
        rebooted(since, "by-command")
        seen = {(obj["metadata"]["uid"], obj["status"].get("phase")) for _, obj in watch.seen("vm")}
    assert len(set(boots)) == 4, boots
    assert seen == {(vmi["metadata"]["uid"], "Running")}, seen
    assert space.pod(vmi)["metadata"]["uid"] == pod
    patience.eventually(
        "both are told", lambda: [event.get("count") or 1 for event in space.events("vm", "VirtualMachineInstance")
                                  if event["reason"] == "SoftRebooted"], lambda counts: sum(counts) == 2)
