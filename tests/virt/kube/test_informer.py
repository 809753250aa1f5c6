import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from tests.waits import HANG_S
from virt.api import core
from virt.api.kinds import CONFIG_MAP
from virt.base.waiting import wait_for_async
from virt.kube.client import ApiError, MergePatch
from virt.kube.informer import RETRY_S, Informer
from virt.kube.store import Store


def config(name: str, **data: str) -> core.ConfigMap:
    return core.ConfigMap(metadata=core.ObjectMeta(name=name, namespace="n"), data=data)


@asynccontextmanager
async def following(informer: Informer[core.ConfigMap]) -> AsyncIterator[None]:
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(HANG_S):
            await informer.synced.wait()
            yield
    finally:
        task.cancel()


async def holds(informer: Informer[core.ConfigMap], names: list[str]) -> None:
    async def observe() -> list[str]:
        return sorted(item.metadata.name for item in informer.store)

    await wait_for_async(observe, lambda seen: seen == names, deadline_s=HANG_S, every_s=0.001)


def informer_on(kube: FakeKube) -> Informer[core.ConfigMap]:
    return Informer(kube, CONFIG_MAP, clock=FakeClock())


async def test_the_store_follows_the_server() -> None:
    kube = FakeKube((CONFIG_MAP, config("a")))
    informer = informer_on(kube)
    async with following(informer):
        await holds(informer, ["a"])
        await kube.create(CONFIG_MAP, config("b"), "n")
        await kube.delete(CONFIG_MAP, "a", "n")
        await holds(informer, ["b"])
        assert informer.store.find("n", "a") is None
        assert informer.store.find("n", "b") == kube.peek(CONFIG_MAP, "b", "n")


async def test_handlers_see_changes_once_with_before_and_after() -> None:
    kube = FakeKube((CONFIG_MAP, config("a", k="1")))
    informer, seen = informer_on(kube), list[tuple[str | None, str | None]]()

    def value(item: core.ConfigMap | None) -> str | None:
        return item.data.get("k") if item else None

    informer.on_change(lambda old, new: seen.append((value(old), value(new))))
    async with following(informer):
        await kube.patch(CONFIG_MAP, "a", MergePatch({"data": {"k": "2"}}), namespace="n")
        kube.hang_up()
        await kube.delete(CONFIG_MAP, "a", "n")
        await holds(informer, [])
    assert seen == [(None, "1"), ("1", "2"), ("2", None)]


async def test_what_happened_during_a_gap_is_told_after_listing_again() -> None:
    kube = FakeKube((CONFIG_MAP, config("gone")), (CONFIG_MAP, config("kept")))
    informer, deleted = informer_on(kube), list[str]()
    async with following(informer):
        informer.on_change(lambda old, new: deleted.append(old.metadata.name) if old and not new else None)
        kube.fail("watch", "configmaps", ApiError(500, "InternalError", "down"), times=3)
        kube.hang_up()
        await kube.delete(CONFIG_MAP, "gone", "n")
        kube.compact()
        await holds(informer, ["kept"])
    assert deleted == ["gone"]


async def test_errors_of_the_server_do_not_end_the_informer() -> None:
    kube = FakeKube((CONFIG_MAP, config("a")))
    kube.fail("list", "configmaps", ApiError(503, "Unreachable", "refused"), times=4)
    clock = FakeClock()
    informer = Informer(kube, CONFIG_MAP, clock=clock)
    async with following(informer):
        await holds(informer, ["a"])
    assert clock.passed_s >= sum(RETRY_S[:4]) / 2, "four refusals, and no longer and longer pause after each"


async def test_a_bookmark_moves_the_version_and_changes_nothing() -> None:
    kube = FakeKube((CONFIG_MAP, config("a")))
    informer, changes = informer_on(kube), list[object]()
    informer.on_change(lambda old, new: changes.append(new))
    async with following(informer):
        kube.bookmark(CONFIG_MAP)
        await kube.create(CONFIG_MAP, config("b"), "n")
        await holds(informer, ["a", "b"])
    assert len(changes) == 2


async def test_own_writes_are_seen_at_once_and_not_undone_by_older_events() -> None:
    kube = FakeKube((CONFIG_MAP, config("a", k="1")))
    informer = informer_on(kube)
    async with following(informer):
        await kube.patch(CONFIG_MAP, "a", MergePatch({"data": {"k": "2"}}), namespace="n")
        newest = await kube.patch(CONFIG_MAP, "a", MergePatch({"data": {"k": "3"}}), namespace="n")
        history: list[str] = []
        informer.on_change(lambda old, new: history.append(new.data["k"]) if new else None)
        informer.learn(newest)
        assert informer.store.find("n", "a") == newest
        await kube.create(CONFIG_MAP, config("b"), "n")
        await holds(informer, ["a", "b"])
        assert informer.store.find("n", "a") == newest


async def test_learning_what_is_deleted_already_leaves_no_ghost() -> None:
    kube = FakeKube((CONFIG_MAP, config("a", k="1")))
    informer = informer_on(kube)
    async with following(informer):
        written = await kube.patch(CONFIG_MAP, "a", MergePatch({"data": {"k": "2"}}), namespace="n")
        await kube.delete(CONFIG_MAP, "a", "n")
        await holds(informer, [])
        informer.learn(written)
        assert len(informer.store) == 0


def test_indexes_follow_changes() -> None:
    store = Store[core.ConfigMap]({"k": lambda item: item.data.values()})
    store.put(config("a", k="1"))
    store.put(config("b", k="1"))
    store.put(config("a", k="2"))
    store.remove("n/b")
    assert [item.metadata.name for item in store.by_index("k", "2")] == ["a"]
    assert store.by_index("k", "1") == ()


def test_replacing_tells_the_differences() -> None:
    store = Store[core.ConfigMap]()
    same, old, new = config("same"), config("x", k="1"), config("x", k="2")
    for item in (same, old, config("gone")):
        store.put(item)
    assert store.replace([same, new]) == [(config("gone"), None), (old, new)]
