"""When a migration is given up: limits and what was seen of it -> a reason, or none. Pure.

KubeVirt: pkg/virt-launcher/virtwrap/live-migration-source.go, the migration monitor.
"""

from dataclasses import dataclass

from virt.launcher.libvirt_conn import JobProgress
from virt.rpc.messages import MigrationLimits

GIB = 1 << 30


@dataclass(frozen=True)
class Course:
    """How far a migration has come. ``best``: the least that was ever left; ``best_at_s``: when that was, in seconds
    since the start."""

    best: int | None = None
    best_at_s: float = 0.0

    def after(self, progress: JobProgress, at_s: float) -> "Course":
        if self.best is None or progress.remaining < self.best:
            return Course(progress.remaining, at_s)
        return self


def why_given_up(limits: MigrationLimits, progress: JobProgress, course: Course, at_s: float) -> str:
    """"" to go on. ``at_s``: seconds since the start.

    >>> why_given_up(MigrationLimits(timeout_per_gib_s=150), JobProgress(2 * GIB, 5), Course(5, 0.0), 301.0)
    'Live migration is not completed after 301 s and has been aborted'
    """
    if limits.timeout_per_gib_s and at_s > limits.timeout_per_gib_s * max(progress.total / GIB, 1.0):
        return f"Live migration is not completed after {at_s:.0f} s and has been aborted"
    stuck_s = at_s - course.best_at_s
    if limits.stuck_s and stuck_s > limits.stuck_s:
        return f"Live migration is stuck: no progress for {stuck_s:.0f} s, so it has been aborted"
    return ""
