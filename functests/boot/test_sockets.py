"""A running guest gets more processors, and what is refused."""

import pytest

from functests.libs import build, growth, moves, patience, refusal, settings
from functests.libs.cluster import Cluster
from functests.libs.guest import boot_id
from functests.libs.kube import Space, condition
from functests.libs.nodes import Nodes
from functests.libs.witness import Witness


def _sockets(count: int, **more: int) -> dict[str, object]:
    return {"cpu": {"sockets": count, **more}}


def _machine(cluster: Cluster, name: str, count: int, **more: int) -> build.Manifest:
    domain = build.domain_patch(**_sockets(count, **more))
    return build.vm_of(build.merged(build.kernel_boot_vmi(cluster, name), domain))


@pytest.mark.needs("two-nodes")
@pytest.mark.demand(vcpus=2, memory_mib=500, nodes=2, seconds=60)
@pytest.mark.timeout(400)
@pytest.mark.case("BOOT-043")
@pytest.mark.case("MIG-062")
def test_a_guest_gets_a_second_processor_and_keeps_it(space: Space, cluster: Cluster, nodes: Nodes) -> None:
    """
    Preconditions: a running VM with one socket.
    Steps: raise the sockets of its template to 2; bring the new processor online in the guest, count on both; migrate
        the VMI by hand.
    Expected: HotVCPUChange, then one migration of its own accord, which moves the guest; it goes on, has two
        processors, and both count; currentCPUTopology says 2, the pod asks for 100m more; the condition goes and no
        restart is asked for. After the second move two processors still, and the same request.
    """
    vmi, shell = space.boot(_machine(cluster, "vm", 1))
    assert (vmi["spec"]["domain"]["cpu"]["maxSockets"], growth.processors(shell)) == (4, (1, 1))
    witness = Witness(shell)
    before = moves.home(space, nodes, "vm")
    asked = growth.requests(space, before.pod)
    after = growth.grow(space, nodes, before, _sockets(2), growth.CPUS)
    topology = space.vmi("vm")["status"]["currentCPUTopology"]
    assert topology == {"sockets": 2, "cores": 1, "threads": 1}
    assert growth.requests(space, after.pod)["cpu"] == asked["cpu"] + 100
    witness.shell = shell = space.shell("vm")
    patience.eventually(
        "the guest has been given a processor", lambda: growth.processors(shell)[0], lambda seen: seen == 2)
    growth.bring_online(shell)
    assert growth.processors(shell) == (2, 2)
    ticks = growth.busy_ticks(shell, 2)
    assert len(ticks) == 2, ticks
    assert min(ticks) > 0, f"ticks of work by processor: {ticks}"
    witness.check(still_s=3)

    moves.migrate(space, "vm")
    moves.reach(space, "move", "Succeeded")
    last = moves.check_moved(space, nodes, "vm", after, "move")
    witness.shell = shell = space.shell("vm")
    assert growth.processors(shell) == (2, 2)
    assert growth.requests(space, last.pod) == growth.requests(space, after.pod)
    assert condition(space.vmi("vm"), growth.CPUS) == {}
    witness.check(still_s=3)


@pytest.mark.demand(vcpus=2, memory_mib=500, boots=1, seconds=35)
@pytest.mark.case("BOOT-044")
def test_sockets_beyond_what_can_be_plugged(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM with two sockets; a halted one with a ceiling of 2 sockets.
    Steps: ask the first for 9 sockets; for 2 again; for 1; ask the second for 3.
    Expected: RestartRequired each time with another message, and not with 2; no migration, the guest has two processors
        all the while; the second is refused at domain.cpu.sockets.
    """
    _, shell = space.boot(_machine(cluster, "vm", 2))
    boot = boot_id(shell)
    more = growth.refused(space, _sockets(9))
    growth.taken_back(space, _sockets(2))
    fewer = growth.refused(space, _sockets(1))
    assert (more, fewer) == (
        "CPU sockets updated in template spec to a value higher than what's available",
        "Reduction of CPU socket count requires a restart")
    patience.quiet("a migration for what cannot be", lambda: growth.migrations(space), bool, for_s=5)
    assert (growth.processors(shell), boot_id(shell)) == ((2, 2), boot)
    capped = _machine(cluster, "capped", 2, maxSockets=2)
    capped["spec"]["runStrategy"] = "Halted"
    space.create(capped)
    answer = space.patch_vm("capped", {"spec": {"template": {"spec": {"domain": _sockets(3)}}}})
    assert refusal.misfit(answer, "spec.template.spec.domain.cpu.sockets") == ""


@pytest.mark.serial
@pytest.mark.demand(vcpus=2, memory_mib=500, boots=2, seconds=70)
@pytest.mark.case("BOOT-045")
def test_staged_changes_wait_for_a_restart(space: Space, cluster: Cluster) -> None:
    """
    Preconditions: a running VM with one socket; the roll-out strategy of VMs is Stage.
    Steps: raise its sockets to 2; restart it.
    Expected: RestartRequired; no HotVCPUChange and no migration in 15 s, the guest has one processor; after the restart
        it has two and no restart is asked for.
    """
    vmi, shell = space.boot(_machine(cluster, "vm", 1))
    with settings.changed(space.rest, {"configuration": {"vmRolloutStrategy": "Stage"}}):
        patience.eventually(
            "ceilings are not worked out any more",
            lambda: space.try_create(
                build.kernel_boot_vmi(cluster, "other"), dry_run=True).ok()["spec"]["domain"]["cpu"],
            lambda cpu: "maxSockets" not in cpu)
        assert growth.refused(space, _sockets(2))
        patience.quiet(
            "the change is made all the same",
            lambda: (growth.names(growth.migrations(space)), condition(space.vmi("vm"), growth.CPUS)),
            lambda seen: seen != ([], {}), for_s=15)
        assert growth.processors(shell) == (1, 1)
        assert space.act_on_vm("vm", "restart").code == 202
        space.wait_running("vm", not_uid=vmi["metadata"]["uid"], within_s=patience.boots(2))
        assert growth.processors(space.shell("vm")) == (2, 2)
        space.wait_vm("vm", lambda vm: condition(vm, "RestartRequired") == {}, "needs no restart any more")
