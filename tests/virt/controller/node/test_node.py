import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from virt.api import core, names
from virt.api.kinds import NODE
from virt.controller.node.controller import NodeReconciler
from virt.controller.node.health import is_lost
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
    assert is_lost(node(heartbeat), clock.now()) is lost
    kube = FakeKube((NODE, node(heartbeat)), clock=clock)
    nodes = Informer(kube, NODE, clock=clock)
    nodes.store.replace((await kube.list(NODE)).items)
    reconciler = NodeReconciler(kube, nodes, EventRecorder(kube, "node-controller", clock=clock), clock=clock)
    await reconciler.reconcile("n1")
    await reconciler.reconcile("n1")
    stored = kube.peek(NODE, "n1")
    assert stored is not None
    assert stored.metadata.labels[names.SCHEDULABLE_LABEL] == ("false" if lost else "true")
    assert len(kube.writes) == int(lost)
