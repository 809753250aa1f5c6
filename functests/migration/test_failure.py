"""Migrations that end early: the guest goes on where it was, and the next one moves it."""

import functools
import signal
from collections.abc import Callable

import pytest

from functests.libs import build, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import VMI, core_path, kubevirt_path
from functests.libs.watch import Watch
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=900, nodes=2, seconds=60)]


def _held(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> tuple[Witness, moves.Home, str]:
    """A guest whose migration never ends by itself, and is in phase Running."""
    name = policy(bandwidthPerMigration=moves.HELD)
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm", memory="192Mi"))
    witness = Witness(shell)
    shell.succeed(moves.DIRTY)
    before = moves.home(space, nodes, "vm")
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    return witness, before, name


@pytest.mark.case("MIG-050")
def test_a_migration_is_aborted(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a migration that does not end by itself, running.
    Steps: delete it.
    Expected: the VMI tells of the abort and its success; the migration is gone within 30 s; the guest did not notice;
        the next migration moves it.
    """
    witness, before, name = _held(space, cluster, nodes, policy)
    space.rest.delete(kubevirt_path(moves.VMIM, space.name, "move")).ok()
    patience.eventually(
        "the migration is gone", lambda: moves.get(space, "move"), lambda found: found is None)
    assert moves.check_stayed(space, nodes, "vm", before) == "Live migration has been aborted"
    told = moves.state(space.vmi("vm"))
    assert (told["abortRequested"], told["abortStatus"]) == (True, "Succeeded"), told
    space.wait_events("move", "SuccessfulAbortMigration")
    witness.check(still_s=1)
    moves.check_moves_after_all(space, nodes, before, name, witness)


@pytest.mark.case("MIG-057")
def test_the_targets_hypervisor_dies(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a migration that does not end by itself, running.
    Steps: kill QEMU on the target's node.
    Expected: the migration fails with a reason, a warning on the VMI has it; the guest did not notice; the next
        migration moves it.
    """
    witness, before, name = _held(space, cluster, nodes, policy)
    told = moves.state(space.vmi("vm"))
    target = next(
        pod for pod in space.pods(space.vmi("vm")) if pod["metadata"]["name"] == told["targetPod"])
    node = nodes[told["targetNode"]]
    # The source has begun; its libvirt asks the target's for a QEMU a moment later.
    qemu = patience.eventually(
        "QEMU waits at the target",
        lambda: [process for process in node.processes(target["metadata"]["uid"]) if process.is_qemu],
        lambda found: len(found) == 1, within_s=patience.promised(15))[0]
    node.run(f"kill -{int(signal.SIGKILL)} {qemu.pid}")
    ended = moves.reach(space, "move", "Failed", within_s=patience.promised(60))
    reason = moves.check_stayed(space, nodes, "vm", before)
    assert ended["status"]["migrationState"]["failureReason"] == reason
    told = space.wait_events("vm", "Migrated")[-1]
    assert (told["type"], reason in told["message"]) == ("Warning", True), told
    witness.check(still_s=1)
    moves.check_moves_after_all(space, nodes, before, name, witness)


@pytest.mark.case("REC-017")
@pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)
def test_the_sources_launcher_dies_after_the_switch(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a guest, a slow policy, a watch.
    Steps: migrate; SIGKILL the source's launcher as soon as the target says that the guest is there.
    Expected: the guest goes on at the target; the migration has succeeded.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm"))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    launchers = [process.pid for process in nodes[before.node].processes(before.pod_uid)
                 if "virt.cli.launcher" in process.argv]
    assert launchers, "no launcher on the source's node"
    with Watch(space.rest, kubevirt_path(VMI, space.name)) as vmis:
        moves.migrate(space, "vm")
        vmis.wait_for(
            "the guest is there", lambda _, vmi: bool(moves.state(vmi).get("targetNodeDomainReadyTimestamp")),
            within_s=patience.boots(3))
        # It may have ended by itself in the meantime: then there was nothing left to go wrong.
        nodes[before.node].try_run(f"kill -{int(signal.SIGKILL)} {' '.join(map(str, launchers))}")
    moves.reach(space, "move", "Succeeded")
    vmi = space.vmi("vm")
    assert (vmi["status"]["phase"], vmi["metadata"]["uid"]) == ("Running", before.uid)
    after = moves.home(space, nodes, "vm")
    assert after.node != before.node
    moves.check_clean(nodes, before)
    witness.shell = space.shell("vm")
    witness.check(still_s=3)


@pytest.mark.case("MIG-056")
@pytest.mark.parametrize("victim", ["pod", "libvirt"])
@pytest.mark.demand(memory_mib=900, nodes=2, seconds=150)
@pytest.mark.timeout(360)
def test_the_target_dies_during_the_copy(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy, victim: str
) -> None:
    """
    Preconditions: a busy guest whose migration is slow and does not end by itself.
    Steps: three times: migrate; delete the target's pod without grace, or SIGKILL its libvirt, when a tenth, a half,
        nine tenths are copied.
    Expected: Failed, with a reason, and nothing is left of the target; the guest did not notice; the next one moves it.
    """
    name = policy(bandwidthPerMigration="4Mi")
    _, shell = space.boot(build.kernel_boot_vmi(cluster, "vm", memory="192Mi"))
    witness = Witness(shell)
    shell.succeed(moves.DIRTY)
    before = moves.home(space, nodes, "vm")
    for share in moves.SHARES:
        migration = moves.migrate(space, "vm", f"move-{round(share * 100)}")
        moves.copied(space, nodes, before, migration, share)
        told = moves.state(space.vmi("vm"))
        path = core_path("pods", space.name, told["targetPod"])
        uid = space.rest.get(path).ok()["metadata"]["uid"]
        node = nodes[told["targetNode"]]
        if victim == "pod":
            space.rest.delete(path, {"gracePeriodSeconds": 0}).ok()
        else:
            (daemon,) = [process.pid for process in node.processes(uid)
                         if process.argv and process.argv[0].endswith("libvirtd")]
            node.run(f"kill -{int(signal.SIGKILL)} {daemon}")
        moves.reach(space, migration, "Failed", within_s=patience.promised(60))
        assert moves.check_stayed(space, nodes, "vm", before)
        patience.eventually(
            "nothing of the target is left", functools.partial(node.processes, uid), lambda found: not found,
            within_s=patience.promised(60))
        witness.check(still_s=1)
    moves.check_moves_after_all(space, nodes, before, name, witness)
