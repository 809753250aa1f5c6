"""A node's part of the pod network."""

import base64
import re

from cluster_up.actions.network import conflist, routes, script
from cluster_up.state import Node

NODES = tuple(
    Node(name=f"n{number}", role="worker", address=f"172.18.0.{number}", pod_cidr=f"10.244.{number}.0/24")
    for number in (1, 2, 3)
)


def test_a_node_has_a_route_to_each_other_nodes_pods_and_none_to_its_own() -> None:
    assert routes(NODES[0], NODES) == "10.244.2.0/24 172.18.0.2\n10.244.3.0/24 172.18.0.3\n"


def test_sources_stay_as_they_are_between_pods() -> None:
    ptp = conflist("10.244.1.0/24")["plugins"][0]
    assert ptp["ipMasq"] is False
    assert ptp["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]


def test_the_script_writes_its_files_whole() -> None:
    text = script(NODES[1], NODES, "10.244.0.0/16", "10.96.0.0/16")
    found = re.findall(r"echo (\S+) \| base64 -d > (\S+)", text)
    written = {path: base64.b64decode(data).decode() for data, path in found}
    assert written["/etc/pod-network/cidr"] == "10.244.0.0/16\n"
    assert written["/etc/pod-network/services"] == "10.96.0.0/16\n"
    assert written["/etc/pod-network/routes"] == routes(NODES[1], NODES)
    assert text.rstrip().endswith("systemctl restart pod-network")
