import asyncio

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from tests.waits import HANG_S, until
from virt.api import core
from virt.api.kinds import CONFIG_MAP, EVENT
from virt.kube.client import ApiError, ConflictError
from virt.kube.controller import Controller, Result
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer
from virt.kube.objects import key_of
from virt.kube.workqueue import WorkQueue


@pytest.mark.parametrize(("error", "failures"), [
    (ConflictError(409, "Conflict", "lost"), 1),
    (ApiError(500, "InternalError", "x"), 1),
    (ValueError("bug"), 1),
])
async def test_what_each_error_leads_to(error: Exception, failures: int) -> None:
    async def reconcile(_: str) -> Result:
        raise error

    controller = Controller("x", reconcile)
    await controller.process("a")
    assert controller.queue.failures("a") == failures


async def test_success_forgets_failures_and_keeps_the_wish() -> None:
    wish = 0.001

    async def reconcile(_: str) -> Result:
        return Result(requeue_after_s=wish)

    controller = Controller("x", reconcile)
    controller.queue.add_rate_limited("a")
    await controller.process("a")
    assert controller.queue.failures("a") == 0
    assert await asyncio.wait_for(controller.queue.get(), HANG_S) == "a"


@pytest.mark.parametrize(("error", "tries"), [
    (ValueError("another text"), 1),
    (ConflictError(409, "Conflict", "lost"), 3),        # news is what it waits for
])
async def test_who_writes_down_why_it_failed_does_not_wake_itself(error: Exception, tries: int) -> None:
    tried: list[str] = []

    async def reconcile(key: str) -> Result:
        tried.append(key)
        if len(tried) < 3:
            controller.queue.add(key)               # what the watch makes of its write
        raise error

    controller = Controller("x", reconcile, queue=WorkQueue(base_s=600, max_s=600))
    controller.queue.add("a")
    task = asyncio.create_task(controller.run())
    for _ in range(100):
        await asyncio.sleep(0)
    task.cancel()
    assert len(tried) == tries


async def test_work_begins_when_all_informers_know_everything() -> None:
    kube = FakeKube(*(
        (CONFIG_MAP, core.ConfigMap(metadata=core.ObjectMeta(name=name, namespace="n"))) for name in "abc"
    ))
    informer = Informer(kube, CONFIG_MAP, clock=FakeClock())
    known: list[tuple[str, int]] = []

    async def reconcile(key: str) -> Result:
        known.append((key, len(informer.store)))
        return Result()

    controller = Controller("x", reconcile, workers=2)
    controller.watches(informer, lambda item: [key_of(item)])
    tasks = [asyncio.create_task(controller.run()), asyncio.create_task(informer.run())]
    async with asyncio.timeout(HANG_S):
        while len(known) < 3:
            await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    assert sorted(known) == [("n/a", 3), ("n/b", 3), ("n/c", 3)]


async def test_a_standby_keeps_nothing_of_what_came_and_went() -> None:
    kube = FakeKube()
    informer = Informer(kube, CONFIG_MAP, clock=FakeClock())
    controller = Controller("x", never, workers=2)
    controller.watches(informer, lambda item: [key_of(item)])
    task = asyncio.create_task(informer.run())
    await informer.synced.wait()
    for name in "abc":
        await kube.create(CONFIG_MAP, core.ConfigMap(metadata=core.ObjectMeta(name=name, namespace="n")), "n")
        await until(lambda: len(informer.store) == 1)
        await kube.delete(CONFIG_MAP, name, "n")
        await until(lambda: len(informer.store) == 0)
    task.cancel()
    assert len(controller.queue) == 0


async def never(key: str) -> Result:
    raise AssertionError(f"{key} was not to be reconciled")


async def test_the_same_event_again_is_counted() -> None:
    kube = FakeKube()
    recorder = EventRecorder(kube, "test", clock=FakeClock())
    about = core.ConfigMap(metadata=core.ObjectMeta(name="a", namespace="n", uid="u"))
    task = asyncio.create_task(recorder.run())
    for _ in range(3):
        recorder.event(about, "Normal", "Same", "again")
    recorder.event(about, "Warning", "Other", "once")
    async with asyncio.timeout(HANG_S):
        while len(kube.writes) < 4:
            await asyncio.sleep(0)
    task.cancel()
    events = (await kube.list(EVENT, "n")).items
    assert sorted((event.reason, event.count, event.involved_object.kind) for event in events) == [
        ("Other", 1, "ConfigMap"), ("Same", 3, "ConfigMap"),
    ]
