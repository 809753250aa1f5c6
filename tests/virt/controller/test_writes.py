"""Deletions that hit the object that was meant, or nothing; and what the cache learns of a write."""

from msgspec.structs import replace

from tests.fakes.kube import FakeKube
from virt.api import core
from virt.api.kinds import POD
from virt.controller import writes
from virt.kube.informer import Informer


def pod(name: str, uid: str) -> core.Pod:
    return core.Pod(metadata=core.ObjectMeta(name=name, namespace="ns", uid=uid))


async def test_the_object_that_was_read_is_deleted_once() -> None:
    kube = FakeKube()
    seen = kube.put(POD, pod("a", "1"))
    assert await writes.delete(kube, POD, seen)
    assert not (await kube.list(POD)).items
    assert await writes.delete(kube, POD, seen), "what is gone already is no error"


async def test_another_one_of_the_same_name_stays() -> None:
    kube = FakeKube()
    stored = kube.put(POD, pod("a", "new"))
    assert not await writes.delete(kube, POD, pod("a", "old"))
    assert (await kube.list(POD)).items == (stored,)


async def test_what_a_write_has_let_go_is_not_learned() -> None:
    kube = FakeKube()
    informer = Informer(kube, POD)
    held = pod("a", "1")
    seen = kube.put(POD, replace(held, metadata=replace(
        held.metadata, finalizers=("f",), deletion_timestamp="2026-01-01T00:00:00Z")))
    informer.store.put(seen)
    patch = writes.between(seen, replace(seen, metadata=replace(seen.metadata, finalizers=())), "metadata")
    assert patch is not None
    assert await writes.patched(kube, informer, seen, patch) is None
    assert informer.store.find("ns", "a") == seen
