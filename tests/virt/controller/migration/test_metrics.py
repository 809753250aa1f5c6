from msgspec.structs import replace

from tests.virt.controller.migration.test_plan import MINE, migration, vmi
from virt.controller.migration.metrics import MigrationCollector, age_at, families

BEGAN, ENDED = "2026-01-01T12:00:00Z", "2026-01-01T12:00:05Z"
MOVED = replace(MINE, completed=True, start_timestamp=BEGAN, end_timestamp=ENDED)


def samples(*args: object) -> dict[str, list[tuple[dict[str, str], float]]]:
    return {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in families(*args)  # type: ignore[arg-type]
    }


def test_how_many_are_where() -> None:
    phases = ("", "Pending", "Pending", "Scheduling", "Scheduled", "Running", "Succeeded", "Failed")
    found = samples([migration(phase, uid=str(number)) for number, phase in enumerate(phases)], [])
    assert {word: found[f"kubevirt_vmi_migrations_in_{word}_phase"][0][1]
            for word in ("unset", "pending", "scheduling", "running")} == {
                "unset": 1, "pending": 2, "scheduling": 1, "running": 2}
    assert found["kubevirt_vmi_migration_succeeded"] == [({"vmi": "x", "vmim": "job-6", "namespace": "n"}, 1)]
    assert found["kubevirt_vmi_migration_failed"] == [({"vmi": "x", "vmim": "job-7", "namespace": "n"}, 1)]


def test_when_the_last_one_of_a_vmi_was() -> None:
    found = samples([migration("Succeeded")], [vmi(MOVED), vmi(replace(MINE, migration_uid="unknown")), vmi()])
    labels = {"node": "a", "namespace": "n", "name": "x", "migration_name": "job-m"}
    (start_labels, start), = found["kubevirt_vmi_migration_start_time_seconds"]
    (end_labels, end), = found["kubevirt_vmi_migration_end_time_seconds"]
    assert (start_labels, end_labels, end - start) == (labels, {**labels, "status": "Succeeded"}, 5)
    failed = samples([migration("Failed")], [vmi(replace(MOVED, failed=True))])
    assert failed["kubevirt_vmi_migration_end_time_seconds"][0][0]["status"] == "Failed"


def test_only_the_leader_tells() -> None:
    assert list(MigrationCollector([migration("Running")], [], lambda: False).collect()) == []
    assert list(MigrationCollector([migration("Running")], [], lambda: True).collect())


def test_how_long_a_phase_took_to_come() -> None:
    assert age_at(migration("Running", since=ENDED), "Running") == 35
    assert age_at(migration("Running"), "Succeeded") is None
