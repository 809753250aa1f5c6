"""Which worker runs which tests, and the account of it: every test once, none lost, none twice unnoticed.

Knows workers by their names and tests by their indices; how they are reached is xdist_compat.py's business.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from functests.scheduling import plan
from functests.scheduling.admission import Admission, Capacity, Job, Refusal
from functests.scheduling.plan import Entry


@dataclass
class Running:
    """A job on a worker: tests still to come, the one that runs first."""

    job: Job
    indices: list[int]
    since: float


@dataclass
class Record:
    """One test's way through the run. Times are seconds since the start of the run."""

    id: str
    worker: str = ""
    started: float = 0.0
    ended: float = 0.0
    outcome: str = ""                       # done, crashed; "" while it has not ended
    refusals: list[str] = field(default_factory=list)


class Dispatch:
    """``log`` gets one line per event. ``available_mib`` tells what the machine has free just now, ``node_vcpus`` what
    the fullest node has."""

    def __init__(
        self,
        entries: Sequence[Entry],
        capacity: Capacity,
        durations: Mapping[str, float],
        *,
        seed: int | None = None,
        log: Callable[[str], None],
        available_mib: Callable[[], int | None] = lambda: None,
        node_vcpus: Callable[[], int | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.entries = entries
        self.records = [Record(one.id) for one in entries]
        self.functional = {one.id for one in entries if not one.group}
        self.problems: list[str] = []
        self.running: dict[str, Running] = {}
        self.refused: dict[str, str] = {}
        self.admission = Admission(capacity)
        self._indices: dict[str, list[int]] = {}
        self._index = {one.id: index for index, one in enumerate(entries)}
        self._log, self._available, self._clock = log, available_mib, clock
        self._node_vcpus = node_vcpus
        self.began = clock()
        made = plan.jobs(entries, durations, seed=seed)
        for job, indices in made:
            self._indices[job.key] = indices
        self.admission.submit([job for job, _ in made], in_order=seed is not None)
        self.expected_s = sum(job.seconds for job, _ in made)

    def now(self) -> float:
        return self._clock() - self.began

    def record(self, test: str) -> Record:
        return self.records[self._index[test]]

    def is_over(self) -> bool:
        return not self.admission.waiting and not self.running

    def assign(self, idle: Sequence[str]) -> list[tuple[str, list[int]]]:
        """Work for idle workers: (worker, indices of tests)."""
        if not idle or not self.admission.waiting:
            return []
        # Nodes are asked only when the answer may matter: that takes a moment.
        ask = self.running and any(job.demand.pinned for job in self.admission.waiting)
        started, refused = self.admission.admit(
            len(idle), available_mib=self._available(), node_vcpus=self._node_vcpus() if ask else None
        )
        now = self.now()
        self._note(refused, now)
        given = []
        for worker, job in zip(idle, started, strict=False):
            indices = list(self._indices[job.key])
            self.running[worker] = Running(job, indices, now)
            self.refused.pop(job.key, None)
            self._begin(worker, indices[0])
            self._log(f"{now:8.1f} started {job.key} on {worker}, {job.seconds:.0f} s expected")
            given.append((worker, list(indices)))
        return given

    def _note(self, refused: Sequence[Refusal], now: float) -> None:
        """Log new reasons only, and one line for all that have the same: whole crowds wait for the same thing."""
        news: dict[str, list[str]] = {}
        for refusal in refused:
            known = self.refused.get(refusal.key)
            self.refused[refusal.key] = refusal.reason
            kind = refusal.reason.partition(":")[0]
            if known is None or known.partition(":")[0] != kind:        # the same want with other numbers is no news
                news.setdefault(refusal.reason, []).append(refusal.key)
                for index in self._indices[refusal.key]:
                    self.records[index].refusals.append(refusal.reason)
        for reason, keys in news.items():
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            self._log(f"{now:8.1f} refused {keys[0]}{more}: {reason}")

    def _begin(self, worker: str, index: int) -> None:
        record = self.records[index]
        if record.worker:
            self.problems.append(f"{record.id} was started twice: on {record.worker} and on {worker}")
        record.worker, record.started = worker, self.now()

    def complete(self, worker: str, index: int) -> None:
        record = self.records[index]
        running = self.running.get(worker)
        if running is None or index not in running.indices:
            self.problems.append(f"{record.id} ended on {worker}, which was not to run it")
            return
        running.indices.remove(index)
        record.ended, record.outcome = self.now(), "done"
        if running.indices:
            self._begin(worker, running.indices[0])
            return
        del self.running[worker]
        self.admission.finish(running.job.key)
        self._log(f"{self.now():8.1f} ended {running.job.key} on {worker}")

    def lost(self, worker: str) -> int | None:
        """The worker is gone: returns the test it ran, if any. What it had not begun waits again."""
        running = self.running.pop(worker, None)
        if running is None:
            return None
        crashed, *rest = running.indices
        self.records[crashed].outcome = "crashed"
        self.records[crashed].ended = self.now()
        self._log(f"{self.now():8.1f} lost {worker} while it ran {self.records[crashed].id}")
        self.admission.finish(running.job.key)
        if rest:
            self._again(f"{running.job.key} after {self.records[crashed].id}", rest)
        return crashed

    def again(self, index: int) -> None:
        """Run a test once more because somebody wants it (a plugin that reruns crashed tests)."""
        record = self.records[index]
        self._log(f"{self.now():8.1f} again {record.id}, which was {record.outcome} on {record.worker}")
        self._again(f"{record.id} again at {self.now():.1f}", [index])

    def _again(self, key: str, indices: list[int]) -> None:
        for index in indices:
            self.records[index] = Record(self.records[index].id)
        self._indices[key] = indices
        self.admission.submit([Job(key, self.entries[indices[0]].demand)])

    def audit(self) -> list[str]:
        """What went wrong with the account; asked when the run is over."""
        lost = [record.id for record in self.records if not record.outcome]
        return [*self.problems, *(f"{name} never ran to its end" for name in lost)]

    def to_json(self) -> dict[str, Any]:
        return {
            "capacity": self.admission.capacity.amounts(),
            **plan.report(self.entries),
            "took_s": round(self.now(), 1),
            "problems": self.audit(),
            "runs": [
                {
                    "id": record.id,
                    "worker": record.worker,
                    "started_s": round(record.started, 2),
                    "ended_s": round(record.ended, 2),
                    "outcome": record.outcome,
                    "refusals": record.refusals,
                    "demand": one.demand.to_json(),
                }
                for record, one in zip(self.records, self.entries, strict=True)
            ],
        }
