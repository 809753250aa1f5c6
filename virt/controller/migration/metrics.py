"""What migrations look like to Prometheus. The values are made from the caches at each scrape, so nothing is kept.

KubeVirt: pkg/monitoring/metrics/virt-controller. Only the leader tells: the other replica has the same caches.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import Histogram, Metric
from prometheus_client.registry import Collector

from virt.api import phases, v1
from virt.base.clock import parse_time
from virt.controller.migration.plan import FAILED, FINAL, PENDING, SCHEDULING, SUCCEEDED

_BUCKETS: Final = (0.5, 1, 2, 3, 4, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200)
_GROUPS: Final = {"": "unset", PENDING: "pending", SCHEDULING: "scheduling"}

Migration = v1.VirtualMachineInstanceMigration


def phase_times() -> Histogram:
    """Make it once in a process: the library keeps it by its name."""
    return Histogram(
        "kubevirt_vmi_migration_phase_transition_time_from_creation_seconds",
        "From the creation of a migration until it enters a phase.", ("phase",), buckets=_BUCKETS)


def age_at(migration: Migration, phase: str) -> float | None:
    """Seconds from the creation until ``phase``; None when it did not get there."""
    created = migration.metadata.creation_timestamp
    entered = phases.entered_at(migration.status.phase_transition_timestamps, phase)
    return (parse_time(entered) - parse_time(created)).total_seconds() if created and entered else None


def families(
    migrations: Iterable[Migration], vmis: Iterable[v1.VirtualMachineInstance]
) -> Iterator[Metric]:
    known = tuple(migrations)
    counts = Counter(_GROUPS.get(each.status.phase, "running") for each in known if each.status.phase not in FINAL)
    for group in ("pending", "scheduling", "running", "unset"):
        name = f"kubevirt_vmi_migrations_in_{group}_phase"
        family = Metric(name, f"Migrations that are {group}.", "gauge")
        family.add_sample(name, {}, counts[group])
        yield family
    for phase, word in ((SUCCEEDED, "succeeded"), (FAILED, "failed")):
        name = f"kubevirt_vmi_migration_{word}"
        family = Metric(name, f"Migrations that have {word}.", "gauge")
        for each in known:
            if each.status.phase == phase:
                meta = each.metadata
                family.add_sample(
                    name, {"vmi": each.spec.vmi_name, "vmim": meta.name, "namespace": meta.namespace or ""}, 1)
        yield family
    yield from _times(tuple(vmis), {each.metadata.uid: each.metadata.name for each in known})


def _times(vmis: Iterable[v1.VirtualMachineInstance], names: dict[str, str]) -> Iterator[Metric]:
    """Start and end of each VMI's last migration."""
    start, end = (
        Metric(f"kubevirt_vmi_migration_{word}_time_seconds", f"When the last migration of a VMI {what}.", "gauge")
        for word, what in (("start", "began"), ("end", "ended")))
    for vmi in vmis:
        state = vmi.status.migration_state
        if state is None or state.migration_uid not in names:
            continue
        labels = {
            "node": vmi.status.node_name, "namespace": vmi.metadata.namespace or "", "name": vmi.metadata.name,
            "migration_name": names[state.migration_uid],
        }
        if state.start_timestamp:
            start.add_sample(start.name, labels, parse_time(state.start_timestamp).timestamp())
        if state.end_timestamp:
            ended = {**labels, "status": FAILED if state.failed else SUCCEEDED}
            end.add_sample(end.name, ended, parse_time(state.end_timestamp).timestamp())
    yield start
    yield end


class MigrationCollector(Collector):
    """For a registry of prometheus_client."""

    def __init__(
        self, migrations: Iterable[Migration], vmis: Iterable[v1.VirtualMachineInstance], is_leading: Callable[[], bool]
    ) -> None:
        self._migrations = migrations
        self._vmis = vmis
        self._is_leading = is_leading

    def collect(self) -> Iterator[Metric]:
        if self._is_leading():
            yield from families(self._migrations, self._vmis)
