"""What migrations look like to Prometheus."""

import re
from collections.abc import Callable

import pytest

from functests.libs import build, moves, patience
from functests.libs.cluster import Cluster
from functests.libs.kube import Space
from functests.libs.nodes import Nodes
from functests.libs.stack import CONTROLLER, HANDLER, Stack

Policy = Callable[..., str]

pytestmark = [pytest.mark.needs("two-nodes"), pytest.mark.demand(memory_mib=500, nodes=2, seconds=30)]


def _scraped(stack: Stack, nodes: Nodes, component: str, *, node: str = "") -> dict[str, float]:
    """Samples of all pods of a component, by name and labels as they are written; equal ones are added up."""
    found: dict[str, float] = {}
    for pod in stack.pods(component, node=node):
        where = nodes[pod["spec"]["nodeName"]]
        for line in where.run(f"curl -sk --max-time 10 https://{pod['status']['podIP']}:8443/metrics").splitlines():
            name, _, value = line.rpartition(" ")
            if name and not line.startswith("#"):
                found[name] = found.get(name, 0.0) + float(value)
    return found


def _of(samples: dict[str, float], metric: str, /, **labels: str) -> list[float]:
    """Values of the samples of this metric that have at least these labels."""
    return [
        value for key, value in samples.items()
        if key.partition("{")[0] == metric
        and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', key)).items()
    ]


@pytest.mark.case("MET-012")
def test_a_migration_is_counted(space: Space, cluster: Cluster, nodes: Nodes, policy: Policy) -> None:
    """
    Preconditions: a guest, a slow policy.
    Steps: migrate; scrape the source's handler and the controllers on the way; scrape the controllers afterwards.
    Expected: bytes that are left and that were sent, of this VMI; one is running; then it is told as succeeded, with
        its times, and its phases were counted.
    """
    policy(bandwidthPerMigration=moves.SLOW)
    space.boot(build.kernel_boot_vmi(cluster, "vm"))
    before = moves.home(space, nodes, "vm")
    stack = Stack(space.rest, nodes, cluster)
    times = "kubevirt_vmi_migration_phase_transition_time_from_creation_seconds_count"
    counted = sum(_of(_scraped(stack, nodes, CONTROLLER), times, phase="Succeeded"))
    moves.migrate(space, "vm")
    moves.reach(space, "move", "Running")
    mine = {"namespace": space.name, "name": "vm", "node": before.node}

    def progress() -> dict[str, float]:
        seen = _scraped(stack, nodes, HANDLER, node=before.node)
        names = ("data_bytes_total", "data_processed_bytes", "data_remaining_bytes", "memory_transfer_rate_bytes")
        return {name: value for name in names for value in _of(seen, f"kubevirt_vmi_migration_{name}", **mine)}

    told = patience.eventually(
        "the source's handler tells of it", progress,
        lambda seen: len(seen) == 4 and seen["data_processed_bytes"] > 0,
        stop=lambda _: moves.phase(moves.get(space, "move")) in moves.FINAL, within_s=patience.promised(20))
    assert told["data_bytes_total"] >= 128 << 20, told
    assert sum(_of(_scraped(stack, nodes, CONTROLLER), "kubevirt_vmi_migrations_in_running_phase")) >= 1
    moves.reach(space, "move", "Succeeded")
    moves.check_moved(space, nodes, "vm", before, "move")
    after = patience.eventually(
        "the controller tells of it", lambda: _scraped(stack, nodes, CONTROLLER),
        lambda seen: _of(seen, "kubevirt_vmi_migration_succeeded", vmi="vm", vmim="move", namespace=space.name) == [1],
        within_s=patience.promised(20))
    assert _of(after, "kubevirt_vmi_migration_failed", namespace=space.name) == []
    about = {"namespace": space.name, "name": "vm", "migration_name": "move"}
    (start,) = _of(after, "kubevirt_vmi_migration_start_time_seconds", **about)
    (end,) = _of(after, "kubevirt_vmi_migration_end_time_seconds", status="Succeeded", **about)
    assert 0 <= end - start < 600, (start, end)
    assert sum(_of(after, times, phase="Succeeded")) >= counted + 1
    assert progress() == {}, "the source still tells of a guest that has gone"
