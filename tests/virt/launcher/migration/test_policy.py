import pytest

from virt.launcher.libvirt_conn import JobProgress
from virt.launcher.migration.policy import GB, PAUSED, POST_COPY, PRE_COPY, Course, Step, verdict
from virt.rpc.messages import MigrationLimits

LIMITS = MigrationLimits(timeout_per_gib_s=100, stuck_s=50)
PAUSES = MigrationLimits(timeout_per_gib_s=100, stuck_s=50, may_pause=True)
BOTH = MigrationLimits(timeout_per_gib_s=100, stuck_s=50, may_pause=True, may_post_copy=True)


@pytest.mark.parametrize(("total", "best_at_s", "at_s", "expected"), [
    (GB // 4, 90, 99, ""),                          # less than a GB counts as one
    (GB // 4, 90, 101, "not completed after 101 s"),
    (1 << 30, 190, 199, ""),                        # a GiB is more than one, so it counts as two
    (1 << 30, 190, 201, "not completed after 201 s"),
    (3 * GB, 290, 299, ""),
    (3 * GB, 290, 301, "not completed after 301 s"),
    (3 * GB, 10, 61, "no progress for 51 s"),
    (3 * GB, 10, 60, ""),
])
def test_a_migration_is_given_up(total: int, best_at_s: float, at_s: float, expected: str) -> None:
    found = verdict(LIMITS, JobProgress(total, 1), Course(1, best_at_s), at_s)
    if expected:
        assert found.step is Step.GIVE_UP
        assert found.why.startswith("Live migration has been aborted: ")
        assert expected in found.why
    else:
        assert found.step is Step.GO_ON


@pytest.mark.parametrize(("limits", "mode", "best_at_s", "at_s", "expected"), [
    (PAUSES, PRE_COPY, 90, 99, Step.GO_ON),
    (PAUSES, PRE_COPY, 90, 101, Step.PAUSE),
    (PAUSES, PRE_COPY, 10, 101, Step.PAUSE),        # it would be given up as stuck, but there is more to be done
    (PAUSES, PRE_COPY, 10, 61, Step.GIVE_UP),
    (PAUSES, PAUSED, 190, 199, Step.GO_ON),         # the whole time once more
    (PAUSES, PAUSED, 190, 201, Step.GIVE_UP),
    (PAUSES, PAUSED, 101, 152, Step.GIVE_UP),
    (BOTH, PRE_COPY, 90, 101, Step.POST_COPY),
    (BOTH, POST_COPY, 0, 10_000, Step.GO_ON),       # there is no way back
])
def test_what_is_done_before_giving_up(
    limits: MigrationLimits, mode: str, best_at_s: float, at_s: float, expected: Step
) -> None:
    assert verdict(limits, JobProgress(GB // 4, 1), Course(1, best_at_s, mode), at_s).step is expected


def test_limits_of_zero_are_none() -> None:
    endless = MigrationLimits(may_pause=True)
    assert verdict(endless, JobProgress(GB, GB), Course(GB, 0), 1e6).step is Step.GO_ON


def test_only_a_new_minimum_is_progress() -> None:
    course = Course(mode=PAUSED)
    for at_s, remaining in enumerate((100, 80, 90, 80, 70)):
        course = course.after(JobProgress(100, remaining), float(at_s))
    assert course == Course(70, 4.0, PAUSED)
