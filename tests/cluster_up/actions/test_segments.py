"""A worker's part of the networks that span the workers."""

import base64
import re

import pytest

from cluster_up import exec as host
from cluster_up.actions.segments import BRIDGE, script, workers
from cluster_up.images.recipe import RECIPES
from cluster_up.state import Node

NODES = (
    Node(name="n1", role="control-plane", address="172.18.0.1"),
    *(Node(name=f"n{number}", role="worker", address=f"172.18.0.{number}") for number in (2, 3)),
    Node(name="n4", role="machine", address="172.18.0.4"),
)


def test_guests_are_not_on_the_control_plane() -> None:
    assert [node.name for node in workers(NODES)] == ["n2", "n3", "n4"]


def test_a_worker_knows_itself_and_the_others() -> None:
    text = script(NODES[1], workers(NODES))
    found = re.findall(r"echo (\S+) \| base64 -d > (\S+)", text)
    written = {path: base64.b64decode(data).decode() for data, path in found}
    assert written["/etc/segments/own"] == "172.18.0.2\n"
    assert written["/etc/segments/peers"] == "172.18.0.3\n172.18.0.4\n"
    assert written["/etc/segments/list"] == f"{BRIDGE} 1\n"
    assert set(written) >= {"/usr/local/bin/segment", "/etc/systemd/system/segments.service"}
    assert text.rstrip().endswith("systemctl restart segments && echo segments work || echo no VXLAN")


@pytest.mark.runs_processes
def test_the_nodes_command_says_how_it_is_used() -> None:
    ended = host.run(["sh", RECIPES / "segments" / "segment", "join"], deadline_s=60, check=False)
    assert (ended.code, ended.stderr.splitlines()) == (
        2, ["usage: segment add|remove NAME NUMBER, segment restore"])
