import asyncio
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from tests.waits import HANG_S
from virt.api import core
from virt.api.kinds import LEASE, Kind
from virt.kube import leader
from virt.kube.client import ApiError
from virt.kube.leader import DURATION_S, Elector, LeaseLostError, is_free

T = TypeVar("T")


async def forever() -> None:
    await asyncio.Event().wait()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(HANG_S):
        while not condition():
            await asyncio.sleep(0)


def elector(kube: FakeKube, identity: str, clock: FakeClock) -> Elector:
    return Elector(kube, namespace="n", name="virt-x", identity=identity, clock=clock)


@pytest.mark.parametrize(("holder", "unchanged_s", "free"), [
    ("", 0, True), ("me", 0, True), ("other", DURATION_S - 0.1, False), ("other", DURATION_S, True),
])
def test_a_lease_is_free_when_given_back_or_silent_for_its_duration(
    holder: str, unchanged_s: float, free: bool
) -> None:
    spec = core.LeaseSpec(holder_identity=holder, lease_duration_seconds=DURATION_S)
    assert is_free(spec, "me", 100.0, 100.0 + unchanged_s) is free


async def test_a_clean_stop_gives_the_lease_back_after_the_work_ended() -> None:
    kube, seen = FakeKube(), list[str]()

    async def lead() -> None:
        try:
            await forever()
        finally:
            held = kube.peek(LEASE, "virt-x", "n")
            seen.append((held and held.spec.holder_identity) or "nobody")

    first = elector(kube, "one", FakeClock())
    task = asyncio.create_task(first.run(lead))
    await until(lambda: first.is_leader)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    lease = kube.peek(LEASE, "virt-x", "n")
    assert seen == ["one"]
    assert lease is not None
    assert not lease.spec.holder_identity


async def test_the_second_waits_while_the_first_renews() -> None:
    kube = FakeKube()
    clock = FakeClock()
    first, second = elector(kube, "one", clock), elector(kube, "two", clock)
    tasks = [asyncio.create_task(first.run(forever))]
    await until(lambda: first.is_leader)
    tasks.append(asyncio.create_task(second.run(forever)))
    await until(lambda: clock.passed_s > 120)
    assert (first.is_leader, second.is_leader) == (True, False)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_dead_leader_is_followed_after_the_lease_ran_out() -> None:
    spec = core.LeaseSpec(holder_identity="dead", lease_duration_seconds=DURATION_S, lease_transitions=3)
    kube, clock = FakeKube(), FakeClock()
    kube.put(LEASE, core.Lease(metadata=core.ObjectMeta(name="virt-x", namespace="n"), spec=spec))
    second = elector(kube, "two", clock)
    task = asyncio.create_task(second.run(forever))
    await until(lambda: second.is_leader)
    task.cancel()
    assert DURATION_S <= clock.passed_s < DURATION_S + 4
    lease = kube.peek(LEASE, "virt-x", "n")
    assert lease is not None
    assert lease.spec.lease_transitions == 4


async def test_who_hears_too_late_that_the_lease_is_taken_does_not_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps: the first request is never answered; the second at once."""
    monkeypatch.setattr(leader, "RENEW_DEADLINE_S", 0.05)

    class SlowKube(FakeKube):
        asked = 0

        async def create(self, kind: Kind[T], obj: T, namespace: str | None = None, *, dry_run: bool = False) -> T:
            self.asked += 1
            if self.asked == 1:
                await asyncio.Event().wait()
            return await super().create(kind, obj, namespace, dry_run=dry_run)

    kube = SlowKube()
    first = elector(kube, "one", FakeClock())
    task = asyncio.create_task(first.run(forever))
    await until(lambda: first.is_leader)
    assert kube.asked >= 2
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_leader_that_cannot_renew_ends_before_another_may_start() -> None:
    kube, clock = FakeKube(), FakeClock()
    first = elector(kube, "one", clock)
    task = asyncio.create_task(first.run(forever))
    await until(lambda: first.is_leader)
    kube.fail("*", "leases", ApiError(503, "Unreachable", "refused"), times=1000)
    began = clock.passed_s
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(task, HANG_S)
    assert caught.group_contains(LeaseLostError)
    assert clock.passed_s - began < DURATION_S


async def test_an_error_of_the_work_ends_the_leading_and_gives_the_lease_back() -> None:
    kube = FakeKube()

    async def lead() -> None:
        raise ValueError("broken")

    with pytest.raises(ExceptionGroup) as caught:
        await elector(kube, "one", FakeClock()).run(lead)
    assert caught.group_contains(ValueError)
    lease = kube.peek(LEASE, "virt-x", "n")
    assert lease is not None
    assert not lease.spec.holder_identity
