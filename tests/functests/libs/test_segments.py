"""Networks of a test: made on every worker, and taken away again."""

from typing import Any, cast

from functests.libs.nodes import Node
from functests.libs.segments import Segments, connected


class FakeNode:
    name = "worker"

    def __init__(self) -> None:
        self.scripts: list[str] = []

    def run(self, script: str) -> str:
        self.scripts.append(script)
        return ""


def test_what_was_made_on_every_worker_is_removed_there() -> None:
    nodes = [FakeNode(), FakeNode()]
    made = Segments(cast("list[Node]", nodes))
    names = {made.make(), made.make()}
    assert len(names) == 2
    assert all(len(name) <= 15 for name in names)
    made.remove()
    for node in nodes:
        added, removed = node.scripts[:2], node.scripts[2:]
        assert [script.replace("add", "remove") for script in added] == removed


def test_a_guest_gets_an_interface_in_each_network() -> None:
    vmi: dict[str, Any] = {"spec": {"domain": {"devices": {"interfaces": [{"name": "default", "masquerade": {}}]}},
                                    "networks": [{"name": "default", "pod": {}}]}}
    spec = connected(vmi, "red", "blue", macAddress="02:00:00:00:00:01")["spec"]
    assert spec["domain"]["devices"]["interfaces"][1:] == [
        {"name": "red", "bridge": {}}, {"name": "blue", "bridge": {}, "macAddress": "02:00:00:00:00:01"}]
    assert spec["networks"][1:] == [
        {"name": name, "multus": {"networkName": name}} for name in ("red", "blue")]
