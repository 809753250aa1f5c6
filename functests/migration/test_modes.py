"""Guests that do not converge by themselves: limits, and what is done before a migration is given up."""

from collections.abc import Callable
from typing import Any

import pytest

from functests.libs import build, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Object, Space, condition
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, kubevirt_path
from functests.libs.watch import Watch
from functests.libs.witness import Witness

Policy = Callable[..., str]
PAUSED_BY_MONITOR = "PausedByMigrationMonitor"

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=900, nodes=2, seconds=60)]


def _busy(space: Space, cluster: Cluster) -> Witness:
    """A guest that dirties its memory faster than a slow migration sends it."""
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm", memory="192Mi"))
    witness = Witness(shell)
    shell.succeed(moves.DIRTY)
    return witness


def _took_s(told: Object) -> float:
    return moves.seconds_between(told["startTimestamp"], told["endTimestamp"])


def _modes(vmis: list[Object]) -> list[str]:
    """Each once, in order."""
    return list(dict.fromkeys(mode for vmi in vmis if (mode := moves.state(vmi).get("mode"))))


@pytest.mark.case("MIG-034")
def test_one_that_takes_too_long_is_aborted(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a busy guest; a policy with little bandwidth and 10 s for each GB, nothing more allowed.
    Steps: migrate.
    Expected: aborted between 10 and 30 s after the start, in mode PreCopy; the guest did not notice.
    """
    policy(bandwidthPerMigration=moves.HELD, completionTimeoutPerGiB=10)
    witness = _busy(space, cluster)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Failed")
    reason = moves.check_stayed(space, nodes, "vm", before)
    told = moves.state(space.vmi("vm"))
    assert reason.startswith("Live migration has been aborted"), reason
    assert (told["abortStatus"], told["mode"]) == ("Succeeded", "PreCopy"), told
    assert 10 <= _took_s(told) <= 30, told
    witness.check(still_s=1)


@pytest.mark.case("MIG-036")
def test_a_guest_is_paused_so_that_it_can_leave(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a busy guest; a slow policy with 20 s for each GB that allows disruption.
    Steps: migrate; look at the VMI all the time.
    Expected: mode PreCopy, then Paused, and the condition says who paused it; it moved, runs and misses nothing.
    """
    policy(bandwidthPerMigration=moves.SLOW, completionTimeoutPerGiB=20, allowWorkloadDisruption=True)
    witness = _busy(space, cluster)
    before = moves.home(space, nodes, "vm")
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        moves.migrate(space, "vm")
        moves.reach(space, "move", "Succeeded", within_s=patience.boots(4))
        moves.check_moved(space, nodes, "vm", before, "move")
        space.wait_condition("vm", "Paused", "", within_s=patience.promised(10))
        history = [vmi for _, vmi in watch.seen("vm")]
    assert _modes(history) == ["PreCopy", "Paused"]
    reasons = {reason for vmi in history if (reason := condition(vmi, "Paused").get("reason"))}
    assert reasons == {PAUSED_BY_MONITOR}
    told = moves.state(space.vmi("vm"))
    assert told["migrationConfiguration"]["allowWorkloadDisruption"] is True
    witness.shell = space.shell("vm")
    witness.check(still_s=3)


@pytest.mark.case("MIG-037")
def test_a_guest_that_was_paused_in_vain_goes_on(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a busy guest; so little bandwidth that it cannot leave in 20 s even when it stands still.
    Steps: migrate.
    Expected: paused after 10 s, given up after 20; the guest runs on where it was, and no condition says otherwise.
    """
    policy(bandwidthPerMigration=moves.HELD, completionTimeoutPerGiB=10, allowWorkloadDisruption=True)
    witness = _busy(space, cluster)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    space.wait_vmi("vm", lambda vmi: condition(vmi, "Paused").get("reason") == PAUSED_BY_MONITOR, "is paused")
    refused = space.act_on_vmi("vm", "unpause")
    assert (refused.code, "migration" in refused.message) == (409, True), refused.text
    moves.reach(space, "move", "Failed")
    reason = moves.check_stayed(space, nodes, "vm", before)
    assert "not completed" in reason, reason
    told = moves.state(space.vmi("vm"))
    assert (told["abortStatus"], told["mode"]) == ("Succeeded", "Paused"), told
    assert 20 <= _took_s(told) <= 50, told
    space.wait_condition("vm", "Paused", "", within_s=patience.promised(10))
    witness.check(still_s=3)


@pytest.mark.case("MIG-055")
def test_a_guest_that_is_paused_on_the_way_stays_so(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a busy guest, a slow policy.
    Steps: migrate; pause the guest when its migration runs; unpause it when it has moved.
    Expected: the migration ends now; the guest is paused by its user on the other node, then goes on.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    witness = _busy(space, cluster)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    assert space.act_on_vmi("vm", "pause").code == 200
    moves.reach(space, "move", "Succeeded", within_s=patience.boots(4))
    moves.check_moved(space, nodes, "vm", before, "move")
    patience.quiet(
        "the guest is not paused", lambda: condition(space.vmi("vm"), "Paused"),
        lambda found: found.get("reason") != "PausedByUser", for_s=5)
    assert space.act_on_vmi("vm", "unpause").code == 200
    space.wait_condition("vm", "Paused", "")
    witness.shell = space.shell("vm")
    witness.check(still_s=3)


@pytest.mark.needs("two-nodes", "post-copy")
@pytest.mark.case("MIG-038")
def test_a_guest_goes_on_while_its_memory_follows(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a busy guest; a slow policy with 5 s for each GB that allows post-copy.
    Steps: migrate.
    Expected: mode PreCopy, then PostCopy; it moved; its memory is whole and it missed nothing.
    """
    policy(bandwidthPerMigration=moves.SLOW, completionTimeoutPerGiB=5, allowPostCopy=True)
    witness = _busy(space, cluster)
    before = moves.home(space, nodes, "vm")
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as watch:
        moves.migrate(space, "vm")
        moves.reach(space, "move", "Succeeded", within_s=patience.boots(4))
        moves.check_moved(space, nodes, "vm", before, "move")
        modes = _modes([vmi for _, vmi in watch.seen("vm")])
    assert modes == ["PreCopy", "PostCopy"]
    witness.shell = space.shell("vm")
    witness.check(still_s=4)


@pytest.mark.case("MIG-033")
@pytest.mark.demand(memory_mib=900, nodes=2, seconds=90)
def test_a_guest_is_slowed_down_until_it_converges(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a busy guest; a slow policy that allows auto-converge.
    Steps: migrate.
    Expected: it moved in mode PreCopy, within the time that it has; nothing of it is lost.
    """
    policy(bandwidthPerMigration=moves.SLOW, allowAutoConverge=True)
    witness = _busy(space, cluster)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded", within_s=patience.promised(150))
    moves.check_moved(space, nodes, "vm", before, "move")
    told = moves.state(space.vmi("vm"))
    assert (told["mode"], told["migrationConfiguration"]["allowAutoConverge"]) == ("PreCopy", True), told
    witness.shell = space.shell("vm")
    witness.check(still_s=5)


@pytest.mark.case("MIG-031")
def test_bandwidth_is_kept(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: an idle guest.
    Steps: migrate it with 4 MiB/s, back with 64 MiB/s.
    Expected: the first takes more than twice as long, and no less than its memory in use takes at that rate.
    """
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm", memory="192Mi"))
    # At least this much cannot be sent as zeros, and is not changed any more.
    shell.succeed("head -c 33554432 /dev/urandom > /run/blob")
    took: dict[str, float] = {}
    for rate in ("4Mi", "64Mi"):
        name = policy(bandwidthPerMigration=rate)
        before = moves.home(space, nodes, "vm")
        moves.migrate(space, "vm", f"move-{rate.lower()}")
        moves.reach(space, f"move-{rate.lower()}", "Succeeded", within_s=patience.boots(4))
        moves.check_moved(space, nodes, "vm", before, f"move-{rate.lower()}")
        told: Any = moves.state(space.vmi("vm"))
        assert told["migrationConfiguration"]["bandwidthPerMigration"] == rate
        took[rate] = _took_s(told)
        space.rest.delete(f"{moves.POLICIES}/{name}").ok()
    assert took["4Mi"] > 2 * took["64Mi"], took
    assert took["4Mi"] >= 8 / 1.3, took
