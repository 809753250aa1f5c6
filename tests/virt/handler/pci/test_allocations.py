"""The kubelet's checkpoint. The form is that of kubelet 1.34 (pkg/kubelet/cm/devicemanager/checkpoint)."""

import json
from pathlib import Path
from typing import Any

import pytest

from virt.handler.pci.allocations import CHECKPOINT, AllocationsError, in_use, parsed, read


def entry(pod: str, resource: str, *ids: str, container: str = "compute", node: str = "-1") -> dict[str, Any]:
    return {
        "PodUID": pod, "ContainerName": container, "ResourceName": resource, "DeviceIDs": {node: list(ids)},
        "AllocResp": "CgA=",
    }


def checkpoint(*entries: dict[str, Any]) -> bytes:
    return json.dumps({
        "Data": {"PodDeviceEntries": list(entries) or None, "RegisteredDevices": {"intel.com/net1": ["a"]}},
        "Checksum": 1234,
    }).encode()


def test_devices_are_told_by_pod_and_resource() -> None:
    found = parsed(checkpoint(
        entry("p1", "intel.com/net1", "b", node="1"), entry("p1", "intel.com/net1", "a", container="other"),
        entry("p1", "devices.kubevirt.io/tun", "tun7"), entry("p2", "intel.com/net1", "c")))
    assert found["p1"] == {"intel.com/net1": ("a", "b"), "devices.kubevirt.io/tun": ("tun7",)}
    assert found["p2"] == {"intel.com/net1": ("c",)}


def test_a_node_where_nobody_has_anything(tmp_path: Path) -> None:
    assert read(tmp_path) == {}
    (tmp_path / CHECKPOINT).write_bytes(checkpoint())
    assert read(tmp_path) == {}


@pytest.mark.parametrize("text", [b"", b"[]", b'{"Data":{"PodDeviceEntries":[{"PodUID":1}]}}'])
def test_another_form_is_an_error_and_not_an_empty_node(text: bytes) -> None:
    with pytest.raises(AllocationsError, match="is not what it should be"):
        parsed(text)


def test_a_form_without_data_is_an_error() -> None:
    with pytest.raises(AllocationsError):
        parsed(b'{"V2":{}}')


def test_only_pods_with_a_process_use_what_they_have() -> None:
    found = parsed(checkpoint(
        entry("p1", "intel.com/net1", "a"), entry("p2", "intel.com/net1", "b"), entry("p1", "other.com/x", "c")))
    assert in_use(found, {"a", "b"}, lambda: {"p1"}) == {"a": "intel.com/net1"}


def test_processes_are_not_looked_at_while_no_pod_has_a_device() -> None:
    found = parsed(checkpoint(entry("p1", "devices.kubevirt.io/tun", "tun1")))
    assert in_use(found, {"a"}, lambda: pytest.fail("nobody needs to know")) == {}
