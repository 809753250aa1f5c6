from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.kube import FakeKube
from virt.api import core, names
from virt.api.kinds import NODE
from virt.handler.node.heartbeat import KUBELET_AWAY_S, PERIOD_S, Heartbeat
from virt.handler.node.labels import changes, labels
from virt.kube.client import ApiError

NEHALEM = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: lm nx ssse3 sse4_1 cx16 sse4_2 popcnt\n\nprocessor\t: 1\n"
)


class Node:
    def __init__(self, folder: Path, **annotations: str) -> None:
        self.ready, self.kvm, self.cluster_model = False, False, ""
        self.clock = FakeClock()
        cpuinfo = folder / "cpuinfo"
        cpuinfo.write_text(NEHALEM)
        self.kube = FakeKube((NODE, core.Node(metadata=core.ObjectMeta(
            name="n", labels={"kept": "x", f"{names.CPU_MODEL_LABEL_PREFIX}Gone": "true"}, annotations=annotations))))
        self.heart = Heartbeat(
            self.kube, "n", is_ready=lambda: self.ready, kvm=lambda: self.kvm, clock=self.clock,
            cluster_model=lambda: self.cluster_model, cpuinfo=cpuinfo)

    @property
    def meta(self) -> core.ObjectMeta:
        node = self.kube.peek(NODE, "n")
        assert node is not None
        return node.metadata


async def test_the_node_is_schedulable_from_when_it_is_ready_until_it_is_not(tmp_path: Path) -> None:
    node = Node(tmp_path)
    await node.heart.beat()
    assert node.meta.labels[names.SCHEDULABLE_LABEL] == "false"
    node.ready = True
    await node.heart.beat()
    assert node.meta.labels[names.SCHEDULABLE_LABEL] == "true"
    assert node.meta.annotations[names.HEARTBEAT_ANNOTATION] == "2026-01-01T00:00:00Z"
    node.ready = False
    node.clock.passed_s += KUBELET_AWAY_S
    await node.heart.beat()
    assert node.meta.labels[names.SCHEDULABLE_LABEL] == "false"


async def test_a_kubelet_that_restarts_finds_the_label_that_its_pods_select(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.ready = True
    await node.heart.beat()
    node.ready = False
    node.clock.passed_s += KUBELET_AWAY_S / 2
    await node.heart.beat()
    assert node.meta.labels[names.SCHEDULABLE_LABEL] == "true"
    node.ready = True
    await node.heart.beat()
    node.ready = False
    node.clock.passed_s += KUBELET_AWAY_S - 1        # counted from when it was ready last
    await node.heart.beat()
    assert node.meta.labels[names.SCHEDULABLE_LABEL] == "true"


async def test_it_beats_once_a_minute_when_nothing_changes(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.ready = True
    await node.heart.beat()
    before = len(node.kube.writes)
    await node.heart.beat()
    assert len(node.kube.writes) == before
    node.clock.passed_s += PERIOD_S * 1.2
    await node.heart.beat()
    assert len(node.kube.writes) == before + 1
    assert node.meta.annotations[names.HEARTBEAT_ANNOTATION] == "2026-01-01T00:01:12Z"


async def test_a_failed_beat_is_tried_again(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.ready = True
    node.kube.fail("patch", "nodes", ApiError(500, "InternalError", "x"))
    await node.heart.beat()
    await node.heart.beat()
    assert node.meta.labels[names.SCHEDULABLE_LABEL] == "true"


async def test_labels_of_ability_are_written_as_a_whole(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.kvm = True
    await node.heart.beat()
    found = node.meta.labels
    assert found["kept"] == "x"
    assert f"{names.CPU_MODEL_LABEL_PREFIX}Gone" not in found
    assert found[f"{names.CPU_MODEL_LABEL_PREFIX}Nehalem"] == "true"
    assert f"{names.CPU_MODEL_LABEL_PREFIX}Westmere" not in found
    assert found[f"{names.CPU_FEATURE_LABEL_PREFIX}sse4.2"] == "true"
    assert found[f"{names.CPU_VENDOR_LABEL_PREFIX}Intel"] == "true"
    assert found[f"{names.HOST_MODEL_LABEL_PREFIX}Nehalem"] == "true"
    assert found[f"{names.MACHINE_TYPE_LABEL_PREFIX}q35"] == "true"
    assert found[names.KVM_LABEL] == "true"


async def test_a_person_may_keep_the_labels_for_themselves(tmp_path: Path) -> None:
    node = Node(tmp_path, **{names.SKIP_NODE_LABELLER_ANNOTATION: "true"})
    await node.heart.beat()
    assert f"{names.CPU_MODEL_LABEL_PREFIX}Gone" in node.meta.labels


@pytest.mark.parametrize(("cluster_model", "expected"), [
    ("", names.EMULATED_CPU_MODEL), ("host-model", names.EMULATED_CPU_MODEL), ("Westmere", "Westmere"),
])
async def test_under_emulation_the_nodes_own_model_is_what_the_launcher_takes(
    tmp_path: Path, cluster_model: str, expected: str
) -> None:
    node = Node(tmp_path)
    node.cluster_model = cluster_model
    await node.heart.beat()
    assert _own_models(node.meta.labels) == [expected]


async def test_another_model_of_the_cluster_is_told_at_once(tmp_path: Path) -> None:
    node = Node(tmp_path)
    for model in ("", "Westmere", ""):
        node.cluster_model = model
        await node.heart.beat()
        assert _own_models(node.meta.labels) == [model or names.EMULATED_CPU_MODEL]


def _own_models(found: Iterable[str]) -> list[str]:
    return [label.partition("/")[2] for label in found if label.startswith(names.HOST_MODEL_LABEL_PREFIX)]


@pytest.mark.parametrize(("cpuinfo", "expected"), [
    (NEHALEM, "Nehalem"),
    ("vendor_id\t: AuthenticAMD\nflags\t: nx lm pni cx16 svm\n", "Opteron_G2"),
    ("vendor_id\t: Unknown\nflags\t: nx\n", "qemu64"),
])
def test_with_kvm_the_nodes_own_model_is_the_best_of_its_vendor(cpuinfo: str, expected: str) -> None:
    assert _own_models(labels(cpuinfo, kvm=True)) == [expected]


def test_emulation_knows_the_models_that_tcg_has() -> None:
    found = labels(NEHALEM, kvm=False)
    assert f"{names.CPU_MODEL_LABEL_PREFIX}Westmere" in found
    assert f"{names.CPU_MODEL_LABEL_PREFIX}SandyBridge" not in found
    assert changes(found, found) == {}


@pytest.mark.parametrize("label", sorted({*labels(NEHALEM, kvm=False), *labels(NEHALEM, kvm=True)}))
def test_every_label_is_one_that_kubernetes_takes(label: str) -> None:
    assert len(label.rpartition("/")[2]) <= 63
    assert label.rpartition("/")[2][0].isalnum()
