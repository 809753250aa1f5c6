"""Where Kubernetes may put pods: nodes that are cordoned or tainted for the length of a block.

What others write to a node meanwhile stays: each write takes back its own part of the node as it is then.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from functests.libs import patience, undo
from functests.libs.rest import Answer, Rest

Taint = dict[str, Any]


@contextmanager
def cordoned(rest: Rest, node: str) -> Iterator[None]:
    """No pod is scheduled to the node inside the block."""
    path, back = f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}
    note = undo.noted(undo.Request(method="PATCH", path=path, body=back))
    rest.patch(path, {"spec": {"unschedulable": True}}).ok()
    try:
        yield
    finally:
        rest.patch(path, back).ok()
        note.done()


@contextmanager
def tainted(rest: Rest, node: str, key: str, effect: str) -> Iterator[None]:
    """The node has that taint inside the block."""
    taint = {"key": key, "effect": effect}
    note = undo.noted(undo.Taint(node=node, key=key, effect=effect))
    _change(rest, node, lambda taints: [*taints, taint])
    try:
        yield
    finally:
        untaint(rest, node, key, effect)
        note.done()


def untaint(rest: Rest, node: str, key: str, effect: str) -> None:
    """The node has that taint no more."""
    def is_it(known: Taint) -> bool:
        return (known["key"], known["effect"]) == (key, effect)

    _change(rest, node, lambda taints: [known for known in taints if not is_it(known)])


def _change(rest: Rest, node: str, change: Callable[[list[Taint]], list[Taint]]) -> None:
    path = f"/api/v1/nodes/{node}"

    def written() -> Answer:
        found = rest.get(path).ok()
        taints = change(found["spec"].get("taints") or [])
        guard = {"resourceVersion": found["metadata"]["resourceVersion"]}
        return rest.patch(path, {"metadata": guard, "spec": {"taints": taints or None}})

    # 409: somebody wrote in between, such as the kubelet its heartbeat.
    patience.eventually(
        f"the taints of {node} are written", written, lambda answer: answer.code != 409, within_s=60, every_s=0.1).ok()
