"""What kind is asked for."""

from pathlib import Path

import yaml

from cluster_up.config.types import Config
from cluster_up.providers.capacity import Reserve
from cluster_up.providers.kind import node_config, registry_host

KEPT = {"control-plane": Reserve(1200, 2000), "worker": Reserve(1400, 3000)}


def test_every_node_mounts_the_clusters_folder_which_is_how_it_is_known_to_be_ours() -> None:
    document = node_config(Config(workers=2), Path("/state/dev"), KEPT)
    assert [node["role"] for node in document["nodes"]] == ["control-plane", "worker", "worker"]
    for node in document["nodes"]:
        assert "/state/dev/shared" in [mount["hostPath"] for mount in node["extraMounts"]]


def test_each_role_reserves_its_own_share() -> None:
    document = node_config(Config(workers=1), Path("/state/dev"), KEPT)
    flags = [
        yaml.safe_load(patch)["nodeRegistration"]["kubeletExtraArgs"]["system-reserved"]
        for node in document["nodes"]
        for patch in node["kubeadmConfigPatches"]
    ]
    assert flags == ["cpu=1200m,memory=2000Mi"] * 2 + ["cpu=1400m,memory=3000Mi"] * 2


def test_a_leader_is_elected_among_several_control_planes_only() -> None:
    def asked(count: int) -> list[dict[str, str]]:
        patches = node_config(Config(control_planes=count), Path("/s"), KEPT)["kubeadmConfigPatches"]
        control_plane = next(one for one in map(yaml.safe_load, patches) if one["kind"] == "ClusterConfiguration")
        return [control_plane[part]["extraArgs"] for part in ("controllerManager", "scheduler")]

    assert asked(1) == [{"leader-elect": "false"}] * 2
    assert asked(3) == [{}, {}]


def test_the_api_is_published_on_the_loopback_only() -> None:
    assert node_config(Config(), Path("/s"), KEPT)["networking"]["apiServerAddress"] == "127.0.0.1"


def test_clusters_have_registries_of_their_own() -> None:
    assert registry_host("one") != registry_host("two")
