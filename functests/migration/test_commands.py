"""A person at the command line moves a guest, watches it by kubectl, and thinks better of it."""

import re
from collections.abc import Callable, Sequence

import pytest

from cluster_up.exec import Result
from functests.libs import build, commands, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.witness import Witness

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=45)]


@pytest.mark.case("CLI-015")
def test_a_person_moves_a_guest_and_thinks_better_of_it(
    space: Space, cluster: Cluster, nodes: Nodes, policy: Policy
) -> None:
    """
    Preconditions: a VM with a witness; a policy by which a migration lasts.
    Steps: migrate-cancel; migrate, and look with kubectl get; migrate-cancel; migrate without the policy, and look with
        kubectl describe.
    Expected: first there is nothing to cancel; columns tell what moves and how far it is; the migration is gone, its
        guest stayed and did not notice; then it moves, and each step of migration and VMI is told.
    """
    def virtctl(*words: str) -> Result:
        return commands.virtctl(cluster, *words, "-n", space.name)

    def says(verb: str) -> None:
        done = virtctl(verb, "vm")
        assert (done.code, done.stdout.strip()) == (0, f"VM vm was scheduled to {verb}"), done

    def kubectl(*words: str) -> str:
        return commands.kubectl(cluster, *words, "-n", space.name).stdout

    def made() -> str:
        """Name of the one migration that there is."""
        (found,) = moves.migrations(space)
        return str(found["metadata"]["name"])

    def story(kind: str, about: str, steps: Sequence[str]) -> str:
        """What kubectl tells of it, once its events have all the steps."""
        return patience.eventually(
            f"{kind} {about} tells each step", lambda: kubectl("describe", kind, about),
            lambda text: all(step in text.partition("Events:")[2] for step in steps))

    name = policy(bandwidthPerMigration=moves.HELD)
    _, shell = space.boot(build.vm_of(build.kernel_boot_vmi(cluster, "vm")))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    refused = virtctl("migrate-cancel", "vm")
    assert (refused.code, refused.stdout) == (1, ""), refused
    assert "Found no migration to cancel for vm" in refused.stderr, refused.stderr

    says("migrate")
    move = made()
    moves.reach(space, move, "Running")
    header, row = kubectl("get", "vmim").splitlines()
    assert (header.split(), row.split()) == (["NAME", "PHASE", "VMI"], [move, "Running", "vm"])
    says("migrate-cancel")
    patience.eventually("the migration is gone", lambda: moves.get(space, move), lambda found: found is None)
    assert moves.check_stayed(space, nodes, "vm", before) == "Live migration has been aborted"
    witness.check(still_s=1)

    space.rest.delete(f"{moves.POLICIES}/{name}").ok()
    says("migrate")
    move = made()
    moves.reach(space, move, "Succeeded")
    after = moves.check_moved(space, nodes, "vm", before, move)
    for told in (
        story("vmim", move, ("SuccessfulCreate", "SuccessfulHandOver", "SuccessfulMigration")),
        story("vmi", "vm", ("PreparingTarget", "Migrating", f"migrated to node {after.node}")),
    ):
        assert re.search(rf"Target Node:\s+{re.escape(after.node)}\n", told), told
        assert re.search(r"Completed:\s+true\n", told), told
    witness.shell = space.shell("vm")
    witness.check(still_s=2)
