"""The configuration in force."""

import pytest

from virt.api import clusterconfig, codec, featuregates, v1
from virt.api.clusterconfig import ClusterConfig


def effective(**configuration: object) -> ClusterConfig:
    return clusterconfig.effective(codec.from_json({"spec": {"configuration": configuration}}, v1.KubeVirt))


def test_an_empty_cr_means_the_defaults() -> None:
    assert effective() == ClusterConfig() == clusterconfig.effective(None)


def test_what_is_written_wins_and_the_rest_keeps_its_default() -> None:
    config = effective(
        developerConfiguration={"useEmulation": True},
        cpuModel="Nehalem",
        network={"defaultNetworkInterface": "masquerade", "permitBridgeInterfaceOnPodNetwork": False},
        architectureConfiguration={"amd64": {"machineType": "pc-q35-9.2"}},
    )
    assert config.use_emulation
    assert config.cpu_model == "Nehalem"
    assert config.default_network_interface == "masquerade"
    assert not config.permit_bridge_on_pod_network
    assert config.architecture("amd64").machine_type == "pc-q35-9.2"
    assert config.architecture("amd64").emulated_machines == ("q35*", "pc-q35*")


def test_post_copy_allows_disruption_unless_told_otherwise() -> None:
    assert effective(migrations={"allowPostCopy": True}).migrations.allow_workload_disruption
    refused = effective(migrations={"allowPostCopy": True, "allowWorkloadDisruption": False})
    assert not refused.migrations.allow_workload_disruption


def test_an_unknown_default_architecture_does_no_harm() -> None:
    config = effective(architectureConfiguration={"defaultArchitecture": "sparc"})
    assert config.architecture("sparc").machine_type == "q35"


@pytest.mark.parametrize(("gate", "default", "enabled", "disabled"), [
    ("LiveMigration", True, True, True),          # GA
    ("Snapshot", True, True, False),              # Beta
    ("HostDisk", False, True, False),             # Alpha
    ("HotplugVolumes", False, True, False),       # Deprecated
    ("Passt", False, False, False),               # Discontinued
    ("NoSuchGate", False, True, False),
])
def test_feature_gates(gate: str, *, default: bool, enabled: bool, disabled: bool) -> None:
    nothing, it = frozenset[str](), frozenset({gate})
    assert featuregates.is_enabled(gate, nothing, nothing) is default
    assert featuregates.is_enabled(gate, it, nothing) is enabled
    assert featuregates.is_enabled(gate, nothing, it) is disabled
    assert featuregates.is_enabled(gate, it, it) is (enabled if gate != "NoSuchGate" else True)
