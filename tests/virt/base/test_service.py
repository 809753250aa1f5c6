import asyncio

import pytest

from tests.waits import HANG_S
from virt.base import service


async def forever() -> None:
    await asyncio.Event().wait()


async def test_stop_cancels_all_tasks_and_is_no_error() -> None:
    stop, cleaned = asyncio.Event(), []

    async def worker() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            cleaned.append("worker")

    asyncio.get_running_loop().call_later(0.01, stop.set)
    await service.run_tasks({"worker": worker, "other": forever}, stop)
    assert cleaned == ["worker"]


async def test_a_task_that_ends_by_itself_is_an_error_that_names_it() -> None:
    async def returns() -> None:
        return

    with pytest.raises(ExceptionGroup) as caught:
        await service.run_tasks({"other": forever, "short": returns}, asyncio.Event())
    assert "'short'" in str(caught.value.exceptions[0])


async def test_a_task_that_waited_for_what_was_cancelled_ends_the_service_too() -> None:
    async def waits() -> None:
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(HANG_S):
            await service.run_tasks({"other": forever, "short": waits}, asyncio.Event())
    assert "'short'" in str(caught.value.exceptions[0])


async def test_a_failing_task_stops_the_others() -> None:
    stopped = asyncio.Event()

    async def fails() -> None:
        raise ValueError("broken")

    async def other() -> None:
        try:
            await forever()
        finally:
            stopped.set()

    with pytest.raises(ExceptionGroup) as caught:
        await service.run_tasks({"other": other, "bad": fails}, asyncio.Event())
    assert caught.group_contains(ValueError, match="broken")
    assert stopped.is_set()


async def test_an_error_while_cleaning_up_is_reported() -> None:
    async def untidy() -> None:
        try:
            await forever()
        finally:
            raise ValueError("could not release")

    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    with pytest.raises(ExceptionGroup) as caught:
        await service.run_tasks({"untidy": untidy}, stop)
    assert caught.group_contains(ValueError, match="could not release")


@pytest.mark.parametrize("by", ["stop", "failure"])
async def test_a_task_that_will_not_end_passes_the_grace(by: str) -> None:
    release, stop = asyncio.Event(), asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await asyncio.wait_for(release.wait(), HANG_S)
            except (asyncio.CancelledError, TimeoutError):
                continue

    async def fails() -> None:
        await asyncio.sleep(0.01)
        if by == "failure":
            raise ValueError("broken")
        stop.set()
        await forever()

    with pytest.raises(TimeoutError, match="cleaning up"):
        await service.run_tasks({"stubborn": stubborn, "fails": fails}, stop, grace_s=0.05)
    release.set()
