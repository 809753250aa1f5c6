"""What is done about a migration that takes too long: limits and what was seen of it -> a step. Pure.

KubeVirt: pkg/virt-launcher/virtwrap/live-migration-source.go, the migration monitor.
"""

import enum
import math
from dataclasses import dataclass, replace
from typing import Final

from virt.launcher.libvirt_conn import JobProgress
from virt.rpc.messages import MigrationLimits

GB: Final = 10**9               # as KubeVirt counts, whatever the setting's name says
PRE_COPY, PAUSED, POST_COPY = "PreCopy", "Paused", "PostCopy"
ABORTED: Final = "Live migration has been aborted"
FIRST_DOWNTIME_MS: Final = 50


class Step(enum.Enum):
    GO_ON = "go on"
    PAUSE = "pause"             # a guest that stands still has an end
    POST_COPY = "post-copy"     # the guest goes on at the target, and fetches from there what is missing
    GIVE_UP = "give up"


@dataclass(frozen=True)
class Course:
    """How far a migration has come. ``best``: the least that was ever left; ``best_at_s``: when that was, in seconds
    since the start."""

    best: int | None = None
    best_at_s: float = 0.0
    mode: str = PRE_COPY

    def after(self, progress: JobProgress, at_s: float) -> "Course":
        if self.best is None or progress.remaining < self.best:
            return replace(self, best=progress.remaining, best_at_s=at_s)
        return self


@dataclass(frozen=True)
class Verdict:
    step: Step = Step.GO_ON
    why: str = ""


def verdict(limits: MigrationLimits, progress: JobProgress, course: Course, at_s: float) -> Verdict:
    """``at_s``: seconds since the start. The guest gets the whole time once more when it was paused in between.

    >>> verdict(MigrationLimits(timeout_per_gib_s=150), JobProgress(2 * GB, 5), Course(5, 0.0), 301.0).why
    'Live migration has been aborted: it is not completed after 301 s'
    """
    if course.mode == POST_COPY:
        return Verdict()                # the guest is there already; there is no way back
    limit_s = limits.timeout_per_gib_s * max(math.ceil(progress.total / GB), 1)
    is_late = bool(limits.timeout_per_gib_s) and at_s > limit_s
    if is_late and course.mode == PRE_COPY and (limits.may_pause or limits.may_post_copy):
        return Verdict(Step.POST_COPY if limits.may_post_copy else Step.PAUSE)
    stuck_s = at_s - course.best_at_s
    if limits.stuck_s and stuck_s > limits.stuck_s:
        return Verdict(Step.GIVE_UP, f"{ABORTED}: no progress for {stuck_s:.0f} s")
    if is_late and (course.mode == PRE_COPY or at_s > 2 * limit_s):
        return Verdict(Step.GIVE_UP, f"{ABORTED}: it is not completed after {at_s:.0f} s")
    return Verdict()


def downtime_ms(limits: MigrationLimits, passes: int) -> int:
    """How long the guest may stand still at the end, 0 for QEMU's own default. ``passes``: over its memory so far.

    QEMU switches over as soon as what is left fits into this time, so every guest pays what it is given. It begins
    with little, which an idle guest never exceeds; one that writes too fast for it is given more, up to the limit.

    >>> [downtime_ms(MigrationLimits(max_downtime_ms=900), passes) for passes in (0, 1, 2, 3, 8)]
    [50, 50, 100, 200, 900]
    """
    return min(limits.max_downtime_ms, FIRST_DOWNTIME_MS << min(max(passes - 1, 0), 30))
