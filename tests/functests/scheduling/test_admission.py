"""Admission holds whatever the jobs are: no overcommit, no starvation, everything once, those alone last."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from functests.scheduling.admission import OVERTAKEN, RESOURCES, Admission, Capacity, Job
from functests.scheduling.demand import Demand

CAPACITY = Capacity(vcpus=4, memory_mib=1000, vfs=2)

demands = st.builds(
    Demand,
    vcpus=st.integers(0, 6),
    memory_mib=st.sampled_from([0, 100, 250, 500, 999, 1000, 5000]),
    vfs=st.integers(0, 3),
    exclusive=st.sampled_from([False, False, False, True]),
    disruptive=st.sampled_from([False, False, False, False, True]),
)
lengths = st.floats(0, 100)
batches = st.lists(st.tuples(demands, lengths), max_size=16).map(
    lambda rows: [Job(f"job-{number}", demand, seconds) for number, (demand, seconds) in enumerate(rows)]
)


def job(key: str, seconds: float = 0, **taken: int) -> Job:
    return Job(key, Demand(**taken), seconds)  # type: ignore[arg-type]


def overcommitted(admission: Admission) -> list[str]:
    """Counted from the demands themselves, not by the code under test."""
    running = list(admission.running.values())
    limits = admission.capacity.amounts()
    return [
        name
        for name in RESOURCES
        if sum(min(getattr(one.demand, name), limits[name]) for one in running) > limits[name]
    ]


@settings(max_examples=120, deadline=None)
@given(batches, st.integers(1, 6), st.randoms(use_true_random=False), st.none() | st.integers(0, 1200))
def test_every_job_runs_once_within_the_capacity(
    jobs: list[Job], workers: int, chance: object, available: int | None
) -> None:
    admission = Admission(CAPACITY)
    admission.submit(jobs)
    ran: list[Job] = []
    while admission.waiting or admission.running:
        started, refused = admission.admit(workers - len(admission.running), available_mib=available)
        ran += started
        assert all(one.reason for one in refused)
        assert not overcommitted(admission)
        assert len(admission.running) <= workers
        if any(one.demand.alone for one in admission.running.values()):
            assert len(admission.running) == 1
        assert admission.running, "nothing runs and nothing can start"
        admission.finish(chance.choice(sorted(admission.running)))  # type: ignore[attr-defined]
    assert sorted(one.key for one in ran) == sorted(one.key for one in jobs)
    order = [(one.demand.disruptive, one.demand.alone) for one in ran]
    assert order == sorted(order), "ordinary, then alone, then disruptive"


@settings(max_examples=80, deadline=None)
@given(batches, st.integers(2, 6), st.randoms(use_true_random=False))
def test_nobody_is_overtaken_for_ever(jobs: list[Job], workers: int, chance: object) -> None:
    """Small jobs keep coming as long as the others have not all run."""
    ordinary = [replace(one, demand=replace(one.demand, exclusive=False, disruptive=False)) for one in jobs]
    admission = Admission(CAPACITY)
    admission.submit(ordinary)
    left = {one.key for one in ordinary}
    overtaken = dict.fromkeys(left, 0)
    for turn in range(1000):
        if not left:
            break
        admission.submit([job(f"small-{turn}", 1000, vcpus=1, memory_mib=1, vfs=1)])
        before = list(admission.waiting)
        started, _ = admission.admit(workers - len(admission.running))
        for one in started:
            left.discard(one.key)
            for front in before[: before.index(one)]:
                if front.key in left and any(
                    getattr(front.demand, name) and getattr(one.demand, name) for name in RESOURCES
                ):
                    overtaken[front.key] += 1
        admission.finish(chance.choice(sorted(admission.running)))  # type: ignore[attr-defined]
    assert not left, "starved"
    assert max(overtaken.values(), default=0) <= OVERTAKEN * workers


def test_the_longest_start_first() -> None:
    admission = Admission(CAPACITY)
    admission.submit([job("short", 1, vcpus=1), job("long", 60), job("middle", 9, vcpus=1)])
    assert [one.key for one in admission.admit(2)[0]] == ["long", "middle"]


def test_a_small_job_passes_a_big_one_and_the_reason_is_told() -> None:
    admission = Admission(CAPACITY)
    admission.submit([job("a", 9, memory_mib=600), job("big", 8, memory_mib=700), job("small", 1, memory_mib=300)])
    started, refused = admission.admit(3)
    assert [one.key for one in started] == ["a", "small"]
    assert [(one.key, one.reason) for one in refused] == [("big", "MiB: wants 700, 400 of 1000 are free")]


def test_one_overtaken_often_enough_keeps_what_it_needs_but_not_the_rest() -> None:
    admission = Admission(CAPACITY)
    small = [job(f"small-{number}", 5 - number, memory_mib=300) for number in range(OVERTAKEN + 2)]
    admission.submit([job("a", 20, memory_mib=600), job("big", 10, memory_mib=1000), *small, job("idle", 0, vcpus=4)])
    admission.admit(1)
    for number in range(OVERTAKEN):
        assert [one.key for one in admission.admit(1)[0]] == [f"small-{number}"]
        admission.finish(f"small-{number}")
    started, refused = admission.admit(3)
    assert [one.key for one in started] == ["idle"]
    assert refused[1].reason == "its turn: a job in front waits for MiB"
    admission.finish("a")
    admission.finish("idle")
    assert [one.key for one in admission.admit(1)[0]] == ["big"]


def test_a_job_bigger_than_the_machine_runs_when_it_is_free() -> None:
    admission = Admission(CAPACITY)
    admission.submit([job("huge", 9, memory_mib=9000), job("other", 1, memory_mib=1)])
    assert [one.key for one in admission.admit(2)[0]] == ["huge"]


def test_memory_that_others_took_counts_while_anything_runs() -> None:
    admission = Admission(CAPACITY)
    admission.submit([job("first", 9, memory_mib=300), job("second", 8, memory_mib=300)])
    started, refused = admission.admit(2, available_mib=200)
    assert [one.key for one in started] == ["first"]
    assert refused[0].reason == "memory: wants 300 MiB, the machine has 200 free now"
