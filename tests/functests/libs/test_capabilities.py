"""What a cluster can do, from canned answers."""

import json
from pathlib import Path
from typing import Any

import pytest

from functests.libs import capabilities
from functests.libs.capabilities import Capability
from functests.libs.cluster import Cluster

NODE = {"spec": {"podCIDRs": ["10.1.0.0/24", "fd00::/64"]}, "status": {"allocatable": {"example.com/vf": "2"}}}
CLUSTER = Cluster("one", Path("k"), ("a", "b"), ("b",), {"tiny-kernel": {}}, {}, {"kvm": True, "shared": True})


def test_nodes_tell_families_and_devices() -> None:
    found = capabilities.of_nodes([NODE])
    assert found["ipv6"].can
    assert found["hostdev"] == Capability(True, "devices that nodes offer: example.com/vf")
    own = {f"devices.kubevirt.io/{name}": "1k" for name in ("tun", "container-disk")}
    found = capabilities.of_nodes([{**NODE, "status": {"allocatable": own}}])
    assert found["hostdev"] == Capability(False, "devices that nodes offer: none")


def test_a_claim_counts_only_where_the_cluster_agrees() -> None:
    found = capabilities.of_api({"snapshot.storage.k8s.io"}, [{"name": "local"}], {"shared": True})
    assert not found["shared"].can
    assert not found["snapshot"].can
    assert found["shared"].why == "state file: true, seen in the cluster: false"


def test_a_guest_with_a_function_needs_two_nodes_that_have_some() -> None:
    with_functions = {"status": {"allocatable": {"intel.com/net1": "7"}}}
    taken = {"status": {"allocatable": {"intel.com/net1": "0"}}}
    assert capabilities.two_sriov([with_functions, with_functions, NODE]).can
    found = capabilities.two_sriov([with_functions, taken, NODE])
    assert found == Capability(False, "nodes that offer intel.com/net1: 1")


def test_they_are_measured_once_per_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def measured(cluster: Cluster, admin: Any) -> dict[str, Capability]:
        calls.append(cluster.name)
        return capabilities.of_status(cluster)

    monkeypatch.setattr(capabilities, "measured", measured)
    file = tmp_path / "capabilities.json"
    first = capabilities.known(CLUSTER, None, file=file, run="r1")  # type: ignore[arg-type]
    assert capabilities.known(CLUSTER, None, file=file, run="r1") == first  # type: ignore[arg-type]
    assert calls == ["one"]
    capabilities.known(CLUSTER, None, file=file, run="r2")  # type: ignore[arg-type]
    assert len(calls) == 2
    assert json.loads(file.read_text())["run"] == "r2"
    assert capabilities.missing(first, ("two-nodes", "agent")) == ["two-nodes (1 workers)"]
    with pytest.raises(KeyError):
        capabilities.missing(first, ("misspelt",))


class Machine:
    """In place of a node: whether it has the module."""

    def __init__(self, name: str, code: int) -> None:
        self.name = name
        self._code = code

    def try_run(self, script: str) -> tuple[int, str]:
        assert "mtty" in script
        return self._code, ""


@pytest.mark.parametrize(("machines", "can", "why"), [
    ([], False, "no worker is a virtual machine"),
    ([Machine("m1", 0), Machine("m2", 1)], False, "its kernel has no module mtty: m2"),
    ([Machine("m1", 0)], True, "module mtty is there"),
])
def test_mediated_devices_need_a_driver_that_makes_some(machines: Any, can: bool, why: str) -> None:
    assert capabilities.of_machines(machines) == Capability(can, why)
