"""What `up` refuses, it refuses before anything is made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster_up import commands, doctor, engine, leftovers, paths
from cluster_up import exec as host
from cluster_up import state as states
from cluster_up.config.types import Config
from cluster_up.doctor import Check
from cluster_up.errors import ConfigError, DoctorFailed, ForeignCluster, StepFailed
from cluster_up.kube import Kube
from cluster_up.machines import room
from cluster_up.machines.provider import WithMachines
from cluster_up.providers import choice
from cluster_up.providers.api import Existence, NodeView
from cluster_up.providers.kind import KindProvider
from cluster_up.state import State


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setattr(doctor, "quick", tuple)
    monkeypatch.setattr(engine, "fault", lambda: None)
    monkeypatch.setattr(leftovers, "sweep", lambda: None)         # the real one looks at this machine's containers
    monkeypatch.setattr(commands, "_up", lambda *args: pytest.fail("work was begun"))


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "quick", lambda: [Check("disk", "fail", "2 GiB free", "make room")])
    with pytest.raises(DoctorFailed, match="2 GiB free"):
        commands.up(Config(name="t"), until=None, force=False)
    assert not paths.cluster_folder("t").exists()


def test_a_cluster_of_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KindProvider, "existence", lambda self: Existence.FOREIGN)
    with pytest.raises(ForeignCluster, match="'t'"):
        commands.up(Config(name="t"), until=None, force=False)
    assert not paths.cluster_folder("t").exists()


def test_another_port_for_a_registry_that_has_one() -> None:
    config = Config(name="t", registry_port=5001)
    states.write(State(
        name="t", kubeconfig="/k", registry_port=5000, workers=config.workers, pod_cidr=str(config.pod_cidr),
        service_cidr=str(config.service_cidr), kubernetes_version=config.kubernetes_version,
    ))  # fmt: skip
    with pytest.raises(ConfigError, match="registry_port: cluster 't' has 5000, asked for 5001"):
        commands.up(config, until=None, force=False)


def test_another_size_for_a_machine_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(name="t", machines=1)
    known = State(
        name="t", kubeconfig="/k", workers=config.workers, pod_cidr=str(config.pod_cidr),
        service_cidr=str(config.service_cidr), kubernetes_version=config.kubernetes_version,
        machines=choice.machines_of(config),
    )  # fmt: skip
    states.write(known)
    with pytest.raises(ConfigError, match="machine 1 of cluster 't' has 4096Mi, 2 and 2"):
        commands.up(replace(config, machine_memory_mib=8192), until=None, force=False)
    monkeypatch.setattr(commands, "missing_machines", lambda config: [])
    begun: list[int] = []
    monkeypatch.setattr(commands, "_up", lambda config, *args: begun.append(config.machines))
    commands.up(config, until=None, force=False)
    commands.up(replace(config, machines=0, machine_memory_mib=8192), until=None, force=False)      # it goes
    assert begun == [1, 0]


def test_machines_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that run already have their memory."""
    monkeypatch.setattr(KindProvider, "existence", lambda self: Existence.ABSENT)
    monkeypatch.setattr(room, "available_mib", lambda: 5000)
    running: list[NodeView] = []
    monkeypatch.setattr(WithMachines, "machines", lambda self: tuple(running))
    config = Config(name="t", machines=2)
    with pytest.raises(DoctorFailed, match=r"t-machine 4096Mi, t-machine2 4096Mi need 8704 MiB .* 5000 MiB"):
        commands.up(config, until=None, force=False)
    assert not paths.cluster_folder("t").exists()
    begun: list[int] = []
    monkeypatch.setattr(commands, "_up", lambda config, *args: begun.append(config.machines))
    commands.up(config, until=None, force=True)
    running.append(NodeView("t-machine", "machine", "172.18.0.4", True))
    commands.up(config, until=None, force=False)
    assert begun == [2, 2]


def test_doctor_tells_how_many_machines_fit() -> None:
    found = [doctor.room_for_machines(mib, "KVM runs guests") for mib in (4000, 5000, 64000)]
    assert [(each.verdict, each.value.partition("room for ")[2][:1]) for each in found] == [
        ("warn", "0"), ("ok", "1"), ("ok", "2")]
    assert "VIRT_CLUSTER_MACHINE_MEMORY" in found[0].fix


def test_the_first_vm_boots_the_clusters_own_image_and_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[Mapping[str, Any]] = []
    shown: list[Sequence[str | Path]] = []
    monkeypatch.setattr(Kube, "apply", lambda self, documents: applied.extend(documents))

    def attach(argv: Sequence[str | Path]) -> int:
        shown.append(argv)
        return 7

    monkeypatch.setattr(host, "attach", attach)
    states.write(State(name="t", kubeconfig="/k", guest_images={"tiny": {"reference": "localhost:5000/guest:1"}}))
    assert commands.first_vm("t") == 7
    (vm,) = applied
    (volume,) = vm["spec"]["template"]["spec"]["volumes"]
    assert (vm["kind"], volume["containerDisk"]) == ("VirtualMachine", {"image": "localhost:5000/guest:1"})
    assert shown[0][1:] == ["--kubeconfig", "/k", "--namespace", vm["metadata"]["namespace"], "console", "first"]


def test_a_first_vm_needs_an_image() -> None:
    states.write(State(name="t", kubeconfig="/k"))
    with pytest.raises(StepFailed, match="no guest image"):
        commands.first_vm("t")
