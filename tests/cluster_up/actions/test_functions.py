"""The configuration of virtual functions, and when all are offered."""

import json
from typing import Any

from cluster_up.actions.functions import configuration, missing, wanted_of
from cluster_up.state import LentCard
from virt.handler.pci import pools


def node(name: str, **allocatable: str) -> dict[str, Any]:
    offered = {f"intel.com/{resource}": count for resource, count in allocatable.items()}
    return {"metadata": {"name": name}, "status": {"allocatable": offered}}


def test_the_node_agents_understand_the_configuration() -> None:
    found = configuration(2)
    assert (found["metadata"]["name"], list(found["data"])) == (pools.CONFIG_MAP, [pools.CONFIG_KEY])
    config = pools.parsed(found["data"][pools.CONFIG_KEY])
    assert [(pool.full_name, pool.num_vfs, pool.selectors.pf_names) for pool in config.resource_list] == [
        ("intel.com/net1", 7, ("pf1",)), ("intel.com/net2", 7, ("pf2",))]
    assert json.loads(configuration(0)["data"][pools.CONFIG_KEY]) == {"resourceList": []}


def test_what_is_not_offered_in_full_is_named() -> None:
    nodes = [node("a-machine", net1="7", net2="6"), node("a-worker")]
    assert missing(nodes, wanted_of({"a-machine": 2}, ())) == ["a-machine: intel.com/net2 6 of 7"]
    assert missing(nodes, wanted_of({"a-machine": 1}, ())) == []
    assert missing(nodes, {}) == []
    assert missing([], wanted_of({"a-machine": 1}, ())) == ["a-machine: intel.com/net1 0 of 7"]


def test_lent_cards_come_after_those_of_machines() -> None:
    lent = LentCard(address="0000:01:00.0", name="eth1", most=64, node="a-worker")
    config = pools.parsed(configuration(2, (lent,))["data"][pools.CONFIG_KEY])
    assert [(pool.full_name, pool.num_vfs, pool.selectors.pf_names) for pool in config.resource_list][-1] == (
        "intel.com/net3", 64, ("eth1",))
    assert wanted_of({"a-machine": 1}, (lent,)) == {
        "a-machine": {"intel.com/net1": 7}, "a-worker": {"intel.com/net2": 64}}
    assert wanted_of({}, (lent,)) == {"a-worker": {"intel.com/net1": 64}}
