import pytest

from virt.launcher.libvirt_conn import JobProgress
from virt.launcher.migration.policy import GIB, Course, why_given_up
from virt.rpc.messages import MigrationLimits

LIMITS = MigrationLimits(timeout_per_gib_s=100, stuck_s=50)


@pytest.mark.parametrize(("total", "best_at_s", "at_s", "expected"), [
    (GIB // 4, 90, 99, ""),                         # less than a GiB counts as one
    (GIB // 4, 90, 101, "not completed after 101 s"),
    (3 * GIB, 290, 299, ""),
    (3 * GIB, 290, 301, "not completed after 301 s"),
    (3 * GIB, 10, 61, "no progress for 51 s"),
    (3 * GIB, 10, 60, ""),
])
def test_a_migration_is_given_up(total: int, best_at_s: float, at_s: float, expected: str) -> None:
    why = why_given_up(LIMITS, JobProgress(total, 1), Course(1, best_at_s), at_s)
    assert (expected in why) if expected else why == ""


def test_limits_of_zero_are_none() -> None:
    assert why_given_up(MigrationLimits(), JobProgress(GIB, GIB), Course(GIB, 0), 1e6) == ""


def test_only_a_new_minimum_is_progress() -> None:
    course = Course()
    for at_s, remaining in enumerate((100, 80, 90, 80, 70)):
        course = course.after(JobProgress(100, remaining), float(at_s))
    assert course == Course(70, 4.0)
