"""Migrations that end early: the guest goes on where it was, and the next one moves it."""

import signal
from collections.abc import Callable

import pytest

from functests.libs import build, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.rest import kubevirt_path
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
    assert "SuccessfulAbortMigration" in space.reasons("move")
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
    warnings = [event for event in space.events("vm") if event["reason"] == "Migrated" and event["type"] == "Warning"]
    assert warnings, space.reasons("vm")
    assert reason in warnings[-1]["message"]
    witness.check(still_s=1)
    moves.check_moves_after_all(space, nodes, before, name, witness)
