"""The table of unbuilt fields: each row refuses, nothing else does, and the document is up to date."""

from pathlib import Path
from typing import Any

import pytest

from virt.api import codec, unbuilt, v1
from virt.api.unbuilt import Unbuilt

# Values for fields that an empty object or a string does not fill.
_VALUES: dict[str, Any] = {
    "domain.memory.maxGuest": "1Gi", "domain.cpu.dedicatedCpuPlacement": True,
    "domain.cpu.isolateEmulatorThread": True, "domain.devices.interfaces[].acpiIndex": 3,
    "domain.features.hyperv": {"relaxed": {}},
    "domain.features.hypervPassthrough": {"enabled": True}, "domain.launchSecurity": {"sev": {}},
    "domain.devices.gpus[].virtualGPUOptions": {"display": {}},
    "domain.memory.reservedOverhead": {"a": 1}, "networks[].resourceClaim": {"a": 1}, "resourceClaims[]": {"a": 1},
    "utilityVolumes[]": {"a": 1}, "volumes[].containerPath": {"path": "/a"},
    "domain.devices.interfaces[].portRanges[]": {"a": 1},
}
_STRINGS = (
    "serviceAccountName", "pciAddress", "tag", "ioThreadsPolicy", "rebootPolicy", "vmiName",
)
_SWITCHES = (
    "Multiqueue", "MultiQueue", "dedicatedIOThread", "autoattachVSOCK", "useVirtioTransitional", "disableHotplug",
    "persistent", "default",
)


def filled(row: Unbuilt) -> dict[str, Any]:
    """A spec with nothing but the row's field."""
    *way, last = row.path.split(".")
    if row.values:
        value: Any = row.values[0]
    elif row.path in _VALUES:
        value = _VALUES[row.path]
    elif last in _STRINGS:
        value = "x"
    else:
        value = True if last.endswith(_SWITCHES) else {}
    for part in reversed([*way, last]):
        value = {part[:-2]: [value]} if part.endswith("[]") else {part: value}
    document: dict[str, Any] = value
    return document


@pytest.mark.parametrize("row", unbuilt.INSTANCE_SPEC, ids=lambda row: row.path)
def test_each_field_of_a_vmi_is_refused_at_its_path(row: Unbuilt) -> None:
    spec = codec.from_json(filled(row), v1.VirtualMachineInstanceSpec)
    path = "spec.template.spec." + row.path.replace("[]", "[0]")
    causes = list(unbuilt.instance_spec("spec.template.spec", spec))
    if row.path.endswith("[]") and not causes:
        pytest.fail("the field is not refused")
    assert [cause.field for cause in causes] == [path]
    assert "is not supported yet" in causes[0].message


@pytest.mark.parametrize("row", unbuilt.MACHINE_SPEC, ids=lambda row: row.path)
def test_each_field_of_a_vm_is_refused_at_its_path(row: Unbuilt) -> None:
    spec = codec.from_json(filled(row), v1.VirtualMachineSpec)
    assert [cause.field for cause in unbuilt.machine_spec("spec", spec)] == ["spec." + row.path.replace("[]", "[0]")]


@pytest.mark.parametrize(("multus", "interface", "refused"), [
    ({}, {"sriov": {}}, False), ({"default": True}, {"sriov": {}}, True), ({}, {"bridge": {}}, False),
    ({"default": True}, {"bridge": {}}, True),
])
def test_secondary_networks_are_built_but_not_in_the_place_of_the_pod_network(
    multus: dict[str, Any], interface: dict[str, Any], refused: bool
) -> None:
    spec = codec.from_json({
        "networks": [{"name": "default", "pod": {}}, {"name": "n", "multus": {"networkName": "n", **multus}}],
        "domain": {"devices": {"interfaces": [{"name": "default", "bridge": {}}, {"name": "n", **interface}]}},
    }, v1.VirtualMachineInstanceSpec)
    found = [cause.field for cause in unbuilt.instance_spec("spec", spec)]
    assert found == (["spec.networks[1].multus.default"] if refused else [])


def test_off_and_empty_are_fine() -> None:
    spec = codec.from_json({
        "domain": {"devices": {"autoattachVSOCK": False, "disableHotplug": False, "hostDevices": []},
                   "cpu": {"dedicatedCpuPlacement": False}},
        "serviceAccountName": "",
    }, v1.VirtualMachineInstanceSpec)
    assert list(unbuilt.instance_spec("spec", spec)) == []


def test_the_document_is_fresh() -> None:
    document = Path(__file__).parents[3] / unbuilt.DOCUMENT
    assert document.read_text() == unbuilt.document(), "run: python -m virt.api.unbuilt"


def test_a_field_is_either_built_or_refused() -> None:
    built = unbuilt.built_fields()
    assert "domain.cpu.cores" in built
    assert "affinity" in built
    assert "readinessProbe.tcpSocket.port" in built
    unbuilt_ones = ("domain.devices.tpm", "volumes[].dataVolume", "resourceClaims")
    assert not [path for path in built if path.startswith(unbuilt_ones)]
