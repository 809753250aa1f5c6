"""Deletions that hit the object that was meant, or nothing."""

from tests.fakes.kube import FakeKube
from virt.api import core
from virt.api.kinds import POD
from virt.controller import writes


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
