import asyncio

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from tests.waits import until
from virt.api import core, names
from virt.api.kinds import NODE
from virt.controller.node.controller import NodeReconciler
from virt.controller.node.health import HEARD_S, is_lost
from virt.kube.client import ApiError
from virt.kube.events import EventRecorder
from virt.kube.informer import Informer

OLD, FRESH, FUTURE = "2025-12-31T23:50:00Z", "2025-12-31T23:58:00Z", "2026-01-01T01:00:00Z"


def node(heartbeat: str | None, schedulable: str = "true") -> core.Node:
    annotations = {} if heartbeat is None else {names.HEARTBEAT_ANNOTATION: heartbeat}
    return core.Node(metadata=core.ObjectMeta(
        name="n1", labels={names.SCHEDULABLE_LABEL: schedulable}, annotations=annotations))


@pytest.mark.parametrize(("heartbeat", "lost"), [
    (OLD, True), (FRESH, False), (FUTURE, False), ("garbage", False), ("", False), (None, False),
])
async def test_only_an_old_heartbeat_takes_a_node_out(heartbeat: str | None, lost: bool) -> None:
    clock = FakeClock()
    assert is_lost(node(heartbeat), clock.now(), HEARD_S) is lost
    kube = FakeKube((NODE, node(heartbeat)), clock=clock)
    nodes = Informer(kube, NODE, clock=clock)
    nodes.store.replace((await kube.list(NODE)).items)
    clock.passed_s += HEARD_S
    reconciler = NodeReconciler(kube, nodes, EventRecorder(kube, "node-controller", clock=clock), clock=clock)
    await reconciler.reconcile("n1")
    await reconciler.reconcile("n1")
    stored = kube.peek(NODE, "n1")
    assert stored is not None
    assert stored.metadata.labels[names.SCHEDULABLE_LABEL] == ("false" if lost else "true")
    assert len(kube.writes) == int(lost)


async def test_no_node_is_lost_when_the_api_server_was_away_for_long() -> None:
    clock = FakeClock()
    kube = FakeKube((NODE, node(OLD)), clock=clock)
    nodes = Informer(kube, NODE, clock=clock)
    reconciler = NodeReconciler(kube, nodes, EventRecorder(kube, "node-controller", clock=clock), clock=clock)
    clock.passed_s += 600
    kube.fail("list", NODE.plural, ApiError(503, "Unreachable", "nobody answers"))
    following = asyncio.create_task(nodes.run())
    await until(nodes.synced.is_set)
    await reconciler.reconcile("n1")
    assert not kube.writes, "every handler is about to say that it lives"
    clock.passed_s += HEARD_S
    await reconciler.reconcile("n1")
    following.cancel()
    assert [call.verb for call in kube.writes] == ["patch"]
