"""Which waiting jobs start now: decisions only; no clock, no processes, no xdist.

Jobs wait in one line: ordinary ones first, the longest in front; then those that want the cluster for themselves, then
the disruptive ones. The line is walked from its front and whatever fits is admitted (backfill). A job that does not fit
may be overtaken ``OVERTAKEN`` times by jobs that take of what it needs; then nothing behind it takes of that any more
until it starts, so big jobs wait no longer than that. A job that asks for more than the machine has counts as asking
for all of it: it starts when the machine is free.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from functests.scheduling.demand import Demand

OVERTAKEN = 4
RESOURCES = ("vcpus", "memory_mib", "vfs", "warm")
_UNITS = {"vcpus": "vCPUs", "memory_mib": "MiB", "vfs": "VFs", "warm": "warm guests"}


@dataclass(frozen=True)
class Capacity:
    """What may be taken at once. ``vcpus`` may be more than the machine has cores: guests mostly wait. The memory of
    ``warm`` guests is not in ``memory_mib``: they stay."""

    vcpus: int
    memory_mib: int
    vfs: int = 0
    warm: int = 0

    def amounts(self) -> dict[str, int]:
        return {name: int(getattr(self, name)) for name in RESOURCES}


@dataclass(frozen=True)
class Job:
    """``seconds``: how long it will presumably take. ``key`` names it in what is logged."""

    key: str
    demand: Demand
    seconds: float = 0

    def kind(self) -> tuple[bool, bool]:
        return (self.demand.disruptive, self.demand.alone)


@dataclass(frozen=True)
class Refusal:
    key: str
    reason: str


@dataclass
class Admission:
    """The line, and what is taken. ``capacity`` stays as it is for the whole run."""

    capacity: Capacity
    waiting: list[Job] = field(default_factory=list)
    running: dict[str, Job] = field(default_factory=dict)
    overtaken: dict[str, int] = field(default_factory=dict)

    def submit(self, jobs: Iterable[Job], *, in_order: bool = False) -> None:
        """Into the line, behind those of their kind that wait already. ``in_order`` keeps the order given."""
        known = {job.key for job in self.waiting} | self.running.keys()
        new = list(jobs)
        for job in new:
            if job.key in known:
                raise ValueError(f"{job.key} is already there")
            known.add(job.key)
        self.waiting += new if in_order else sorted(new, key=lambda job: -job.seconds)
        self.waiting.sort(key=Job.kind)         # keeps the order of those of one kind

    def finish(self, key: str) -> Job:
        """What the job took is free again."""
        return self.running.pop(key)

    def share(self, job: Job) -> dict[str, int]:
        """What the job takes: as it asks, but never more than there is."""
        return {name: min(int(getattr(job.demand, name)), limit) for name, limit in self.capacity.amounts().items()}

    def taken(self) -> dict[str, int]:
        shares = [self.share(job) for job in self.running.values()]
        return {name: sum(share[name] for share in shares) for name in RESOURCES}

    def admit(
        self, workers: int, *, available_mib: int | None = None, node_vcpus: int | None = None
    ) -> tuple[list[Job], list[Refusal]]:
        """Starts up to ``workers`` jobs; those that were passed over come with the reason.

        ``available_mib``: what the machine has free just now; ``node_vcpus``: how many vCPUs of guests the fullest node
        still takes. While anything runs, no job is started that asks for more; when nothing runs it starts all the
        same, since waiting would change nothing.
        """
        started: list[Job] = []
        refused: list[Refusal] = []
        kept: set[str] = set()          # resources that a job in front waits for and nobody may overtake any more
        passed: list[Job] = []
        for job in list(self.waiting):
            if len(started) >= workers:
                break
            lacks = self._lacks(job, available_mib, node_vcpus)
            behind = sorted(name for name in kept if self.share(job)[name])
            if lacks or behind:
                reason = lacks or f"its turn: a job in front waits for {', '.join(_UNITS[name] for name in behind)}"
                refused.append(Refusal(job.key, reason))
                passed.append(job)
                if self.overtaken.get(job.key, 0) >= OVERTAKEN:
                    kept |= {name for name, amount in self.share(job).items() if amount}
                continue
            self._start(job, passed)
            started.append(job)
            # A job that was just overtaken for the last time closes what it needs at once.
            kept |= {
                name
                for other in passed
                if self.overtaken.get(other.key, 0) >= OVERTAKEN
                for name, amount in self.share(other).items()
                if amount
            }
        return started, refused

    def _start(self, job: Job, passed: Sequence[Job]) -> None:
        share = self.share(job)
        for other in passed:
            if not other.demand.alone and any(share[name] and amount for name, amount in self.share(other).items()):
                self.overtaken[other.key] = self.overtaken.get(other.key, 0) + 1
        self.waiting.remove(job)
        self.running[job.key] = job
        self.overtaken.pop(job.key, None)

    def _lacks(self, job: Job, available_mib: int | None, node_vcpus: int | None) -> str:
        """Why the job cannot start beside those that run; "" when it can."""
        loners = [other.key for other in self.running.values() if other.demand.alone]
        if loners:
            return f"{loners[0]} has the cluster for itself"
        if job.demand.alone:
            others = len(self.running) + sum(not other.demand.alone for other in self.waiting)
            return f"the cluster for itself: {others} others are not over" if others else ""
        taken = self.taken()
        for name, limit in self.capacity.amounts().items():
            wanted, free = self.share(job)[name], limit - taken[name]
            if wanted > free:
                return f"{_UNITS[name]}: wants {wanted}, {free} of {limit} are free"
        if available_mib is not None and self.running and max(available_mib, 0) < self.share(job)["memory_mib"]:
            return f"memory: wants {self.share(job)['memory_mib']} MiB, the machine has {available_mib} free now"
        return self._lacks_on_a_node(job, node_vcpus)

    def _lacks_on_a_node(self, job: Job, free: int | None) -> str:
        """Guests of others go where room is; those of the running jobs that are pinned may be still to come."""
        if free is None or not self.running or not job.demand.pinned:
            return ""
        free -= sum(other.demand.pinned for other in self.running.values())
        if job.demand.pinned <= free:
            return ""
        return f"a node: wants {job.demand.pinned} vCPUs on one, the fullest has {max(free, 0)} free"
