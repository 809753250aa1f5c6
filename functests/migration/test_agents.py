"""Guests whose agent is asked: by the handler, by a probe of the kubelet, for the guest's clock."""

import math
import time

import pytest

from functests.libs import build, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, subresource_path
from functests.libs.witness import Witness

pytestmark = [
    pytest.mark.needs("two-nodes", "agent"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)]
LATE_S = 3600
PERIOD_S, FAILURES, DELAY_S = 2, 2, 10       # the last: what launchers have before the first probe, on top of the VMI's


@pytest.mark.case("MIG-007")
def test_an_agent_answers_and_the_clock_is_right(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a guest whose agent is connected and whose clock is an hour late.
    Steps: migrate.
    Expected: the agent is connected again within 30 s; the guest's date is that of its node within 240 s, give or take
        3 s; guestosinfo answers with the same name.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    # The agent calls it by this path; this guest keeps it elsewhere.
    shell.succeed("ln -s ../bin/hwclock /usr/sbin/hwclock && hwclock -s")
    space.wait_condition("vm", "AgentConnected", "True", within_s=patience.promised(30))
    path = subresource_path(VMI, space.name, "vm", "guestosinfo")
    # Its own name first, then the one that came with its address.
    patience.eventually(
        "the agent tells the guest's name", lambda: space.rest.get(path),
        lambda answer: answer.code == 200 and answer.body.get("hostname") == "vm")
    shell.succeed(f"date -s @$(($(date +%s)-{LATE_S}))")
    before = moves.home(space, nodes, "vm")
    assert int(shell.succeed("date +%s")) < float(nodes[before.node].run("date +%s")) - LATE_S + 60
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    space.wait_condition("vm", "AgentConnected", "True", within_s=patience.promised(30))
    shell, node = space.shell("vm"), nodes[after.node]

    def difference_s() -> float:
        """Of the guest's clock, without what asking it took."""
        earlier = float(node.run("date +%s.%N"))
        guest = float(shell.succeed("date +%s"))
        later = float(node.run("date +%s.%N"))
        return max(earlier - 1 - guest, guest - later, 0)

    patience.eventually(
        "the guest's date is right", difference_s, lambda seconds: seconds <= 3,
        within_s=patience.promised(240), every_s=1)
    told = patience.eventually(
        "the agent tells the guest's name", lambda: space.rest.get(path), lambda answer: answer.code == 200)
    assert told.body["hostname"] == "vm"


@pytest.mark.case("MIG-041")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=90)
def test_a_target_is_not_killed_for_a_guest_that_is_not_there_yet(
    space: Space, cluster: Cluster, nodes: Nodes
) -> None:
    """
    Preconditions: a guest with a livenessProbe that pings its agent, every 2 s, two failures; a target that is held
        before it is ready.
    Steps: migrate; let the target wait for longer than the probe allows; let it go on.
    Expected: the target's launcher lives all the time; the guest has moved, and no container was restarted.
    """
    delay = math.ceil(3 * patience.boot_s())
    probe = {"guestAgentPing": {}, "periodSeconds": PERIOD_S, "failureThreshold": FAILURES, "timeoutSeconds": 10,
             "initialDelaySeconds": delay}
    _, shell = space.boot(build.merged(build.kernel_boot_vmi(cluster, "vm"), build.spec_patch(livenessProbe=probe)))
    space.wait_condition("vm", "AgentConnected", "True", within_s=patience.promised(30))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    moves.annotate(space, "vm", moves.BLOCK, "")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "PreparingTarget")
    name = moves.state(space.vmi("vm"))["targetPod"]
    # Its containers run by now: that is what came before.
    began = time.monotonic()
    patience.quiet(
        "the target's pod has changed", lambda: _lives(space, name), lambda lives: not lives,
        for_s=delay + DELAY_S + 4 * PERIOD_S * FAILURES)
    assert moves.phase(moves.get(space, "move")) == "PreparingTarget", f"over after {time.monotonic() - began:.0f} s"
    moves.annotate(space, "vm", moves.BLOCK, None)
    moves.reach(space, "move", "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, "move")
    for pod in (before.pod, after.pod):
        found = space.rest.get(core_path("pods", space.name, pod)).ok()
        assert {entry["restartCount"] for entry in found["status"]["containerStatuses"]} == {0}, found["status"]
    assert "Unhealthy" not in space.reasons(after.pod), [event["message"] for event in space.events(after.pod)]
    witness.shell = space.shell("vm")
    witness.check(still_s=2)


def _lives(space: Space, name: str) -> bool:
    """The launcher of the pod runs, and is the first one."""
    pod = space.rest.get(core_path("pods", space.name, name)).ok()
    return all("running" in entry["state"] and entry["restartCount"] == 0
               for entry in pod["status"]["containerStatuses"] if entry["name"] == "compute")
