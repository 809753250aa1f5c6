"""A guest with the CPU of its node, and which other nodes can go on with it."""

import pytest

from virt.api import core, names, v1
from virt.controller.migration.hostmodel import nobody_fits, selector

MIGRATION, FEATURE = names.CPU_MODEL_MIGRATION_LABEL_PREFIX, names.CPU_FEATURE_LABEL_PREFIX
VENDOR, OWN = names.CPU_VENDOR_LABEL_PREFIX, names.HOST_MODEL_LABEL_PREFIX
NEHALEM = {f"{MIGRATION}Nehalem": "true", f"{VENDOR}Intel": "true"}
LABELS = {
    "kubernetes.io/hostname": "a", f"{OWN}Nehalem": "true", f"{names.HOST_MODEL_FEATURE_LABEL_PREFIX}aes": "true",
    f"{MIGRATION}Conroe": "true", f"{FEATURE}popcnt": "true", **NEHALEM,
}


def vmi(model: str = "host-model") -> v1.VirtualMachineInstance:
    return v1.VirtualMachineInstance(
        spec=v1.VirtualMachineInstanceSpec(domain=v1.DomainSpec(cpu=v1.CPU(model=model))))


def node(labels: dict[str, str], name: str = "a") -> core.Node:
    return core.Node(metadata=core.ObjectMeta(name=name, labels=labels))


def pod(**selector: str) -> core.Pod:
    return core.Pod(spec=core.PodSpec(node_selector=selector))


@pytest.mark.parametrize(("model", "source", "labels", "expected"), [
    ("host-model", {}, LABELS, {**NEHALEM, f"{FEATURE}aes": "true"}),
    ("host-model", {f"{FEATURE}vmx": "true", "zone": "1"}, LABELS,
     {**NEHALEM, f"{FEATURE}aes": "true", f"{FEATURE}vmx": "true"}),
    # It has moved: to a node with a better CPU, which is not what the guest has.
    ("host-model", {f"{MIGRATION}Conroe": "true", f"{VENDOR}Intel": "true"}, LABELS,
     {f"{MIGRATION}Conroe": "true", f"{VENDOR}Intel": "true"}),
    ("host-model", {"zone": "1"}, {"kubernetes.io/hostname": "a"}, {}),
    ("Nehalem", {}, LABELS, {}),
    ("", {}, LABELS, {}),
])
def test_what_the_targets_node_must_have(
    model: str, source: dict[str, str], labels: dict[str, str], expected: dict[str, str]
) -> None:
    assert selector(vmi(model), pod(**source), node(labels)) == expected
    assert selector(vmi(model), None, None) == {}


def test_nobody_fits_where_only_the_guests_own_node_does() -> None:
    here, there = node(LABELS), node({f"{VENDOR}Intel": "true"}, "b")
    asks = pod(**NEHALEM, zone="1")
    assert nobody_fits(asks, [here, there], "a") == f"{MIGRATION}Nehalem, {VENDOR}Intel"
    assert nobody_fits(asks, [here, node(NEHALEM, "b")], "a") == ""
    assert nobody_fits(pod(zone="1"), [here, there], "a") == ""
