"""Cordons and taints for the length of a block take back what is theirs and nothing else."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from functests.libs import placement
from functests.libs.rest import Answer

OTHER = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


class Server:
    """One node, as ``Rest`` is asked for it. ``meanwhile`` is what somebody else does before the next write."""

    def __init__(self) -> None:
        self.node: dict[str, Any] = {"metadata": {"resourceVersion": "1"}, "spec": {"taints": [OTHER]}}
        self.meanwhile: Callable[[], None] = lambda: None

    def get(self, _path: str) -> Answer:
        return Answer(200, copy.deepcopy(self.node), "", {})

    def patch(self, _path: str, patch: dict[str, Any]) -> Answer:
        self.meanwhile()
        self.meanwhile = lambda: None
        version = self.node["metadata"]["resourceVersion"]
        if patch.get("metadata", {}).get("resourceVersion", version) != version:
            return Answer(409, {}, "conflict", {})
        self.write(**patch["spec"])
        return Answer(200, self.node, "", {})

    def write(self, **spec: Any) -> None:
        found = {**self.node["spec"], **spec}
        self.node["spec"] = {key: value for key, value in found.items() if value is not None}
        self.node["metadata"] = {"resourceVersion": str(int(self.node["metadata"]["resourceVersion"]) + 1)}


def test_a_taint_is_there_for_the_block_and_those_of_others_stay() -> None:
    server = Server()
    with placement.tainted(server, "a", "own", "NoExecute"):  # type: ignore[arg-type]
        assert server.node["spec"]["taints"] == [OTHER, {"key": "own", "effect": "NoExecute"}]
    assert server.node["spec"] == {"taints": [OTHER]}


def test_what_others_write_in_between_is_kept() -> None:
    server = Server()
    late = {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}
    server.meanwhile = lambda: server.write(unschedulable=True)
    with placement.tainted(server, "a", "own", "NoSchedule"):  # type: ignore[arg-type]
        server.meanwhile = lambda: server.write(taints=[*server.node["spec"]["taints"], late])
    assert server.node["spec"] == {"taints": [OTHER, late], "unschedulable": True}


def test_both_go_where_the_block_fails() -> None:
    server = Server()

    def fail() -> None:
        with placement.cordoned(server, "a"), placement.tainted(server, "a", "own", "NoSchedule"):  # type: ignore[arg-type]
            assert server.node["spec"]["unschedulable"] is True
            raise ValueError("of the test")

    with pytest.raises(ValueError, match="of the test"):
        fail()
    assert server.node["spec"] == {"taints": [OTHER]}
