"""Settings: every fault in one go, each with its place and what is allowed."""

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from cluster_up.config.load import load, shown
from cluster_up.config.types import Config
from cluster_up.errors import ConfigError


def faults_of(file: Path | None, environment: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(file, {}, environment or {})
    assert caught.value.exit_code == 2
    return caught.value.faults


def test_without_anything_the_defaults_hold() -> None:
    assert load(None, {}, {}).config == Config()


@pytest.mark.parametrize(
    ("name", "text"),
    [("c.toml", 'workers = 3\nmemory = "8Gi"\n'), ("c.yaml", "workers: 3\nmemory: 8Gi\n")],
)
def test_both_kinds_of_file_mean_the_same(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    config = load(tmp_path / name, {}, {}).config
    assert (config.workers, config.memory_mib) == (3, 8192)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('name = "from-file"\nworkers = 1\npod_cidr = "10.1.0.0/16"\n')
    environment = {"VIRT_CLUSTER_NAME": "from-environment", "VIRT_CLUSTER_WORKERS": "4", "HOME": "/x"}
    loaded = load(file, {"name": "from-option", "workers": None}, environment)
    assert (loaded.config.name, loaded.config.workers) == ("from-option", 4)
    assert loaded.config.pod_cidr == IPv4Network("10.1.0.0/16")
    assert loaded.sources["workers"] == "environment"
    assert loaded.sources["pod_cidr"] == str(file)


def test_all_faults_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('workers = 0\nworker = 2\nkubernetes_version = "1.2"\npod_cidr = "10.0.0.1/16"\nname = 7\n')
    faults = faults_of(file, {"VIRT_CLUSTER_WORKRES": "2", "VIRT_CLUSTER_REGISTRY_PORT": "70000"})
    assert len(faults) == 7, faults
    places = ("workers: 0", "worker: no such", "kubernetes_version: '1.2'", "pod_cidr: '10.0.0.1/16'", "name: 7")
    for place in places:
        assert any(fault.startswith(f"{file}: {place}") for fault in faults), (place, faults)
    assert any(fault.startswith("environment: VIRT_CLUSTER_WORKRES: no such setting") for fault in faults)
    assert any("VIRT_CLUSTER_REGISTRY_PORT: '70000'" in fault and "1 to 65535" in fault for fault in faults)


@pytest.mark.parametrize("value", [True, 1.5, "two", "-1", 11, None])
def test_workers_are_a_whole_number_in_a_range(tmp_path: Path, value: object) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(f"workers: {'null' if value is None else value}\n")
    assert "from 1 to 10" in faults_of(file)[0]


def test_overlapping_networks_are_a_fault() -> None:
    assert "overlap" in faults_of(None, {"VIRT_CLUSTER_SERVICE_CIDR": "10.244.128.0/20"})[0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.yaml", "workers:\t2\n\tname: x", "c.yaml: "),
        ("c.toml", "workers = ", "c.toml: "),
        ("c.ini", "workers=1", "allowed: .toml, .yaml, .yml"),
        ("c.yaml", "- 1", "holds a list"),
        ("missing.toml", None, "cannot be read"),
    ],
)
def test_an_unreadable_file_is_a_fault_and_no_traceback(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    assert said in faults_of(tmp_path / name)[0]


def test_printed_values_can_be_read_again(tmp_path: Path) -> None:
    loaded = load(None, {"name": "other", "workers": 5}, {"VIRT_CLUSTER_MEMORY": "9000Mi"})
    file = tmp_path / "again.toml"
    file.write_text(shown(loaded))
    assert load(file, {}, {}).config == loaded.config
    assert "# command line" in shown(loaded)
