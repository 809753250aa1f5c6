"""What every Client must do. Runs on the fake, and on a real cluster when KUBECONFIG names one."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.kube import FakeKube
from tests.waits import HANG_S
from virt.api import core
from virt.api.kinds import CONFIG_MAP, NAMESPACE, POD, SECRET, Kind, untyped
from virt.kube import lightkube_client
from virt.kube.client import (
    ApiError,
    ApplyPatch,
    Client,
    ConflictError,
    DeleteOptions,
    Event,
    ExpiredError,
    JsonPatch,
    MergePatch,
    NotFoundError,
    Selector,
)

RAW_CONFIG_MAP = untyped("", "v1", "configmaps", "ConfigMap", namespaced=True)


@pytest.fixture
def namespace() -> str:
    return f"contract-{uuid.uuid4().hex[:8]}"


@pytest.fixture(params=["fake", "real"])
async def client(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Client]:
    if request.param == "fake":
        yield FakeKube((NAMESPACE, core.Namespace(metadata=core.ObjectMeta(name=namespace))))
        return
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster")
    real = lightkube_client.connect("contract-tests")
    await real.create(NAMESPACE, core.Namespace(metadata=core.ObjectMeta(name=namespace)))
    try:
        yield real
    finally:
        await real.delete(NAMESPACE, namespace)
        await real.close()


def config(name: str, **data: str) -> core.ConfigMap:
    return core.ConfigMap(metadata=core.ObjectMeta(name=name, labels={"app": data.get("app", "x")}), data=data)


async def next_events(events: AsyncIterator[Event[core.ConfigMap]], count: int) -> list[tuple[str, str]]:
    seen: list[tuple[str, str]] = []
    async with asyncio.timeout(HANG_S):
        async for event in events:
            if event.type != "BOOKMARK":
                seen.append((event.type, event.obj.metadata.name))
            if len(seen) == count:
                break
    return seen


async def test_created_objects_have_identity_and_version(client: Client, namespace: str) -> None:
    made = await client.create(CONFIG_MAP, config("a", k="v"), namespace)
    assert made.metadata.uid
    assert int(made.metadata.resource_version) > 0
    assert made.metadata.creation_timestamp
    assert await client.get(CONFIG_MAP, "a", namespace) == made


async def test_a_name_is_given_out_once(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config("a"), namespace)
    with pytest.raises(ConflictError) as caught:
        await client.create(CONFIG_MAP, config("a"), namespace)
    assert (caught.value.code, caught.value.reason) == (409, "AlreadyExists")


async def test_generated_names_differ(client: Client, namespace: str) -> None:
    wanted = core.ConfigMap(metadata=core.ObjectMeta(generate_name="gen-"))
    names = {(await client.create(CONFIG_MAP, wanted, namespace)).metadata.name for _ in range(3)}
    assert len(names) == 3
    assert all(name.startswith("gen-") for name in names)


async def test_a_missing_object_is_not_found(client: Client, namespace: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        await client.get(CONFIG_MAP, "none", namespace)
    assert (caught.value.code, caught.value.reason) == (404, "NotFound")
    with pytest.raises(NotFoundError):
        await client.patch(CONFIG_MAP, "none", MergePatch({"data": {"a": "b"}}), namespace=namespace)


async def test_deleting_what_is_gone_is_no_error(client: Client, namespace: str) -> None:
    neighbour = await client.create(CONFIG_MAP, config("a"), namespace)
    await client.create(CONFIG_MAP, config("gone"), namespace)
    for _ in range(2):
        await client.delete(CONFIG_MAP, "gone", namespace)
        left = await client.list(CONFIG_MAP, namespace, Selector(labels="app"))
        assert list(left.items) == [neighbour]


async def test_merge_patch_keeps_what_it_does_not_name(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config("a", one="1", two="2"), namespace)
    after = await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"two": None, "three": "3"}}), namespace=namespace)
    assert after.data == {"one": "1", "three": "3"}
    assert after.metadata.labels == {"app": "x"}


async def test_a_patch_with_an_old_version_conflicts(client: Client, namespace: str) -> None:
    made = await client.create(CONFIG_MAP, config("a"), namespace)
    await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "1"}}), namespace=namespace)
    stale = MergePatch({"metadata": {"resourceVersion": made.metadata.resource_version}, "data": {"x": "2"}})
    with pytest.raises(ConflictError) as caught:
        await client.patch(CONFIG_MAP, "a", stale, namespace=namespace)
    assert caught.value.reason == "Conflict"


async def test_a_failed_json_patch_test_is_refused_and_changes_nothing(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config("a", k="v"), namespace)
    patch = JsonPatch([
        {"op": "test", "path": "/data/k", "value": "other"}, {"op": "replace", "path": "/data/k", "value": "new"},
    ])
    with pytest.raises(ApiError) as caught:
        await client.patch(CONFIG_MAP, "a", patch, namespace=namespace)
    assert caught.value.code == 422
    assert (await client.get(CONFIG_MAP, "a", namespace)).data == {"k": "v"}


async def test_json_patch_escapes_and_adds(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config("a"), namespace)
    patch = JsonPatch([{"op": "add", "path": "/metadata/annotations", "value": {}},
                       {"op": "add", "path": "/metadata/annotations/x.io~1y", "value": "1"}])
    after = await client.patch(CONFIG_MAP, "a", patch, namespace=namespace)
    assert after.metadata.annotations["x.io/y"] == "1"


async def test_a_patch_without_effect_makes_no_new_version(client: Client, namespace: str) -> None:
    made = await client.create(CONFIG_MAP, config("a", k="v"), namespace)
    after = await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"k": "v"}}), namespace=namespace)
    assert after.metadata.resource_version == made.metadata.resource_version


async def test_apply_creates_and_then_changes(client: Client, namespace: str) -> None:
    document = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": namespace}, "data": {"k": "1"},
    }
    first = await client.patch(RAW_CONFIG_MAP, "a", ApplyPatch(document), namespace=namespace)
    second = await client.patch(
        RAW_CONFIG_MAP, "a", ApplyPatch({**document, "data": {"k": "2"}}), namespace=namespace
    )
    assert (first["data"], second["data"]) == ({"k": "1"}, {"k": "2"})
    assert first["metadata"]["uid"] == second["metadata"]["uid"]


async def test_a_dry_run_changes_nothing(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config("a"), namespace, dry_run=True)
    with pytest.raises(NotFoundError):
        await client.get(CONFIG_MAP, "a", namespace)


async def test_deletion_with_the_wrong_uid_is_refused(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config("a"), namespace)
    with pytest.raises(ConflictError):
        await client.delete(CONFIG_MAP, "a", namespace, DeleteOptions(uid=str(uuid.uuid4())))


async def test_finalizers_hold_a_deleted_object_until_they_are_gone(client: Client, namespace: str) -> None:
    held = core.ConfigMap(metadata=core.ObjectMeta(name="a", finalizers=("virt.test/held",)))
    await client.create(CONFIG_MAP, held, namespace)
    await client.delete(CONFIG_MAP, "a", namespace)
    assert (await client.get(CONFIG_MAP, "a", namespace)).metadata.deletion_timestamp
    await client.patch(CONFIG_MAP, "a", MergePatch({"metadata": {"finalizers": None}}), namespace=namespace)
    with pytest.raises(NotFoundError):
        await client.get(CONFIG_MAP, "a", namespace)


@pytest.mark.parametrize(("selector", "names"), [
    (Selector(labels="app=one"), ["a"]),
    (Selector(labels="app in (one,two)"), ["a", "b"]),
    (Selector(labels="app!=one,app"), ["b", "c"]),
    (Selector(fields="metadata.name=c"), ["c"]),
])
async def test_lists_are_selected(client: Client, namespace: str, selector: Selector, names: list[str]) -> None:
    for name, app in (("a", "one"), ("b", "two"), ("c", "three")):
        await client.create(CONFIG_MAP, config(name, app=app), namespace)
    labelled = Selector(selector.labels or "app", selector.fields)
    found = await client.list(CONFIG_MAP, namespace, labelled)
    assert [item.metadata.name for item in found.items] == names


async def test_untyped_objects_of_a_list_know_their_kind(client: Client, namespace: str) -> None:
    await client.create(RAW_CONFIG_MAP, {"metadata": {"name": "a"}, "data": {"k": "v"}}, namespace)
    found = await client.list(RAW_CONFIG_MAP, namespace, Selector(fields="metadata.name=a"))
    assert [(item["kind"], item["apiVersion"], item["data"]) for item in found.items] == [
        ("ConfigMap", "v1", {"k": "v"})
    ]


async def test_a_watch_goes_on_from_the_list(client: Client, namespace: str) -> None:
    await client.create(CONFIG_MAP, config("before"), namespace)
    version = (await client.list(CONFIG_MAP, namespace)).resource_version
    await client.create(CONFIG_MAP, config("a"), namespace)
    await client.patch(CONFIG_MAP, "a", MergePatch({"data": {"x": "1"}}), namespace=namespace)
    await client.delete(CONFIG_MAP, "a", namespace)
    events = client.watch(CONFIG_MAP, namespace, version, Selector(fields="metadata.name=a"))
    assert await next_events(events, 3) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_an_object_that_leaves_the_selection_is_deleted_for_the_watcher(client: Client, namespace: str) -> None:
    version = (await client.list(CONFIG_MAP, namespace)).resource_version
    await client.create(CONFIG_MAP, config("a", app="in"), namespace)
    patch = MergePatch({"metadata": {"labels": {"app": "out"}}})
    await client.patch(CONFIG_MAP, "a", patch, namespace=namespace)
    events = client.watch(CONFIG_MAP, namespace, version, Selector(labels="app=in"))
    assert await next_events(events, 2) == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_watch_from_the_distant_past_has_expired(client: Client, namespace: str) -> None:
    with pytest.raises(ExpiredError):
        await anext(client.watch(SECRET, namespace, "1"))


async def test_status_is_written_through_its_subresource_only(client: Client, namespace: str) -> None:
    pods: Kind[dict[str, Any]] = untyped("", "v1", "pods", "Pod", namespaced=True)
    spec = {"containers": [{"name": "c", "image": "none.invalid/x"}], "schedulerName": "nobody"}
    await client.create(pods, {"metadata": {"name": "a"}, "spec": spec}, namespace)
    plain = MergePatch({"status": {"phase": "Failed"}, "metadata": {"labels": {"k": "v"}}})
    after = await client.patch(POD, "a", plain, namespace=namespace)
    assert after.status.phase != "Failed"
    assert after.metadata.labels == {"k": "v"}
    written = await client.patch(
        POD, "a", MergePatch({"status": {"phase": "Failed", "message": "m"}}), namespace=namespace, subresource="status"
    )
    assert written.status.phase == "Failed"
    await client.delete(POD, "a", namespace, DeleteOptions(grace_period_s=0))
