import asyncio
import time

import pytest

from tests.waits import HANG_S
from virt.base import waiting


def test_the_ready_state_is_returned() -> None:
    states = iter(["a", "b", "c"])
    assert waiting.wait_for(lambda: next(states), lambda s: s == "c", deadline_s=HANG_S, every_s=0) == "c"


def test_a_final_state_ends_the_wait_early() -> None:
    with pytest.raises(waiting.WaitStopped, match="Failed"):
        waiting.wait_for(lambda: "Failed", lambda s: s == "Up", stop=lambda s: s == "Failed", deadline_s=60)


def test_ready_wins_over_stop() -> None:
    assert waiting.wait_for(lambda: 1, lambda s: True, stop=lambda s: True, deadline_s=1) == 1


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sleep takes no time, and the clock goes on by it: how many looks there are is not the machine's affair."""
    real, passed = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + passed[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: passed.append(passed.pop() + seconds))


def test_the_error_tells_the_changes_and_only_the_changes(slept: None) -> None:
    states = iter(["a", "a", "b", *["c"] * 10_000])
    with pytest.raises(waiting.WaitTimeout, match="waiting for z") as caught:
        waiting.wait_for(lambda: next(states), lambda s: s == "z", deadline_s=10_000, every_s=100, what="z")
    assert [state for _, state in caught.value.history] == ["'a'", "'b'", "'c'"]


def test_history_keeps_the_first_and_the_last_states(slept: None) -> None:
    counts = iter(range(10_000_000))
    with pytest.raises(waiting.WaitTimeout) as caught:
        waiting.wait_for(lambda: next(counts), lambda s: False, deadline_s=10_000, every_s=100)
    history = [state for _, state in caught.value.history]
    assert history[0] == "0"
    assert len(history) == waiting.KEPT_STATES + 1


async def test_an_observer_that_hangs_is_cut_off() -> None:
    async def observe() -> None:
        await asyncio.Event().wait()

    with pytest.raises(waiting.WaitTimeout, match="observing"):
        await waiting.wait_for_async(observe, bool, deadline_s=0.05)


async def test_a_timeout_of_the_observer_itself_passes_through() -> None:
    async def observe() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await waiting.wait_for_async(observe, bool, deadline_s=HANG_S)
