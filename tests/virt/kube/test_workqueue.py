"""The promises of the queue, one by one, and then all at once by a state machine."""

import asyncio

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import sampled_from

from tests.waits import HANG_S
from virt.kube import workqueue
from virt.kube.workqueue import WorkQueue


async def test_a_key_added_twice_is_handed_out_once() -> None:
    queue = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await queue.get() == "a"
    assert len(queue) == 0


async def test_order_of_first_addition_is_kept() -> None:
    queue = WorkQueue()
    for key in "cab" "c":
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["c", "a", "b"]


async def test_a_key_in_work_comes_back_only_after_done() -> None:
    queue = WorkQueue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_a_waiting_worker_is_woken() -> None:
    queue = WorkQueue()
    taking = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(taking, HANG_S) == "a"


async def test_a_cancelled_worker_loses_no_key() -> None:
    queue = WorkQueue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, HANG_S) == "a"


async def test_pauses_double_up_to_the_limit_until_forgotten() -> None:
    queue = WorkQueue(base_s=1, max_s=5)
    assert [queue.add_rate_limited("a") for _ in range(5)] == [1, 2, 4, 5, 5]
    queue.forget("a")
    assert queue.add_rate_limited("a") == 1


async def test_of_two_delays_the_shorter_counts() -> None:
    queue = WorkQueue()
    queue.add_after("a", 60)
    queue.add_after("a", 0.001)
    queue.add_after("a", 60)
    assert await asyncio.wait_for(queue.get(), HANG_S) == "a"


async def test_news_of_a_key_that_fails_waits_a_moment() -> None:
    queue = WorkQueue(base_s=600, max_s=600)
    queue.add_rate_limited("a")
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"
    assert len(queue) == 0
    queue.forget("a")
    queue.add("a")
    assert await queue.get() == "a"


async def test_news_that_came_during_a_try_that_failed_waits_as_well() -> None:
    queue = WorkQueue(base_s=600, max_s=600)
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add_rate_limited("a")
    queue.done("a")
    assert len(queue) == 0


async def test_news_does_not_wait_for_the_whole_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "NEWS_S", 0.01)
    queue = WorkQueue(base_s=600, max_s=600)
    queue.add_rate_limited("a")
    queue.add("a")
    assert await asyncio.wait_for(queue.get(), HANG_S) == "a"


async def test_news_ends_the_pause_after_a_failure_that_it_is_to_mend() -> None:
    queue = WorkQueue(base_s=600, max_s=600)
    queue.add_rate_limited("a", waits_for_news=True)
    queue.add("a")
    assert len(queue) == 1


class QueueMachine(RuleBasedStateMachine):
    """Against a model: whatever was added after it was last taken must still come."""

    keys = ("a", "b", "c")

    def __init__(self) -> None:
        super().__init__()
        self.queue = WorkQueue()
        self.owed: set[str] = set()
        self.in_work: set[str] = set()

    @rule(key=sampled_from(keys))
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.owed.add(key)

    @precondition(lambda self: len(self.queue) > 0)
    @rule()
    def take(self) -> None:
        getting = self.queue.get()
        with pytest.raises(StopIteration) as stopped:
            getting.send(None)
        key = stopped.value.value
        assert key not in self.in_work, "handed to two workers"
        assert key in self.owed, "handed out for nothing"
        self.owed.discard(key)
        self.in_work.add(key)

    @precondition(lambda self: self.in_work)
    @rule(key=sampled_from(keys))
    def finish(self, key: str) -> None:
        if key in self.in_work:
            self.in_work.discard(key)
            self.queue.done(key)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.queue) == len(self.owed - self.in_work)


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestQueue = QueueMachine.TestCase
